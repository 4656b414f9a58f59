"""Whatever a person does to a run's tags in MLflow's page costs at most that run: one line, the rest goes on."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.deploy.bundle import build_bundle
from asc_study.settings.study_file import load_study
from asc_study.store import references
from asc_study.store.claims import HEARTBEAT_LIMIT_SECONDS, heard_of_lately
from asc_study.store.references import find_runs
from asc_study.store.stale import lost_member, stale_reasons
from asc_study.store.tracking import Tracker
from asc_study.study.leaderboard import leaderboard
from asc_study.study.plan import make_plan, render_plan
from asc_study.study.status import study_state
from asc_study.systems.fusion_log import log_fusion
from asc_study.systems.fusions import fuse_runs
from asc_study.systems.score_fused import networks_of
from asc_study.systems.submission import complexity

EDITED = [
    (Tag.STUDY, ""),
    (Tag.ROW, ""),
    (Tag.KIND, "?"),
    (Tag.SEED, "three"),
    (Tag.SIGNATURE, "?"),
    (Tag.COMBINATION, "?"),
    (Tag.TASK, "?"),
    (Tag.DATASET_DIGEST, "?"),
    (Tag.HEARTBEAT, "just now"),
    (Tag.MEMBERS, "{"),
    (Tag.MARK, "?"),
    (Tag.FINGERPRINT, "?"),
    (Tag.FINGERPRINT_FACTS, "{"),
]


@pytest.fixture
def tables(make_table: Callable[..., pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"test": make_table(0, clips=40)}


@pytest.fixture(autouse=True)
def nothing_told_yet() -> None:
    references._tell_once.cache_clear()


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "changed"])
def test_a_tag_that_was_edited_costs_at_most_its_run(
    tracker: Tracker,
    log_run: Callable[..., str],
    tables: dict[str, pd.DataFrame],
    capfd: pytest.CaptureFixture[str],
    removed: bool,
) -> None:
    log_run("kept", tables)
    Path("s.yaml").write_text("study: s\nrows: [{name: kept}]")
    study = load_study(Path("s.yaml"))
    for tag, text in EDITED:
        victim = log_run("victim", tables, seed=1)
        if removed and tag in tracker.client.get_run(victim).data.tags:
            tracker.client.delete_tag(victim, tag)
        else:
            tracker.set_tags(victim, {tag: text})
        capfd.readouterr()
        board = leaderboard(tracker, "s")
        assert "kept" in set(board["row"]), tag
        assert board["seeds"].sum() in (1, 2), tag
        plan = make_plan(study, "d" * 64, tracker)
        assert "kept" in render_plan(study, plan)
        assert study_state("s", tracker).counts["done"] >= 1
        assert [record.label for record in find_runs(tracker, "s/kept")] == ["kept seed 0"]
        if said := capfd.readouterr().err:
            assert said.count("\n") == 1, said
            assert (
                f"note: run {victim} has {'' if removed else text!r} as {tag}, which was edited: it is left out" in said
            )
            with pytest.raises(InputError, match=f"must be those that it was given: run {victim} has .*: put it back"):
                find_runs(tracker, victim)
        tracker.client.delete_run(victim)


def test_a_sign_of_life_that_is_none(tracker: Tracker) -> None:
    """A run is as old as it says where nothing better is known; a clock may be fast by some minutes, not by a year."""
    run_id = tracker.create_run("s", "r", {"asc.kind": "train"}, {})
    for text, is_alive in [
        ("just now", True),
        ("nan", True),
        (f"{time.time() + 400 * 86400:.0f}", False),
        ("inf", True),
        (f"{time.time() + 60:.0f}", True),
        (f"{time.time() - HEARTBEAT_LIMIT_SECONDS - 5:.0f}", False),
    ]:
        tracker.set_tags(run_id, {Tag.HEARTBEAT: text})
        (record,) = tracker.runs("s")
        assert heard_of_lately(record) == is_alive, text
        assert study_state("s", tracker).runs[0].state in ("running", "interrupted")


def test_what_an_edited_tag_says_is_made_of_itself_costs_at_most_its_run(
    tracker: Tracker, log_run: Callable[..., str], tables: dict[str, pd.DataFrame]
) -> None:
    log_run("kept", tables)
    alone, one, other = (log_run(name, tables, kind="fusion") for name in ("alone", "one", "other"))
    for run_id, member in ((alone, alone), (one, other), (other, one)):
        tracker.set_tags(run_id, {Tag.MEMBERS: f'["{member}"]'})
    records = tracker.runs("s")
    assert list(leaderboard(tracker, "s")["row"]) == ["kept"]
    assert stale_reasons(tracker, records)[alone].endswith("its tag says that it is made of itself")
    assert [lost_member(tracker, record) for record in records] == [""] * 4
    Path("s.yaml").write_text("study: s\nrows: [{name: kept}]")
    assert make_plan(load_study(Path("s.yaml")), "d" * 64, tracker).runs
    with pytest.raises(InputError, match="alone"):
        find_runs(tracker, "s/alone")


def test_a_fusion_that_was_edited_to_be_made_of_itself_is_one_line(
    tracker: Tracker, log_run: Callable[..., str], tables: dict[str, pd.DataFrame]
) -> None:
    """``fusion.json`` is what it is scored and bundled by, the tag what its complexity is counted by."""
    for name in "ab":
        log_run(name, tables)
    inner, outer = (
        log_fusion(tracker, "s", name, fuse_runs(tracker, parts, [], fusion="average", join="product", exponent="1"))
        for name, parts in (("inner", ["s/a", "s/b"]), ("outer", ["s/a", "s/inner"]))
    )
    file = tracker.artifact(inner.run_id, Artifact.FUSION)
    content = json.loads(file.read_text())
    content["systems"][0] |= {"run_id": outer.run_id, "kind": Kind.FUSION}
    file.write_text(json.dumps(content))
    tracker.set_tags(inner.run_id, {Tag.MEMBERS: f'["{outer.run_id}"]'})
    record = tracker.run(outer.run_id)
    for below in (
        lambda: networks_of(tracker, record),
        lambda: build_bundle(tracker, [], [], fusion=outer.run_id, scheme="dynamic", out=Path("out")),
        lambda: complexity(tracker, record),
    ):
        with pytest.raises(
            InputError, match=r"^the store says that '(outer|inner) seed 0', run .* is made of itself: make"
        ):
            below()
