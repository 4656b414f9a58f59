import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.evaluation.significance import render
from asc_study.study.leaderboard import leaderboard
from asc_study.systems.compare import compare_runs
from asc_study.systems.ensembles import EnsembleOptions, choose, gather_candidates
from asc_study.systems.exchange import export_predictions, import_system
from asc_study.systems.fusion_log import log_fusion
from asc_study.systems.fusions import fuse_runs

MEAN = {"fusion": "average", "join": "product", "exponent": "1"}

LABELS = """filename\tscene_label
audio/airport-lisbon-1001-40001-a.wav\tairport
audio/park-lisbon-1001-40002-b.wav\tpark
audio/tram-milan-1002-40003-a.wav\ttram
audio/bus-milan-1002-40004-s4.wav\tbus
"""


@pytest.fixture
def files(isolated):
    (isolated / "labels.csv").write_text(LABELS)
    (isolated / "scores.txt").write_text("2 1 1\n0 3 1\n1 1 2\n1 2 1\n")  # indoor outdoor transportation
    return isolated / "scores.txt", isolated / "labels.csv"


def test_an_imported_system_is_an_ordinary_run(tracker, files):
    imported, logged = import_system(tracker, "s", "theirs", *files, task="three_class")
    assert logged.metrics["test/acc_avg"] == 0.75  # the last one is not right
    assert logged.metrics["test/acc_s4-s6"] == 0.0
    record = tracker.run(logged.run_id)
    assert (record.status, record.tags["asc.kind"], record.tags["asc.task"]) == ("FINISHED", "imported", "three_class")
    assert any("normalised" in note for note in imported.notes)
    assert leaderboard(tracker, "s").set_index("row").loc["theirs", "architecture"] == "imported"
    assert import_system(tracker, "s", "theirs", *files)[1].existed


def test_bad_scores_log_nothing(tracker, files):
    files[0].write_text("2 1 1\n0 3 1\n")
    with pytest.raises(InputError, match="has 2 rows, .* 4 clips"):
        import_system(tracker, "s", "theirs", *files)
    with pytest.raises(InputError, match="`study` must be at most 100 letters"):
        import_system(tracker, "no/slash", "theirs", *files)
    with pytest.raises(InputError, match="needs a `name` of one line"):
        import_system(tracker, "s", " ", *files)
    assert tracker.runs("s") == []
    assert tracker.find_experiment("s") is None


def test_export_and_import_go_round(tracker, log_run, make_table, isolated):
    run_id = log_run("own", {"test": make_table(1)}, study="s")
    out = isolated / "own.csv"
    assert export_predictions(tracker, "s/own", out, "csv") == ("test", 200)
    assert len(pd.read_csv(out)) == 200
    with pytest.raises(InputError, match="exists: name another file or overwrite it with --force"):
        export_predictions(tracker, run_id, out, "csv")
    with pytest.raises(InputError, match="'own seed 0' has no predictions of the split 'validation', only"):
        export_predictions(tracker, run_id, isolated / "v.csv", "csv", split="validation")
    log_run("own", {"test": make_table(2)}, seed=1)
    with pytest.raises(InputError, match="one run is exported at a time, 's/own' has the seeds 0, 1: write s/own@SEED"):
        export_predictions(tracker, "s/own", isolated / "w.csv", "csv")


def test_imported_systems_with_validation_are_chosen_on_it(tracker, files, isolated):
    more = LABELS.replace("1001", "1003").replace("1002", "1004")
    (isolated / "more.csv").write_text(more)
    validation = (files[0], isolated / "more.csv")
    for name, scores in (("x", "2 1 1\n0 3 1\n1 1 2\n1 2 1\n"), ("y", "1 2 1\n0 3 1\n1 1 2\n1 1 2\n")):
        (isolated / f"{name}.txt").write_text(scores)
        import_system(tracker, "s", name, isolated / f"{name}.txt", files[1], validation=validation)
    chosen = choose(gather_candidates(tracker, "s")[0], EnsembleOptions(metric="acc_avg"))
    assert chosen.basis == "validation"
    assert chosen.clips == 4
    with pytest.raises(InputError, match="validation and test must be different clips, got 4 in both"):
        import_system(tracker, "s", "z", *files, validation=files)


def test_a_comparison_tells_that_seeds_hear_the_same_copies(tracker, log_run, make_table):
    for seed in range(2):
        log_run("plain", {"test": make_table(seed)}, seed=seed)
        run_id = log_run("pitch", {"test": make_table(seed, skill=2.0)}, seed=seed)
        tracker.client.log_param(run_id, "waveform_augmentation.pitch_shift.copies", 1)
    said = "all seeds of s/pitch hear the same augmented copies: their spread leaves out that draw"
    assert said in render(compare_runs(tracker, "s/plain", "s/pitch"), "s/plain", "s/pitch")
    alone = compare_runs(tracker, "s/plain", "s/pitch@1")  # one seed: no spread is spoken of
    assert "copies" not in render(alone, "s/plain", "s/pitch@1")


def test_comparison_averages_seeds(tracker, log_run, make_table):
    for seed in range(2):
        log_run("first", {"test": make_table(seed)}, seed=seed)
    log_run("second", {"test": make_table(7, skill=2.0)})
    found = compare_runs(tracker, "s/first", "s/second")
    assert (found.seeds_first, found.seeds_second) == (2, 1)
    assert found.subsets[0].difference > 0
    with pytest.raises(InputError, match="they are the same runs"):
        compare_runs(tracker, "s/first", "s/first")
    with pytest.raises(InputError, match="has no predictions of the split 'validation'"):
        compare_runs(tracker, "s/first", "s/second", split="validation")
    log_run("third", {"test": make_table(7, clips=50)})
    with pytest.raises(InputError, match="must hold the same clips"):
        compare_runs(tracker, "s/first", "s/third")


def test_what_is_made_of_systems_that_have_predicted_other_clips_since_is_not_exported(
    tracker, log_run, make_table, isolated
):
    """However deep they lie: an ensemble between says what its members predicted when it was made."""
    clips = {name: make_table(i, clips=20, split="evaluation") for i, name in enumerate("ab")}
    runs = [
        log_run(name, {"test": make_table(i), "evaluation": clips[name]}, evaluation_digest="e" * 64)
        for i, name in enumerate("ab")
    ]
    inner = log_fusion(tracker, "s", "inner", fuse_runs(tracker, runs, [], **MEAN))
    outer = log_fusion(tracker, "s", "outer", fuse_runs(tracker, [inner.run_id, runs[0]], [], **MEAN))
    assert export_predictions(tracker, outer.run_id, isolated / "first.csv", "csv") == ("evaluation", 20)
    for run_id in runs:
        tracker.set_tags(run_id, {"asc.evaluation_digest": "f" * 64})
    for run_id in (inner.run_id, outer.run_id):
        with pytest.raises(InputError, match="the members of .* have predicted other clips since it was made"):
            export_predictions(tracker, run_id, isolated / "second.csv", "csv")
    assert export_predictions(tracker, outer.run_id, isolated / "test.csv", "csv", split="test") == ("test", 200)
