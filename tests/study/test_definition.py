"""A study file means its rows as they are now: runs of other settings, seeds or data are orphans."""

from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.settings.study_file import load_study
from asc_study.study.leaderboard import study_leaderboard
from asc_study.study.leaderboard_forms import render
from asc_study.study.plan import make_plan, render_plan, specs
from asc_study.systems.rows import make_ensembles

STUDY = """study: s
baseline: false
seeds: [0, 1]
base: {architecture: fcnn}
rows:
  - {name: plain}
  - {name: masks, batch_augmentation: {spec_augment: {}}}
  - {name: coarse, task: three_class}
ensembles:
  - {name: both, fine: [plain, masks]}
"""


@pytest.fixture
def launched(tracker, log_run, make_table, isolated):
    """A study file whose trained runs are in the store as `run` logs them."""
    (isolated / "study.yaml").write_text(STUDY)

    def log_specs(**changed):
        for spec in specs(load_study(isolated / "study.yaml"), "d" * 64):
            identity = {"combination": spec.combination, "signature": spec.signature} | changed
            table = make_table(spec.seed, task=spec.config.task)
            log_run(spec.row, {"test": table}, seed=spec.seed, task=spec.config.task, **identity)

    log_specs()
    return log_specs


def replace(text: str, new: str) -> None:
    file = Path("study.yaml")
    file.write_text(file.read_text().replace(text, new))


def test_a_file_shows_its_rows_as_they_are_now_and_orphans_only_if_asked(launched):
    replace("{architecture: fcnn}", "{architecture: fcnn, training: {epochs: 7}}")
    launched()
    _, board = study_leaderboard("study.yaml")
    assert board[["row", "seeds"]].to_numpy().tolist() == [["plain", 2], ["masks", 2], ["coarse", 2], ["both", 0]]
    _, everything = study_leaderboard("study.yaml", orphans=True)
    assert everything["state"].tolist() == ["current", "orphaned"] * 3 + ["current"]
    text = render(everything, "s")
    assert f"[{board['hash'][0]}]" in text
    assert f"[{everything['hash'][1]}]" in text
    assert text.count("orphaned") == 3 + 1  # a mark each, and the note


def test_plan_and_leaderboard_print_the_same_hash_for_the_same_run(tracker, launched):
    replace("{architecture: fcnn}", "{architecture: fcnn, training: {epochs: 7}}")
    launched()
    study = load_study(Path("study.yaml"))
    plan = render_plan(study, make_plan(study, "d" * 64, tracker))
    _, board = study_leaderboard("study.yaml", orphans=True)
    assert all(plan.count(digits) == 2 for digits in board["hash"].dropna())  # two seeds each
    assert {digits for digits in board["hash"].dropna() if digits in render(board, "s")} == set(board["hash"].dropna())


def test_a_renamed_row_keeps_its_results(launched):
    replace("name: plain", "name: simple")
    replace("fine: [plain", "fine: [simple")
    _, board = study_leaderboard("study.yaml")
    assert board[["row", "seeds"]].to_numpy().tolist() == [["simple", 2], ["masks", 2], ["coarse", 2], ["both", 0]]


def test_a_seed_that_left_the_file_is_an_orphan(launched):
    replace("seeds: [0, 1]", "seeds: [1]")
    _, board = study_leaderboard("study.yaml")
    assert board["seed_list"].dropna().tolist() == ["1", "1", "1"]


def test_a_file_whose_runs_are_all_orphans_says_so(launched):
    replace("{architecture: fcnn}", "{architecture: fcnn, training: {epochs: 7}}")
    with pytest.raises(
        InputError, match=r"no finished runs as it is defined now, got 6 of other settings .* --orphans"
    ):
        study_leaderboard("study.yaml")
    assert study_leaderboard("study.yaml", overrides=["training.epochs=254"])[1]["seeds"].sum() == 6


def test_ensembles_of_a_file_are_known_by_what_they_are_made_of(tracker, launched):
    study = load_study(Path("study.yaml"))
    finished = {(run.tags["asc.row"], int(run.seed)): run.run_id for run in tracker.runs("s")}
    make_ensembles(tracker, "s", study.ensembles, study.ensembles, study.seeds, finished, print)
    assert study_leaderboard("study.yaml")[1].set_index("row").loc["both", "seeds"] == 2
    (one,) = [run_id for (row, seed), run_id in finished.items() if (row, seed) == ("plain", 0)]
    tracker.client.delete_run(one)  # a member was deleted in MLflow's page
    assert study_leaderboard("study.yaml")[1].set_index("row").loc["both", "seed_list"] == "1"
    stale = study_leaderboard("study.yaml", orphans=True)[1]
    assert stale[stale["state"] == "orphaned"]["row"].tolist() == ["both"]
    replace("fine: [plain, masks]", "fine: [plain, masks], fusion: product")
    assert study_leaderboard("study.yaml")[1].set_index("row").loc["both", "seeds"] == 0


def test_a_profile_belongs_to_a_file(tracker):
    with pytest.raises(InputError, match="--profile and --set belong to a study file, got the name 's'"):
        study_leaderboard("s", profile="small")
