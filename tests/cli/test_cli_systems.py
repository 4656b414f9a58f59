import json
import shutil
import sqlite3
from contextlib import closing

import pytest

LABELS = """filename\tscene_label
audio/airport-lisbon-1001-40001-a.wav\tairport
audio/park-lisbon-1001-40002-b.wav\tpark
audio/tram-milan-1002-40003-a.wav\ttram
audio/bus-milan-1002-40004-s4.wav\tbus
audio/airport-milan-1003-40005-a.wav\tairport
audio/metro-milan-1003-40006-c.wav\tmetro
"""


@pytest.fixture
def asc(asc, isolated, empty_store):
    """The command line beside an empty store and a file of labels."""
    shutil.copy(empty_store, isolated / "mlflow.db")
    (isolated / "labels.csv").write_text(LABELS)
    return asc


def scores(folder, name: str, *rows: str) -> str:
    (folder / name).write_text("\n".join(rows) + "\n")
    return name


def test_hand_written_scores_have_the_metrics_computed_by_hand(asc, isolated):
    # indoor, outdoor, transportation; truth: i o t t i t; right are 1, 2, 4, 5
    file = scores(isolated, "s.txt", "6 2 2", "1 8 1", "5 4 1", "0 1 9", "4 3 3", "5 1 4")
    code, out, _ = asc("import", file, "--labels", "labels.csv", "--name", "x", "--study", "s", "--json")
    assert code == 0
    metrics = json.loads(out)["metrics"]
    assert metrics["test/acc_avg"] == pytest.approx(4 / 6)
    assert metrics["test/acc_A"] == pytest.approx(2 / 3)  # clips 1, 3, 5
    assert metrics["test/acc_BC"] == pytest.approx(1 / 2)  # clips 2 and 6
    assert metrics["test/acc_s4-s6"] == 1.0
    assert metrics["test/log_loss"] == pytest.approx(0.8290827, abs=1e-6)  # -mean ln(.6, .8, .1, .9, .4, .4)
    assert metrics["test/acc_macro"] == pytest.approx((1 + 1 + 1 / 3) / 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["6 2 2", "1 8 1"], "has 2 rows"),
        (["6 2 2", "1 8 1", "nan 4 1", "0 1 9", "4 3 3", "5 1 4"], "must be a finite number, got 'nan'"),
        (["6 2 2", "1 8 1", "-5 4 1", "0 1 9", "4 3 3", "5 1 4"], "must be at least 0, got -5"),
        (["indoor,outdoor,transport", "6,2,2"], "unknown column 'transport': did you mean 'transportation'"),
        (
            ["file,indoor,outdoor,transportation", *["park-lisbon-1001-40002-b.wav,1,1,1"] * 6],
            "a clip must stand once in s.txt",
        ),
        (["file,indoor,outdoor,transportation", "park-oslo-9-1-a,1,1,1"], "look like those of another data set"),
    ],
)
def test_bad_scores_are_one_line_and_nothing_is_logged(asc, isolated, rows, message):
    code, out, err = asc(
        "import", scores(isolated, "s.txt", *rows), "--labels", "labels.csv", "--name", "x", "--study", "s"
    )
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert "no finished runs" in asc("leaderboard", "s")[2]


def test_from_scores_to_ensemble_fusion_comparison_and_export(asc, isolated):
    ten = ["airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian"]
    header = ",".join([*ten, "street_traffic", "tram"])

    def fine(*decisions: int) -> list[str]:
        return [header, *(",".join("5" if k == decided else "1" for k in range(10)) for decided in decisions)]

    # truth: airport 0, park 4, tram 9, bus 1, airport 0, metro 2
    for name, decisions in {"one": (0, 4, 9, 0, 0, 9), "two": (0, 4, 2, 1, 4, 2), "three": (6, 4, 9, 1, 0, 2)}.items():
        file = scores(isolated, f"{name}.csv", *fine(*decisions))
        assert asc("import", file, "--labels", "labels.csv", "--name", name, "--study", "s")[0] == 0
    coarse = scores(isolated, "c.txt", "8 1 1", "1 8 1", "1 1 8", "1 1 8", "8 1 1", "1 1 8")
    code, out, _ = asc(
        "import", coarse, "--labels", "labels.csv", "--name", "c", "--study", "s", "--task", "three_class"
    )
    assert (code, out.splitlines()[-2].split()[0]) == (0, "c")
    code, out, err = asc("ensemble", "s", "--objective", "acc_avg", "--run=s/one", "--run=s/two", "--run", "s/three")
    assert code == 0, err
    assert "cross-fitted over test (6 clips of 3 locations)" in out
    code, out, err = asc("fuse", "--fine", "s/one", "--fine", "s/two", "--coarse", "s/c", "--name", "both")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[3:8]] == ["one", "two", "fine:", "coarse:", "both"]
    code, out, err = asc("compare", "s/one", "s/both")
    assert code == 0, err
    assert "p: permutation test over locations" in out
    assert "One run a side: this speaks of these two trainings only" in out
    code, out, err = asc("export", "s/both", "--format", "dcase2020", "--out", "both.tsv")
    assert (code, out) == (0, "both.tsv: 6 clips of the test split\n")
    code, out, err = asc("import", "both.tsv", "--labels", "labels.csv", "--name", "back", "--study", "s", "--json")
    back = json.loads(out)["metrics"]
    both = next(row for row in json.loads(asc("leaderboard", "s", "--json")[1])["rows"] if row["row"] == "both")
    assert 100 * back["test/acc_avg"] == pytest.approx(both["acc_avg"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ensemble", "nothing"), "study 'nothing' has 0"),
        (("ensemble", "s", "--method", "best"), "Invalid value for '--method'"),
        (("fuse",), "Missing option '--fine'"),
        (("fuse", "--fine", "s/x", "s/y"), "each run needs --fine or --coarse before it, got 's/y' without"),
        (("ensemble", "s", "--run", "s/x", "s/y"), "got 's/y' without: write --run RUN --run RUN"),
        (("fuse", "--fine", "s/x"), "study 's' of 's/x' has no finished runs"),
        (("compare", "s/x"), "Missing argument 'RUN_B'"),
        (("compare", "x", "y"), "'x' names no run: write STUDY/ROW"),
        (("export", "s/x", "--format", "xml", "--out", "f"), "Invalid value for '--format'"),
        (("score", "s/x", "--data", "."), "study 's' of 's/x' has no finished runs"),
        (
            ("import", "none.txt", "--labels", "labels.csv", "--name", "x", "--study", "s"),
            "the file of scores none.txt does not exist",
        ),
    ],
)
def test_bad_input_is_one_line(asc, arguments, message):
    code, out, err = asc(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_without_a_store_there_is_nothing_to_combine(asc, isolated):
    (isolated / "mlflow.db").unlink()
    code, _, err = asc("compare", "s/x", "s/y")
    assert code == 2
    assert "there is no tracking store" in err
    assert not (isolated / "mlflow.db").exists()


def test_what_only_reads_waits_for_nobody_who_writes(asc, log_run, make_table):
    """A program that fails in the middle of a change keeps the database locked for as long as it likes."""
    for seed, row in enumerate("ab"):
        log_run(row, {"test": make_table(seed)})
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE runs SET status = 'FAILED'")
        for command in (("compare", "s/a", "s/b"), ("leaderboard", "s"), ("status", "s")):
            code, _, err = asc(*command)
            assert (code, err) == (0, ""), command
        other.execute("ROLLBACK")


def test_arguments_that_are_no_text_are_one_line(asc):
    code, out, err = asc("compare", "\udcff/a", "s/b")
    assert (code, out) == (2, "")
    assert "arguments must be UTF-8 text" in err
    assert err.count("\n") == 1
    assert asc("compare", "s/ä", "s/b")[2].startswith("asc-study: study 's'")
