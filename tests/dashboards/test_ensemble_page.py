"""The page of ensembles: members, two stages, validation before test, and what is said where something is missing."""

import numpy as np
import pytest
from logged_runs import log

from asc_study.base.errors import InputError
from asc_study.ensemble.crossfit import fuse_splits
from asc_study.ensemble.fuse import FUSIONS
from asc_study.evaluation.metrics import evaluate
from asc_study.store.queries import Reader
from asc_study.systems.ensemble_report import log_ensemble
from asc_study.systems.ensembles import EnsembleOptions, choose, gather_candidates
from asc_study.systems.fusions import FusionOptions, fuse
from asc_study.systems.members import load_members, stacks
from dashboards.blocks import Figure, Note
from dashboards.members import MOST
from dashboards.pages.ensemble import PAGE, Ensemble
from dashboards.source import Source

SPLITS = ("test", "validation")


@pytest.fixture(scope="module")
def tables(make_table):
    def make(seed: int, skill: float, task: str = "ten_class", splits=SPLITS):
        return {split: make_table(seed, skill=skill, split=split, task=task) for split in splits}

    return make


@pytest.fixture
def store(tracker, tables):
    """Three ten-class rows and a three-class one, all with validation."""
    for number, skill in enumerate((2.0, 2.2, 1.2)):
        log(tracker, "abc"[number], tables(number, skill))
    log(tracker, "groups", tables(9, 2.0, "three_class"), task="three_class")
    return tracker


def opened(tracker, *studies) -> Source:
    return Source(Reader(tracker.uri), studies or ("s",), patience=30)


def parts(source, **state):
    found = PAGE.blocks(source, Ensemble(**state))
    figures = {one.name: one for one in found if isinstance(one, Figure)}
    return figures, [one for one in found if isinstance(one, Note)]


def of(figure, system: str, column: str = "value") -> dict[str, float]:
    return figure.table[figure.table["system"] == system].set_index("metric")[column].to_dict()


def test_ticked_members_give_the_figures_that_the_command_gives(store):
    figures, _ = parts(opened(store), members=("a", "b"), test=True)
    reader = Reader(store.uri)
    records = [next(run for run in reader.runs("s") if run.label == f"{row} seed 0") for row in "ab"]
    fusion = fuse(load_members(store, records)[0], [], FusionOptions())
    shown = of(figures["together"], "average of 2")
    for metric, value in shown.items():
        assert value == pytest.approx(100 * fusion.metrics[f"test/{metric}"], abs=1e-9)
    change = of(figures["together"], "average of 2", "change")
    for metric, value in change.items():
        assert value == pytest.approx(100 * fusion.change[f"test/{metric}"], abs=1e-9)
    best = fusion.against.partition(" seed")[0]
    assert f"against {best})" in figures["together"].figure.layout.meta["sentence"]


def test_logistic_regression_sees_no_label_of_what_is_shown(store):
    members = [member for member in gather_candidates(store, "s")[0] if member.name[0] in "ab"]
    made = fuse_splits(FUSIONS["logistic"], stacks(members)[0])
    assert made.basis == "validation"
    source = opened(store)
    for split, said in {"validation": "of other locations (cross-fitted)", "test": "of validation clips"}.items():
        figures, notes = parts(source, members=("a", "b"), fusion="logistic", test=split == "test")
        assert any(said in note.text for note in notes)
        reached = 100 * evaluate(made.tables[split], intervals=False)[f"{split}/acc_avg"]
        assert of(figures["together"], "logistic of 2")["acc_avg"] == pytest.approx(reached)


def test_validation_is_shown_unless_test_is_asked_for(store):
    figures, notes = parts(opened(store), members=("a", "b"))
    assert all("(validation" in one.figure.layout.title.text for one in figures.values())
    assert not [note for note in notes if "chosen on test" in note.text]
    figures, notes = parts(opened(store), members=("a", "b"), test=True)
    assert all("(test" in one.figure.layout.title.text for one in figures.values())
    assert any("chosen on test" in note.text for note in notes)
    switch = next(one for one in PAGE.controls(opened(store), Ensemble()) if one.name == "test")
    assert switch.label == "Test clips: only to report, never to choose"


def test_two_stages_join_the_three_class_system_with_the_exponent(store):
    source = opened(store)
    figures, _ = parts(source, members=("a", "b"), two_stage=True, exponent=0.5)
    systems = set(figures["together"].table["system"])
    assert {"average of 2", "two stages, exponent 0.5"} < systems
    unchanged = parts(source, members=("a", "b"), two_stage=True, exponent=0.0)[0]["together"]
    assert of(unchanged, "two stages, exponent 0.0") == of(unchanged, "average of 2")
    alone = parts(source, members=("a",), two_stage=True)[0]["together"]
    assert set(alone.table["system"]) == {"a", "two stages, exponent 1.0"}
    names = [one.name for one in PAGE.controls(source, Ensemble(two_stage=True))]
    assert {"coarse", "exponent"} <= set(names)
    assert "exponent" not in [one.name for one in PAGE.controls(source, Ensemble())]


@pytest.mark.parametrize("state", [{"exponent": -3.0}, {"exponent": 99.0}, {"coarse": "gone"}, {"fusion": "majority"}])
def test_what_a_link_may_not_say_is_not_done(store, state):
    figures, _ = parts(opened(store), members=("a", "b"), two_stage=True, **state)
    assert "together" in figures


def test_every_rule_that_is_offered_works_on_both_splits(store):
    source = opened(store)
    rules = next(one for one in PAGE.controls(source, Ensemble()) if one.name == "fusion").options
    assert list(rules) == ["average", "weighted", "product", "logistic"]
    for rule in rules:
        for test in (False, True):
            figures, _ = parts(source, members=("a", "b", "c"), fusion=rule, test=test)
            assert f"{rule} of 3" in set(figures["together"].table["system"])


def test_the_studys_ensemble_is_shown_first_with_its_path(store):
    members, _ = gather_candidates(store, "s")
    ensemble = choose(members, EnsembleOptions(max_members=2), show_test=True)
    log_ensemble(store, "s", "chosen", ensemble)
    source = opened(store)
    ticked = next(one for one in PAGE.controls(source, Ensemble()) if one.name == "members").value
    assert sorted(f"{name} seed 0" for name in ticked) == sorted(one.name for one in ensemble.members)
    path = parts(source)[0]["path"]
    assert list(path.table["added"]) == [step.added for step in ensemble.selection.path]
    assert path.table["score"].to_numpy() == pytest.approx([step.score for step in ensemble.selection.path])
    assert not [column for column in path.table if column.startswith("test_")]
    assert [column for column in parts(source, test=True)[0]["path"].table if column.startswith("test_")]


def test_a_path_of_an_earlier_version_is_said(store, monkeypatch):
    members, _ = gather_candidates(store, "s")
    log_ensemble(store, "s", "chosen", choose(members, EnsembleOptions(max_members=2)))
    source = opened(store)
    artifact = source.reader.artifact

    def older(run_id, path):
        if path == "candidates.csv":
            raise InputError("gone")
        return artifact(run_id, path)

    monkeypatch.setattr(source.reader, "artifact", older)
    figures, notes = parts(source)
    assert "path" not in figures
    assert notes[-1].command == "asc-study ensemble s --name chosen"


def test_overlap_is_ordered_and_the_numbers_are_in_the_table(store):
    overlap = parts(opened(store))[0]["overlap"]
    assert len(overlap.table) == 3
    heat = overlap.figure.data[0]
    assert np.diag(np.array(heat.z)) == pytest.approx([100] * 3)
    assert set(heat.x) == {"a", "b", "c"}


def test_seeds_are_candidates_of_their_own(tracker, tables):
    for seed in (0, 1):
        log(tracker, "a", tables(seed, 2.0), seed=seed)
    figures, _ = parts(opened(tracker))
    assert set(figures["diversity"].table["name"]) == {"a seed 0", "a seed 1"}


def test_one_run_alone_is_told_what_to_do(tracker, tables):
    log(tracker, "a", tables(0, 2.0))
    figures, notes = parts(opened(tracker), two_stage=True)
    assert not figures
    assert notes[0].command == "asc-study run s.yaml --data DIR"


def test_without_validation_test_is_shown_and_said_to_be_chosen_on(tracker, tables):
    for number in range(2):
        log(tracker, "ab"[number], tables(number, 2.0, splits=("test",)))
    figures, notes = parts(opened(tracker))
    assert "(test)" in figures["together"].figure.layout.title.text
    assert any("is chosen on test" in note.text and note.kind == "empty" for note in notes)


def test_of_many_candidates_the_best_on_validation_and_the_ticked_are_shown(tracker, make_table):
    table = {split: make_table(0, skill=2.0, clips=60, split=split) for split in SPLITS}
    for number in range(MOST + 2):
        run = log(tracker, f"row {number}", table)
        tracker.log_metrics(run, {"validation/acc_device_macro": number / 100})
    source = opened(tracker)
    figures, notes = parts(source, members=("row 0", "row 9"))
    shown = set(figures["diversity"].table["name"])
    assert len(shown) == MOST
    assert {"row 0", "row 9"} <= shown
    assert "row 1" not in shown
    assert notes[0].text.startswith(f"Of {MOST + 2} candidates")
