"""What a plan says of work, time and settings that do not fit: figures by hand."""

import re
from pathlib import Path

import pytest

from asc_study.data.cut import cut_validation
from asc_study.data.layout import read_dataset
from asc_study.settings.run_config import flatten, resolve
from asc_study.settings.study_file import Row, Study
from asc_study.store.tracking import Tracker
from asc_study.study.advice import advice, cut_note, cycle_note, momentum_note, rate_note, validation_note
from asc_study.study.effort import Effort, describe_time, describe_work, efforts
from asc_study.study.preflight import check_fit
from asc_study.training.run_data import Cuts

RULES = {
    "momentum": momentum_note,
    "cut": cut_note,
    "cycle": cycle_note,
    "rate": rate_note,
    "validation": validation_note,
}


def effort(samples: int = 300, validation: int = 0, locations: int = 0, **training) -> Effort:
    """A row with the defaults but for some settings of training (and of the model, by ``batch_norm_momentum``)."""
    model = {key: training.pop(key) for key in ("batch_norm_momentum",) if key in training}
    return Effort("net", resolve({"model": model, "training": training}), samples, validation, locations)


@pytest.mark.parametrize(
    ("scale", "masks", "is_told"),
    [("none", {}, True), ("none", {"mask_value": -18.4}, False), ("min_max", {}, False), ("none", None, False)],
)
def test_masks_that_are_loud_are_told(scale, masks, is_told):
    batch = {} if masks is None else {"spec_augment": masks}
    row = Effort("net", resolve({"features": {"scale": scale}, "batch_augmentation": batch}), 300, 0, 0)
    told = [note for note in advice([row]) if "are loud where features are not scaled" in note]
    assert len(told) == is_told
    assert all(note.startswith("note (net): masks of the value 0 ") for note in told)


@pytest.mark.parametrize(
    ("rule", "of", "match"),
    [
        # 300 // 32 = 9 steps an epoch; 5 / (1 - .99) = 500.
        ("momentum", {"epochs": 30}, "momentum 0.99 needs about 500 steps to settle, 270 are trained: set .* to 0.98$"),
        ("momentum", {"epochs": 6, "batch_norm_momentum": 0.98}, "needs about 250 steps.*, 54 are .*momentum to 0.9$"),
        ("momentum", {"epochs": 62}, None),
        ("momentum", {"epochs": 6, "batch_norm_momentum": 0.9}, None),
        # Cycles of 2, 4, 8, 16 epochs end at 2, 6, 14, 30.
        (
            "cut",
            {"epochs": 20},
            "20 epochs end inside a cycle of the learning rate, .*: set .*epochs to 14 or 30",
        ),
        ("cut", {"epochs": 1}, "1 epochs end inside .*: set training.epochs to 2$"),
        ("cut", {"epochs": 30}, None),
        ("cut", {"epochs": 60, "first_cycle_epochs": 20, "cycle_multiplier": 1}, None),
        # The longest whole cycle of 20 epochs has 8; 100 / 9 is above 11.
        ("cycle", {"epochs": 20}, r"72 steps \(8 epochs of 9\).*training.first_cycle_epochs and .* to 12 or more"),
        ("cycle", {"epochs": 30}, None),
        ("cycle", {"epochs": 10, "schedule": "cosine"}, r"90 steps \(10 epochs of 9\).*: set training.epochs to 12 or"),
        ("cut", {"epochs": 20, "schedule": "cosine"}, None),
        ("rate", {"optimizer": "adamw"}, "adamw at a learning rate of 0.1 hardly learns: set training.lr_max to 0.005"),
        ("rate", {"optimizer": "adamw", "lr_max": 0.005}, None),
        ("rate", {}, None),
        ("cycle", {"epochs": 1}, None),  # there is no whole one: the other rule says so
        # 2 x sqrt(.25 / 43) = .152
        (
            "validation",
            {"validation": 43, "locations": 11},
            "on 43 validation clips of 11 locations, where differences of 15 points are noise .*: set .* to last or",
        ),
        ("validation", {"validation": 43, "locations": 11, "select_epoch": "last"}, None),
        ("validation", {"validation": 200, "locations": 11}, None),
        ("validation", {}, None),
    ],
)
def test_a_note_says_what_does_not_fit_and_what_to_set(rule: str, of: dict, match: str | None):
    note = RULES[rule](effort(**of))
    assert re.search(match, note) if match else not note


def test_a_note_is_said_once_with_its_rows():
    alike = [Effort(name, effort(epochs=30).config, 300, 0, 0) for name in "abcde"]
    (note,) = advice(alike)
    assert note.startswith("note (a, b, c and 2 more): batch normalisation")


def test_the_work_counts_copies_and_tells_sizes_apart(simulated: Path):
    data = read_dataset(simulated)
    plain = resolve({"training": {"epochs": 2, "batch_size": 16}, "validation": {"share": 0}})
    train = int((data.clips["split"] == "train").sum())
    of_a = int(((data.clips["split"] == "train") & (data.clips["device"] == "a")).sum())
    copied = plain.model_copy(
        update={
            "waveform_augmentation": resolve(
                {"waveform_augmentation": {"noise": {"copies": 2}, "reverb_drc": {}}}
            ).waveform_augmentation
        }
    )
    found = efforts([Row("plain", plain), Row("copied", copied)], data)
    assert [one.samples for one in found] == [train, 3 * train + of_a]
    steps = train // 16
    assert describe_work(found, {"plain": 3}) == [
        f"to train: 3 runs x 2 epochs x {steps} steps of 16 clips = {6 * steps} steps; {train} clips to train on, "
        "0 to validate"
    ]
    assert [line.partition(" x ")[0] for line in describe_work(found, {"plain": 3, "copied": 1})] == [
        "to train: 3 runs (plain)",
        "to train: 1 run (copied)",
    ]
    assert describe_work(found, {}) == []


def test_the_time_is_that_of_like_runs_on_the_same_data(tracker: Tracker):
    wanted = effort(epochs=10)
    settings = flatten(wanted.config.model_dump())

    def log(study: str, seconds: float, digest: str = "d", **changes) -> None:
        tags = {"asc.kind": "train", "asc.dataset_digest": digest}
        run_id = tracker.create_run(study, "x", tags, settings | changes)
        tracker.log_metrics(run_id, {"epoch/seconds": seconds}, 1)
        tracker.finish(run_id)

    assert describe_time([wanted], {"net": 2}, tracker, "d") == []
    log("one", 100.0, **{"training.batch_size": 8})
    log("one", 200.0, digest="other")
    assert describe_time([wanted], {"net": 2}, tracker, "d") == []
    for seconds in (8.0, 12.0, 50.0):
        log("two", seconds, **{"training.epochs": 3, "training.lr_max": 0.05})
    # The median, 12 s, of 10 epochs, twice: 240 s.
    (line,) = describe_time([wanted], {"net": 2}, tracker, "d")
    assert line == "time: about 4 min of epochs, one run after the other, by those measured in this store"
    thin = Effort("thin", resolve({"model": {"width": 0.5}}), 300, 0, 0)
    (line,) = describe_time([wanted, thin], {"net": 2, "thin": 1}, tracker, "d")
    assert line.endswith("in this store, for 2 of 3 runs: the like of the others was never measured here")
    assert describe_time([wanted], {"net": 2}, None, "d") == []


def test_rows_that_share_a_cut_of_the_clips_do_not_cut_them_again(simulated: Path, monkeypatch: pytest.MonkeyPatch):
    cuts = []

    def counted(*arguments, **options):
        cuts.append(options["seed"])
        return cut_validation(*arguments, **options)

    monkeypatch.setattr("asc_study.training.run_data.cut_validation", counted)
    data = read_dataset(simulated)
    configs = [
        resolve({"features": {"n_mels": 32}, "training": {"lr_max": rate}, "validation": {"seed": seed}})
        for rate in (0.1, 0.2, 0.3)
        for seed in (1, 2)
    ]
    rows = tuple(Row(f"row {number}", config) for number, config in enumerate(configs))
    shared = Cuts(data)
    check_fit(Study("s", "", rows, (0,), "inline", ""), data, cuts=shared)
    efforts(rows, data, shared)
    assert sorted(cuts) == [1, 2]
