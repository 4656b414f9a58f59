"""Pruning on a real store: which runs go, which stay, and that MLflow can restore what went."""

import json
import os
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from mlflow.entities import ViewType

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME
from asc_study.settings.study_file import load_study
from asc_study.store.claims import run_lock, whereabouts
from asc_study.store.tracking import Tracker
from asc_study.study.plan import specs
from asc_study.study.prune import find_orphans, load_variants, removable

DIGEST = "d" * 64
ROWS = [{"name": "plain"}, {"name": "mixed", "batch_augmentation": {"mixup": {"alpha": 0.4}}}]


def write_study(**more) -> Path:
    content = {"study": "s", "base": {"training": {"epochs": 2}}, "rows": ROWS} | more
    Path("s.yaml").write_text(yaml.safe_dump(content))
    return Path("s.yaml")


def log_rows(tracker: Tracker, *overrides: str, profile: str | None = None, **more) -> dict[str, str]:
    """Log a finished run for each row of the study as it is now, with these tags too; returns their ids by row."""
    ids = {}
    for spec in specs(load_study(Path("s.yaml"), overrides=overrides, profile=profile), DIGEST):
        tags = {
            "asc.study": "s",
            "asc.row": spec.row,
            "asc.kind": "train",
            "asc.seed": str(spec.seed),
            "asc.signature": spec.signature,
            "asc.combination": spec.combination,
            "asc.dataset_digest": DIGEST,
            "asc.task": spec.config.task,
        }
        ids[spec.row] = tracker.create_run("s", spec.label, tags | more, {})
        with tracker.artifacts(ids[spec.row]) as folder:
            (folder / "identity.json").write_text(json.dumps(spec.identity))
        tracker.log_metrics(ids[spec.row], {BY_NAME[ALL_CLIPS.metric].test_name: 0.625})
        tracker.finish(ids[spec.row])
    return ids


def log_made(tracker: Tracker, name: str, *members: str, study: str = "s") -> str:
    tags = {"asc.study": study, "asc.row": name, "asc.kind": "ensemble", "asc.members": json.dumps(members)}
    run_id = tracker.create_run(study, name, tags, {})
    tracker.finish(run_id)
    return run_id


def going(tracker: Tracker) -> set[str]:
    return {one.record.run_id for one in find_orphans(load_variants(Path("s.yaml")), tracker) if not one.kept_because}


def kept(tracker: Tracker) -> dict[str, str]:
    found = find_orphans(load_variants(Path("s.yaml")), tracker)
    return {one.record.run_id: one.kept_because for one in found if one.kept_because}


def test_what_the_file_asks_for_stays_and_what_it_asked_for_goes(tracker):
    write_study()
    old = log_rows(tracker, "training.momentum=0.8")
    log_rows(tracker)
    assert going(tracker) == set(old.values())
    found = find_orphans(load_variants(Path("s.yaml")), tracker)
    assert {one.why for one in found} == {("training.momentum 0.8 -> 0.9",)}


def test_runs_of_a_profile_and_of_other_data_stay(tracker):
    write_study(profiles={"small": {"training.epochs": 1}, "unfit": {"training.epochs": 0}})
    log_rows(tracker, profile="small")
    log_rows(tracker, profile="small-data")  # one that every file has
    assert going(tracker) == set()
    other = log_rows(tracker, **{"asc.dataset_digest": "e" * 64})  # signed for other data than it says
    assert going(tracker) == set(other.values())


def test_runs_that_are_trained_now_stay(tracker):
    write_study()
    old = log_rows(tracker, "training.momentum=0.8", **whereabouts())
    tracker.reopen(old["plain"])
    signature = tracker.run(old["plain"]).signature
    with run_lock(tracker, "s", signature):
        assert kept(tracker) == {old["plain"]: "it is being trained"}
    assert going(tracker) == set(old.values())  # whoever trained it is gone


def test_a_member_of_what_stays_stays_and_a_declared_ensemble_is_made_anew(tracker):
    write_study(ensembles=[{"name": "best", "fine": ["plain", "mixed"]}])
    old = log_rows(tracker, "training.momentum=0.8")
    new = log_rows(tracker)
    stale = log_made(tracker, "best", *old.values())
    log_made(tracker, "best", *new.values())
    assert going(tracker) == {*old.values(), stale}
    log_made(tracker, "by-hand", old["mixed"], study="t")
    assert going(tracker) == {old["plain"], stale}
    assert kept(tracker) == {old["mixed"]: "member of t/by-hand"}


def test_what_is_made_of_an_ensemble_that_stays_keeps_it():
    class Record:
        def __init__(self, *members: str) -> None:
            self.tags = {"asc.members": json.dumps(members)}

    made = {"e": Record("a", "b"), "f": Record("e"), "hand": Record("f")}
    assert removable({"a", "b"}, made, {"e", "f"}) == set()
    del made["hand"]
    assert removable({"a", "b"}, made, {"e", "f"}) == {"a", "b", "e", "f"}
    assert removable({"a"}, made, {"e"}) == set()  # f stays, so does e, so does a


def test_without_a_terminal_nothing_is_deleted_and_with_yes_mlflow_can_restore_it(asc, tracker):
    write_study()
    (plain, mixed) = log_rows(tracker, "training.momentum=0.8").values()
    log_rows(tracker)
    code, out, _ = asc("runs", "prune", "s.yaml", "--orphans")
    assert code == 0
    assert out.splitlines()[0] == "study s: runs that it no longer asks for"
    row = next(line for line in out.splitlines() if line.startswith("plain"))
    assert row.split()[:5] == ["plain", "0", tracker.run(plain).tags["asc.combination"][:10], "FINISHED", "62.5"]
    assert row.endswith("training.momentum 0.8 -> 0.9")
    assert out.splitlines()[-1] == "nothing deleted: 2 runs would go with --yes"
    assert len(tracker.runs("s")) == 4

    shown = json.loads(asc("runs", "prune", "s.yaml", "--orphans", "--yes", "--json")[1])
    assert set(shown["deleted"]) == {plain, mixed}
    assert {one["accuracy"] for one in shown["orphans"]} == {62.5}
    assert len(tracker.runs("s")) == 2
    deleted = tracker.client.search_runs([tracker.experiment_id("s")], run_view_type=ViewType.DELETED_ONLY)
    assert {run.info.run_id for run in deleted} == {plain, mixed}
    assert asc("runs", "prune", "s.yaml", "--orphans")[1] == "study s: no run of the store is orphaned\n"

    mlflow = f'mlflow() {{ "{sys.executable}" -m mlflow "$@"; }}\n'
    environment = f"MLFLOW_TRACKING_URI={tracker.uri}"
    ended = os.spawnlp(os.P_WAIT, "env", "env", environment, "bash", "-c", mlflow + shown["restore"])
    assert ended == 0
    assert len(tracker.runs("s")) == 4


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 2)])
def test_a_person_is_asked(asc, tracker, monkeypatch, answer, left):
    write_study()
    log_rows(tracker, "training.momentum=0.8")
    terminal = StringIO(answer + "\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    code, out, _ = asc("runs", "prune", "s.yaml", "--orphans")
    assert (code, "Delete 2 runs?" in out) == (0, True)
    assert len(tracker.runs("s")) == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("s.yaml",), "add --orphans"),
        (("s.yaml", "--orphans", "--dry-run", "--yes"), "exclude each other"),
        (("none.yaml", "--orphans"), "study file none.yaml does not exist"),
    ],
)
def test_bad_input_is_one_line(asc, isolated, arguments, message):
    write_study()
    code, out, err = asc("runs", "prune", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
