"""The list of an evaluation set, whose clips have no labels: since 2025 it tells the device of each."""

from pathlib import Path, PurePosixPath
from typing import Final

from asc_study.base.errors import InputError
from asc_study.data.list_file import read_list
from asc_study.data.problems import Problem

#: The list of TAU's evaluation sets, with tabs: ``filename`` and, in that of 2025, ``device_id``.
EVALUATION_LIST: Final = "evaluation_setup/fold1_test.csv"


def device_ids(folder: Path) -> dict[str, str]:
    """The device of each clip of an evaluation set, by ``clip_id``: one that training hears, or ``unknown``.

    Parameters
    ----------
    folder
        That of the evaluation set. Without a list, or with one that tells no devices, nothing is known.

    Raises
    ------
    InputError
        If the list cannot be read.
    """
    path = folder / EVALUATION_LIST
    if not path.is_file():
        return {}
    problems = list[Problem]()
    table = read_list(path, EVALUATION_LIST, {"filename": "filename"}, "\t", problems, optional={"device_id": "device"})
    if problems:
        raise InputError(f"{problems[0]}: correct {path}, or name its recordings one by one")
    if "device" not in table:
        return {}
    return {PurePosixPath(name).stem: device for name, device in zip(table["filename"], table["device"], strict=True)}
