"""The data sets that can be read: one file each, which holds all that is true of that data set alone.

A new data set is one new file beside this one plus its line in `DATA_FORMATS`; other packages announce theirs under the
entry-point group ``asc_study.data_formats``.
"""

from typing import Final

from asc_study.base.plugins import Parts
from asc_study.data.formats.data_format import DataFormat
from asc_study.data.formats.tau2020_3class import TAU2020_3CLASS
from asc_study.data.formats.tau2020_mobile import TAU2020_MOBILE
from asc_study.data.formats.tau2022_mobile import TAU2022_MOBILE

__all__ = [
    "DATA_FORMATS",
    "TAU2020_3CLASS",
    "TAU2020_MOBILE",
    "TAU2022_MOBILE",
    "DataFormat",
    "find_format",
    "known_formats",
]

#: Name -> data set; where two fit a folder equally well, the first is taken.
DATA_FORMATS: Final = Parts[DataFormat](
    "data_format",
    DataFormat,
    {
        "tau2020-mobile": "asc_study.data.formats.tau2020_mobile:TAU2020_MOBILE",
        "tau2022-mobile": "asc_study.data.formats.tau2022_mobile:TAU2022_MOBILE",
        "tau2020-3class": "asc_study.data.formats.tau2020_3class:TAU2020_3CLASS",
    },
)


def find_format(name: str) -> DataFormat:
    """Return the data format of that name: built in, of an installed package, or ``module:object``.

    Raises
    ------
    InputError
        If there is none, or it cannot be imported.
    """
    return DATA_FORMATS.find(name)


def known_formats() -> dict[str, DataFormat]:
    """Every data format by name: the built-in ones, then those of installed packages."""
    return DATA_FORMATS.known()
