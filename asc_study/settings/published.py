"""Figures that a paper reports, to be shown beside those of our own runs."""

import io
from typing import Final

import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.metric_table import columns_among

#: Figures of a system before and after it was quantised, with their headings: sizes of its weights in float32, of its
#: files, of their non-zero parameters, and of the file that Keras 2 wrote, with the optimiser's momentum.
DEPLOYED: Final = {
    "float_kb": "Float32 kB",
    "acc_quantised": "Quantised acc.",
    "quantised_kb": "Quantised kB",
    "nonzero_kb": "Non-zero kB",
    "hdf5_mb": "HDF5 MB",
}


def parse_published(text: str, where: str) -> pd.DataFrame:
    """Read published figures from CSV text.

    Parameters
    ----------
    text
        CSV with a header: ``row`` (the name of a row of the study), ``source`` (where the figures are from) and any of
        the columns of Table 1 (`columns_among`; accuracies in per cent) and `DEPLOYED`; an empty cell is a figure that
        was not published. Other columns are not shown.
    where
        What to call it in an error.

    Returns
    -------
    DataFrame
        ``row, source``, the columns of Table 1 (NaN where unknown) and those of `DEPLOYED` that are there, in the
        order of the file.

    Raises
    ------
    InputError
        If it is not such a table.
    """
    try:
        table = pd.read_csv(io.StringIO(text), dtype={"row": str, "source": str})
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{where} is not a CSV table ({' '.join(str(error).split())}): correct it") from None
    missing = [column for column in ("row", "source") if column not in table]
    figures = [column.name for column in columns_among(map(str, table))]
    if missing or not set(figures).intersection(table):
        raise InputError(f"{where} needs the columns row, source and one of {', '.join(figures)}, got {list(table)}")
    if table["row"].isna().any() or table["row"].duplicated().any():
        raise InputError(f"{where} must name every row once, got {table['row'].tolist()}: correct the column row")
    deployed = [column for column in DEPLOYED if column in table]
    for column in (*figures, *deployed):
        table[column] = table[column] if column in table else float("nan")
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise InputError(f"{where}: the column {column} must hold numbers, got {table[column].tolist()}")
    return table[["row", "source", *figures, *deployed]]
