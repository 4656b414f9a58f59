from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fuzzing import CHANGES, changed, examples
from hypothesis import given
from hypothesis import strategies as st

from asc_study.evaluation.predictions import check_predictions, read_predictions
from asc_study.evaluation.scores_in import read_scores

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=4), st.just([1.0]), st.just(b"x")
)
SCORE_CELLS = st.one_of(
    st.sampled_from(["0.5", "0,5", "nan", "1e-3", "-1", "", '"', "bus", "filename", "indoor", "x.wav", "\0", "ü"]),
    st.text(max_size=5),
)


@pytest.fixture(scope="module")
def table(make_table) -> pd.DataFrame:
    return make_table(0, clips=20)


@examples(120)
@given(CHANGES)
def test_a_damaged_table_keeps_the_contract_or_is_one_line(value_or_line: Callable, table: pd.DataFrame, changes):
    table.to_parquet("whole.parquet", index=False)
    Path("x.parquet").write_bytes(changed(Path("whole.parquet").read_bytes(), changes))
    if (read := value_or_line(read_predictions, Path("x.parquet"))) is not None:
        check_predictions(read)


@examples(120)
@given(
    st.sampled_from(["clip_id", "scene", "device", "split", "bus", "tram", "new"]),
    st.lists(CELLS, min_size=20, max_size=20),
)
def test_a_table_of_any_values_keeps_the_contract_or_is_one_line(value_or_line: Callable, table, column, cells):
    one_type = [cell for cell in cells if type(cell) is type(cells[0])]
    changed_table = table.assign(**{column: pd.Series((one_type * 20)[:20])})
    value_or_line(check_predictions, table.assign(**{column: pd.Series(cells, dtype=object)}))
    try:
        changed_table.to_parquet("x.parquet", index=False)
    except (ValueError, TypeError, OverflowError):
        return
    if (read := value_or_line(read_predictions, Path("x.parquet"))) is not None:
        check_predictions(read)


@examples(200)
@given(
    st.lists(st.lists(SCORE_CELLS, min_size=2, max_size=5), min_size=1, max_size=4),
    st.sampled_from(["\t", ";", ",", " "]),
)
def test_any_text_of_scores_is_read_or_one_line(value_or_line: Callable, rows, separator):
    Path("labels.csv").write_text("filename\tscene_label\naudio/bus-lyon-7-1-a.wav\ttransportation\n")
    Path("x.txt").write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8", errors="surrogatepass")
    if (imported := value_or_line(read_scores, Path("x.txt"), Path("labels.csv"))) is not None:
        check_predictions(imported.predictions)
