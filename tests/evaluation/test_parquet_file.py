"""Predictions tables from elsewhere: read by their footers first, and one line for whatever is wrong."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asc_study.base.errors import InputError
from asc_study.evaluation.parquet_file import MOST_ROWS, read_parquet
from asc_study.evaluation.predictions import read_predictions


def test_rows_are_counted_in_the_footer_before_any_is_read(monkeypatch):
    pq.write_table(pa.table({"a": pa.nulls(MOST_ROWS + 1, pa.int8())}), "x.parquet")
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *a, **k: pytest.fail("it was read"))
    with pytest.raises(InputError, match=r"may have 1,000,000 rows and 100 columns, got 1,000,001 and 1\): again"):
        read_parquet(Path("x.parquet"), "scores", "again")


def test_columns_are_bounded():
    pq.write_table(pa.table({str(number): [1] for number in range(101)}), "x.parquet")
    with pytest.raises(InputError, match="100 columns, got 1 and 101"):
        read_parquet(Path("x.parquet"), "scores", "again")


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_a_long_text_in_each_of_many_rows_is_not_written_out(as_dictionary):
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), pa.array(["x" * 100_000]))
    with pq.ParquetWriter("x.parquet", pa.schema({"a": texts.type if as_dictionary else pa.string()})) as writer:
        if as_dictionary:
            writer.write_table(pa.table({"a": texts}))
        else:
            writer.write_table(pa.table({"a": ["x" * 100_000] * 100}))
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"column 'a' may hold 1,000 bytes a row, got 100,000"):
        read_parquet(Path("x.parquet"), "scores", "again")
    assert time.perf_counter() - start < 5


def test_texts_of_any_kind_are_read_as_texts():
    pq.write_table(
        pa.table({"a": pa.array(["x", "y", "x"]), "b": pa.array(["u", "v", "u"]).dictionary_encode()}), "x.parquet"
    )
    table = read_parquet(Path("x.parquet"), "scores", "again")
    assert table.to_dict("list") == {"a": ["x", "y", "x"], "b": ["u", "v", "u"]}
    assert all(isinstance(value, str) for column in table for value in table[column])


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("bus", "0.5", "must be floating-point numbers, got .* in the column bus"),
        ("bus", [0.5], "must be floating-point numbers, got object in the column bus"),
        ("bus", None, "must be floating-point numbers, got object in the column bus"),
        ("bus", 1, "must be floating-point numbers, got int64 in the column bus"),
        ("bus", np.inf, r"must be finite, at least 0 and sum to 1.*200 such clips"),
        ("bus", 7.0, r"must be finite, at least 0 and sum to 1.*200 such clips"),
        ("clip_id", ["a", "b"], "the column clip_id of a predictions table must hold text"),
        ("clip_id", None, "the column clip_id of a predictions table must hold text"),
        ("scene", 3, "the column scene of a predictions table must hold text"),
        ("scene", "bath", "the true label must be one of the classes, got .'bath'"),
        ("location", ["1"], "the column location of a predictions table must hold text"),
        ("more", 1.0, "the class columns must be those of a task"),
    ],
)
def test_a_predictions_table_of_other_types_or_values_is_one_line(make_table, column, values, message):
    table = make_table(0)
    table[column] = pd.Series([values] * len(table))
    table.to_parquet("x.parquet", index=False)
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(Path("x.parquet"))
    assert "\n" not in str(caught.value)


def test_a_damaged_table_is_one_line(make_table):
    make_table(0).to_parquet("x.parquet", index=False)
    content = Path("x.parquet").read_bytes()
    for damaged in (content[:-9], content[:4] + content[-60:], b"PAR1" + bytes(20) + b"PAR1", b""):
        Path("x.parquet").write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"x\.parquet is not a readable parquet file \(.*\): give a run's"
        ) as caught:
            read_predictions(Path("x.parquet"))
        assert "\n" not in str(caught.value)


def test_a_text_that_is_no_utf_8_is_one_line():
    pq.write_table(pa.table({"a": ["abcdefgh", "ijklmnop"]}), "x.parquet")
    content = Path("x.parquet").read_bytes()
    Path("x.parquet").write_bytes(content.replace(b"abcdefgh", b"abc\x80efgh", 1))
    with pytest.raises(InputError, match=r"x\.parquet is not a readable parquet file \(.*UTF"):
        read_parquet(Path("x.parquet"), "scores", "again")
