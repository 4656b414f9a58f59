"""How a parquet file is read: by its footer first, so that no table is made that no data set can need.

A few kilobytes can stand for a hundred million rows, or for a long text in each of many.
"""

from pathlib import Path
from typing import Any, Final

import pandas as pd

from asc_study.base.errors import InputError, shown
from asc_study.base.files import open_input, shown_path, size_text

#: Rows and columns that a table of clips may have.
MOST_ROWS: Final = 1_000_000
_MOST_COLUMNS: Final = 100

#: Bytes of its values, and of one text in it.
_MOST_BYTES: Final = 1024**3
_LONGEST_TEXT: Final = 1000


def read_parquet(path: Path, kind: str, remedy: str) -> pd.DataFrame:
    """Read a table of clips.

    Parameters
    ----------
    path
        The file.
    kind
        What it is, of `asc_study.base.files.INPUT_KINDS`.
    remedy
        What to do if it cannot be used, for the error line.

    Raises
    ------
    InputError
        If it is no such file, damaged, or larger than a table of clips can be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_input(path, kind) as file:
        try:
            texts = _texts(_checked(pq.ParquetFile(file)))
            file.seek(0)
            plain = _plain(pq.ParquetFile(file, read_dictionary=texts).read())
            plain.validate(full=True)  # texts may be no UTF-8, which shows only where one is looked at
            table: pd.DataFrame = plain.to_pandas()
        except (
            *(OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError),
            *(MemoryError, OverflowError, RecursionError, pa.ArrowException),
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{shown_path(path)} is not a readable parquet file ({reason:.300}): {remedy}") from None
    return table


def _checked(file: Any) -> Any:
    footer = file.metadata
    if footer.num_rows > MOST_ROWS or footer.num_columns > _MOST_COLUMNS:
        raise ValueError(
            f"a table of clips may have {MOST_ROWS:,} rows and {_MOST_COLUMNS} columns, got {footer.num_rows:,} and "
            f"{footer.num_columns:,}"
        )
    size = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    if size > _MOST_BYTES:
        raise ValueError(f"its values may have {size_text(_MOST_BYTES)}, got {size_text(size)}")
    return file.schema_arrow


def _texts(schema: Any) -> list[str]:
    """The columns that hold texts, which are read as numbers into a list of the texts that occur."""
    import pyarrow.types as types

    return [
        field.name
        for field in schema
        if types.is_string(field.type) or types.is_binary(field.type) or types.is_large_string(field.type)
    ]


def _plain(table: Any) -> Any:
    """The table with its texts written out, once none of them is found to be too long."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    for number, field in enumerate(table.schema):
        if not types.is_dictionary(field.type):
            continue
        column = table.column(number)
        for chunk in column.chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > _LONGEST_TEXT:
                raise ValueError(f"column {shown(field.name)} may hold {_LONGEST_TEXT:,} bytes a row, got {longest:,}")
        table = table.set_column(number, field.name, column.cast(field.type.value_type))
    return table
