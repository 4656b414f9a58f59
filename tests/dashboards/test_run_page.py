"""The page of one run."""

import json

import pytest
from logged_runs import log

from asc_study.base.contract import Artifact
from asc_study.base.files import write_file
from asc_study.store.queries import Reader
from dashboards.blocks import Figure, Grid, Note, Table
from dashboards.pages import PAGES
from dashboards.pages.run import PAGE, Run
from dashboards.source import Source


def named(blocks, name):
    return next(one for one in blocks if getattr(one, "name", "") == name)


@pytest.fixture
def trained(tracker, make_table, log_run):
    """Two trained runs with the history of one, and an ensemble of both and of what is gone."""
    ids = [
        log_run(name, {split: make_table(seed, skill=2, split=split) for split in ("test", "validation")})
        for seed, name in enumerate(("one", "other <b>"))
    ]
    for epoch in (1, 2, 3):
        measured = {"train_loss": 2 / epoch, "validation_loss": 2, "validation_acc": epoch / 4, "learning_rate": 0.1}
        tracker.log_metrics(ids[0], {f"epoch/{name}": value for name, value in measured.items()}, epoch)
    tracker.log_metrics(ids[0], {"epoch/chosen": 2})
    elsewhere = log(tracker, "far", {"test": make_table(5)}, study="elsewhere")
    members = json.dumps([*ids, elsewhere])
    log_run("both", {"test": make_table(4, skill=3)}, kind="ensemble", members=members, git_commit="c" * 40)
    return Source(Reader(tracker.uri), ("s",)), ids


def test_a_trained_run_has_figures_settings_and_origin(trained):
    source, _ = trained
    blocks = PAGE.blocks(source, Run(row="one"))
    assert [one.name for one in blocks if isinstance(one, Figure)] == [
        "devices",
        "confusion",
        "reliability",
        "training",
    ]
    assert [one.name for one in blocks if isinstance(one, Table)] == ["settings", "origin"]
    assert named(blocks, "training").table["epoch"].tolist() == [1, 2, 3]
    assert "Epoch 2 of 3 was kept" in named(blocks, "training").figure.layout.meta["sentence"]
    assert named(blocks, "settings").frame.to_numpy().tolist() == [["architecture", "fcnn"]]
    by_device = named(blocks, "devices").table
    assert by_device[by_device["split"] == "test"]["name"].iloc[0] == "avg"
    board = source.board(()).row("one")
    assert by_device["accuracy"].iloc[0] == pytest.approx(board["acc_avg"])
    assert by_device["low"].iloc[0] == pytest.approx(board["acc_avg_lo"])


def test_the_epochs_that_a_run_tells_of_are_marked(trained, tracker):
    source, (first, _) = trained
    with tracker.artifacts(first) as folder:
        write_file(folder / Artifact.TRAINING, json.dumps({"chosen_epochs": [1, 3]}))
    sentence = named(PAGE.blocks(source, Run(row="one")), "training").figure.layout.meta["sentence"]
    assert sentence.startswith("Epochs 1 and 3 of 3 were kept")


def test_parts_lead_to_their_pages_and_those_of_other_studies_to_mlflow(trained, tracker):
    source, _ = trained
    parts = named(PAGE.blocks(source, Run(row="both")), "parts")
    assert parts.frame["part"].tolist() == ["one seed 0", "other <b> seed 0", "far seed 0"]
    links = parts.links["part"]
    assert links[:2] == ["/run?row=one&seed=0", "/run?row=other+%3Cb%3E&seed=0"]
    assert links[2].startswith("http://127.0.0.1:5000/#/experiments/")


def test_a_part_that_was_deleted_is_told(trained, tracker, make_table, log_run):
    log_run("rest", {"test": make_table(6)}, kind="imported", members=json.dumps(["f" * 32]))
    source, _ = trained
    assert named(PAGE.blocks(source, Run(row="rest")), "parts").frame["part"].tolist() == [f"{'f' * 32} (deleted)"]


def test_where_it_comes_from(trained):
    source, _ = trained
    origin = named(PAGE.blocks(source, Run(row="both")), "origin")
    told = dict(origin.frame.to_numpy())
    assert told["commit of the code"] == "c" * 40
    assert told["digest of the data set"] == "d" * 64
    assert origin.links["value"][-1].endswith(f"/runs/{told['MLflow run']}")


def test_rows_and_seeds_that_are_gone_are_told(source):
    told = [one.text for one in PAGE.blocks(source, Run(row="gone")) if isinstance(one, Note)]
    assert told[0].startswith("There is no finished run of 'gone'")
    told = [one.text for one in PAGE.blocks(source, Run(row="mixup", seed="9")) if isinstance(one, Note)]
    assert told[0] == "mixup has no finished seed 9: seed 0 is shown."
    assert "mixup seed 1" in PAGE.blocks(source, Run(row="mixup", seed="1"))[0].text


def test_a_run_without_predictions_is_still_described(source, monkeypatch):
    monkeypatch.setattr(source, "predictions", lambda run_id, split: None)
    blocks = PAGE.blocks(source, Run(row="plain"))
    assert "no test predictions" in blocks[0].text
    assert [one.name for one in blocks[1:]] == ["settings", "origin"]


def test_a_name_in_the_leaderboard_leads_to_its_run(source):
    (grid,) = [one for one in PAGES[0].blocks(source, PAGES[0].state()) if isinstance(one, Grid)]
    links = {row["name"]: row["link"] for row in grid.rows}
    assert links["mixup <b>masks</b>"] == "/run?row=mixup+%3Cb%3Emasks%3C%2Fb%3E"
