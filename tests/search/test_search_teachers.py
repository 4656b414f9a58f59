"""Teachers of a search: what they must not have heard, whom a fold learns from, what makes them the same."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.base.locks import file_lock
from asc_study.data.identified import identify
from asc_study.search import fold as fold_training
from asc_study.search import teaching
from asc_study.search.file import Search, load_search
from asc_study.search.fold import FoldTraining, begin_training
from asc_study.search.report import best_study
from asc_study.search.run_search import SearchResult, run_search
from asc_study.search.storage import open_study, storage_url
from asc_study.search.teaching import train_teachers
from asc_study.settings.study_file import load_study
from asc_study.store.tracking import Tracker
from asc_study.study.launch import Launch
from asc_study.study.spec import RunSpec
from asc_study.training.run_data import split_clips

SPACE = {
    "distillation": {"type": "categorical", "choices": {"off": None, "taught": {"teacher": "both"}}},
    "distillation.temperature": {"type": "float", "low": 1, "high": 4, "when": {"distillation": "taught"}},
    "distillation.weight": {"type": "float", "low": 0.5, "high": 1, "when": {"distillation": "taught"}},
}
CONTENT = {
    "search": "taught",
    "base": {
        "architecture": "tiny_network:TINY",
        "features": {"n_mels": 32},
        "training": {"epochs": 1, "batch_size": 10, "threads": 2},
        "validation": {"share": 0.6},
    },
    "space": SPACE,
    "teachers": {
        "rows": [{"name": "plain"}, {"name": "coarse-ears", "features.n_mels": 16}],
        "ensembles": [{"name": "both", "fine": ["plain", "coarse-ears"]}],
    },
    "fidelity": {"clip_fraction": 0.5},
    "sampler": {"name": "random", "seed": 0},
}


IDLE = [*CONTENT["teachers"]["rows"], {"name": "idle", "training.epochs": 2}]


#: Teachers by device: each goes on from the general one, on the clips of its device.
BY_DEVICE = {
    "rows": [
        {"name": "plain"},
        *(
            {"name": f"of-{device}", "continues": {"row": "plain"}, "training": {"devices": [device]}}
            for device in ("a", "b", "s3")
        ),
    ],
    "ensembles": [
        {"name": "by-device", "general": "plain", "devices": {"a": "of-a", "b": "of-b", "s3": "of-s3"}},
        {"name": "of-held-out", "general": "plain", "devices": {"s3": "of-s3"}},
        {"name": "both", "fine": ["by-device", "of-held-out"]},
    ],
}

#: Without s3 both of its members are one.
TWICE = {
    "rows": [BY_DEVICE["rows"][0], BY_DEVICE["rows"][-1]],
    "ensembles": [BY_DEVICE["ensembles"][1], {"name": "both", "fine": ["plain", "of-held-out"]}],
}


def load(**changes) -> Search:
    path = Path("taught.yaml")
    path.write_text(yaml.safe_dump(CONTENT | changes))
    return load_search(path)


def teachers(**row) -> dict:
    first, second = CONTENT["teachers"]["rows"]
    return CONTENT["teachers"] | {"rows": [first | row, second]}


def fused(**settings) -> dict:
    """The teachers of `CONTENT`, whose ensemble has other settings."""
    return CONTENT["teachers"] | {"ensembles": [CONTENT["teachers"]["ensembles"][0] | settings]}


@pytest.mark.parametrize("taught_by", [CONTENT["teachers"], BY_DEVICE], ids=["plain", "by device"])
@pytest.mark.parametrize("mode", ["in_turn", "together"])
def test_no_teacher_hears_what_its_students_are_judged_on(simulated: Path, mode: str, taught_by: dict):
    search = load(holdout={"devices": ["s3", "b"], "mode": mode}, teachers=taught_by)
    dataset = identify(simulated).dataset
    study = search.teacher_study()
    folds = search.folds(search.config({}))
    deaf = 0 if taught_by is not BY_DEVICE else 2  # each of these has nothing to train on where its device is held out
    assert len(study.rows) == len(taught_by["rows"]) * len(folds) - deaf
    for name, student in folds.items():
        judged_on = split_clips(dataset, student).query("split == 'validation'")
        for row in study.rows:
            if row.name.endswith(f" without {name}"):
                heard = split_clips(dataset, row.config).query("split == 'train'")
                assert len(heard) > 0
                assert not set(heard["clip_id"]) & set(judged_on["clip_id"])
                assert not set(heard["device"]) & set(name.split("+"))
                assert not set(heard["city"] + heard["location"]) & set(judged_on["city"] + judged_on["location"])


def test_a_teacher_by_device_has_no_row_of_the_device_that_is_held_out(isolated: Path):
    search = load(teachers=BY_DEVICE)
    study = search.teacher_study()
    rows = {row.name: row.config for row in study.rows}
    assert rows.keys() == {
        *(f"plain without {fold}" for fold in ("s3", "b")), *(f"of-a without {fold}" for fold in ("s3", "b")),
        "of-b without s3", "of-s3 without b",
    }  # fmt: skip
    assert rows["of-b without s3"].continues.row == "plain without s3"
    assert yaml.safe_load(study.source)["rows"][-1]["continues"] == {"row": "plain without b"}
    ensembles = {row.name: row for row in study.ensembles}
    assert ensembles["by-device without s3"].devices == {"a": "of-a without s3", "b": "of-b without s3"}
    assert ensembles["by-device without s3"].routes == {"a": 1, "b": 2}
    assert ensembles["both without s3"].fine == ["by-device without s3", "plain without s3"]
    assert "of-held-out without s3" not in ensembles
    assert ensembles["of-held-out without b"].devices == {"s3": "of-s3 without b"}
    assert set(search.teachers.of({"of-held-out"}).names) == {"plain", "of-s3", "of-held-out"}
    first, second = (load(teachers=BY_DEVICE | {"rows": rows}).teachers.combinations("d1") for rows in (
        BY_DEVICE["rows"], [{"name": "plain", "training.epochs": 2}, *BY_DEVICE["rows"][1:]]
    ))  # fmt: skip
    assert all(first[name] != second[name] for name in first)  # all go on from the general one


def test_teachers_are_trained_in_full_and_by_the_profile(isolated: Path):
    small = {"training": {"epochs": 3}, "features": {"hop_length": 2048}}
    Path("taught.yaml").write_text(yaml.safe_dump(CONTENT | {"profiles": {"small": small}}))
    search = load_search(Path("taught.yaml"), profile="small", overrides=["validation.share=0.5"])
    student, (plain, coarse) = search.config({}), search.teachers.rows
    assert (student.training.clip_fraction, plain.config.training.clip_fraction) == (0.5, 1)
    assert (plain.config.training.epochs, coarse.config.features.hop_length) == (3, 2048)
    assert coarse.config.features.n_mels == 16
    assert plain.config.validation == coarse.config.validation == student.validation
    assert student.validation.share == 0.5


def test_a_base_that_is_taught_leaves_its_teachers_untaught(isolated: Path):
    base = CONTENT["base"] | {"distillation": {"teacher": "both"}}
    search = load(base=base, space={"distillation": {"type": "categorical", "choices": [None, {}]}})
    assert search.config({}).distillation.teacher == "both"
    assert [row.config.distillation for row in search.teachers.rows] == [None, None]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"teachers": {}}, "`distillation.teacher` must be one of the `teachers` of the search, got 'both': it has no"),
        ({"teachers": teachers(name="plane")}, "'both' names the unknown row 'plain': did you mean 'plane'"),
        ({"base": CONTENT["base"] | {"distillation": {"teacher": "boht"}}}, "got 'boht': did you mean 'both'?"),
        ({"teachers": teachers(**{"validation.seed": 3})}, "must have the base's `validation.seed`, 0, got 3"),
        ({"teachers": teachers(validation={"holdout_devices": ["b"]})}, "the base's `validation.holdout_devices`"),
        ({"teachers": teachers(**{"validation.folds": 3})}, "the base's `validation.folds`, 0, got 3: remove it"),
        ({"teachers": teachers(training={"data": "development"})}, "must have the base's `training.data`, 'train'"),
        ({"teachers": teachers(training={"threads": 1})}, "must have the base's `training.threads`, 2, got 1"),
        ({"teachers": teachers(task="three_class")}, "must have the base's `task`, 'ten_class', got 'three_class'"),
        ({"teachers": teachers(distillation={"teacher": "x"})}, "must learn from labels alone, got `distillation`"),
        ({"teachers": teachers(**{"continues.row": "x"})}, "`continues.row` must be a row or an ensemble of the study"),
        (
            {"teachers": teachers(**{"continues.row": "coarse-ears"})},
            "`continues.row` must have the network of the row, got another features in 'coarse-ears'",
        ),
        ({"teachers": teachers(**{"training.devices": ["s3"]})}, "must be trained on more devices than the search"),
        (
            {"teachers": TWICE},
            "teacher 'both' must be of different rows without s3, got ['plain', 'plain'], as a system by",
        ),
        ({"teachers": teachers(name="base")}, "teacher 'base': the name is taken"),
        ({"teachers": teachers(wdith=1)}, "teacher 'plain': unknown key 'wdith'"),
        ({"teachers": {"ensembles": CONTENT["teachers"]["ensembles"]}}, "needs `teachers.rows` to be made of"),
        ({"teachers": fused(select={})}, "must not be selected by the clips that its students are judged on"),
        ({"teachers": fused(fusion="weighted")}, "must not be fitted to the clips that its students are judged on"),
        ({"teachers": fused(fusion="logistic")}, "got fusion logistic: use average or product"),
        ({"teachers": fused(fusion="averaeg")}, "did you mean 'average'"),
        ({"teachers": teachers() | {"rows": IDLE}}, "no point of the space learns from the teacher 'idle': name it"),
        (
            {"base": CONTENT["base"] | {"continues": {"row": "plain"}}},
            "the trials of a search begin with weights of their own",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_one_line(isolated: Path, changes: dict, told: str):
    with pytest.raises(InputError) as refused:
        load(**changes)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_teacher_is_another_search_and_another_trial(tracker: Tracker):
    search = load()
    alone = load(space={"training.lr_max": {"type": "float", "low": 0.1, "high": 1}}, teachers={})
    assert "teachers" not in alone.identity("d1")  # a search that was begun without can go on
    open_study(storage_url(), search.name, {"holdout/acc": "maximize"}, search.identity("d1"))
    open_study(storage_url(), search.name, {"holdout/acc": "maximize"}, search.identity("d1"))
    changed = load(teachers=teachers(training={"epochs": 2}))
    with pytest.raises(InputError, match=r"was begun with other teachers: teachers\.plain was \w{12}, is \w{12}"):
        open_study(storage_url(), changed.name, {"holdout/acc": "maximize"}, changed.identity("d1"))
    point = {"distillation": "taught", "distillation.temperature": 2.0, "distillation.weight": 0.9}
    taught, untaught = ([one.combination(one.config(p), "d1") for one in (search, changed)] for p in (point, {}))
    assert taught[0] != taught[1]
    assert untaught[0] == untaught[1]


def test_which_teacher_the_base_has_is_part_of_the_search(isolated: Path):
    space = {
        "distillation.temperature": {"type": "float", "low": 1, "high": 4},
        "distillation.teacher": {"type": "categorical", "choices": ["plain", "both"]},
    }
    bases = [CONTENT["base"] | {"distillation": {"teacher": name}} for name in ("plain", "both")]
    plain, both = (load(base=base, space=space).identity("d1") for base in bases)
    assert plain["settings"] | {"distillation.teacher": "both"} == both["settings"]
    assert plain["settings"] != both["settings"]


def made(search: Search, *points: dict) -> optuna.Study:
    """An Optuna study of complete trials, each better than the one before."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for number, point in enumerate(points):
        kinds = {
            name: optuna.distributions.CategoricalDistribution(["off", "taught"])
            if isinstance(value, str)
            else optuna.distributions.FloatDistribution(0.5, 4)
            for name, value in point.items()
        }
        study.add_trial(optuna.create_trial(params=point, distributions=kinds, value=number / 10))
    return study


def test_the_best_is_a_study_that_trains_its_teachers_on_all_devices(isolated: Path):
    search = load()
    point = {"distillation": "taught", "distillation.temperature": 3.0, "distillation.weight": 0.75}
    Path("best.yaml").write_text(best_study(search, made(search, {"distillation": "off"}, point)))
    study = load_study(Path("best.yaml"))
    best, plain, coarse = study.rows
    assert (best.name, plain.name, coarse.name) == ("best-trial-1", "plain", "coarse-ears")  # plain is the base
    assert best.config.distillation.model_dump() == {"teacher": "both", "temperature": 3.0, "weight": 0.75}
    assert best.config.training.clip_fraction == 1
    assert [row.config for row in (plain, coarse)] == [row.config for row in search.teachers.rows]
    assert plain.config.validation.holdout_devices == []
    assert [(row.name, row.fine) for row in study.ensembles] == [("both", ["plain", "coarse-ears"])]


def test_the_best_that_learns_from_labels_alone_needs_no_teachers(isolated: Path):
    search = load()
    text = best_study(search, made(search, {"distillation": "off"}))
    assert [row["name"] for row in yaml.safe_load(text)["rows"]] == ["best-trial-0"]
    assert "ensembles" not in yaml.safe_load(text)


def test_a_teacher_without_a_setting_of_the_base_stands_in_the_best_study(isolated: Path):
    """A shipped profile sets options that the network of the base has and that of the teacher has not."""
    content = {
        "search": "s",
        "base": {"architecture": "small_fcnn"},
        "space": {"distillation": {"type": "categorical", "choices": {"off": None, "taught": {"teacher": "t"}}}},
        "teachers": {"rows": [{"name": "t", "architecture": "tiny_network:TINY"}]},
    }
    Path("s.yaml").write_text(yaml.safe_dump(content))
    search = load_search(Path("s.yaml"), profile="small-data")
    Path("best.yaml").write_text(best_study(search, made(search, {"distillation": "taught"})))
    best, base, teacher = load_study(Path("best.yaml")).rows
    assert (best.config.distillation.teacher, base.config.distillation) == ("t", None)
    assert best.config.model.attention is False
    assert teacher.config == search.teachers.rows[0].config


@pytest.mark.slow
def test_each_fold_learns_from_the_teacher_that_never_heard_its_device(
    simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    begun: list[tuple[RunSpec, tuple[str, ...]]] = []
    told: list[int] = []
    table_of = fold_training.teacher_table

    def tell(*arguments):
        table = table_of(*arguments)
        told.append(len(table))
        return table

    def begin(spec: RunSpec, launch: Launch, watch: Sequence[str]) -> FoldTraining:
        begun.append((spec, tuple(watch)))
        return begin_training(spec, launch, watch)

    monkeypatch.setattr(fold_training, "teacher_table", tell)
    data, said = identify(simulated), []
    taught = SPACE["distillation"] | {"choices": {"taught": {"teacher": "both"}}}
    search = load(space=SPACE | {"distillation": taught})

    def launch(trials: int) -> SearchResult:
        return run_search(search, data, url=storage_url(), trials=trials, train=begin, say=said.append)

    result = launch(1)
    assert result.counts["complete"] == 1, said
    runs = {run.tags["asc.row"]: run for run in tracker.runs("taught-teachers") if "asc.row" in run.tags}
    assert {name for name in runs if "both" in name} == {"both without s3", "both without b"}
    (of_base, of_trial) = begun[:2], begun[2:]
    assert [spec.teacher for spec, _ in of_base] == ["", ""]  # the base is not taught
    assert {spec.row: spec.teacher for spec, _ in of_trial} == {
        f"trial 0 without {device}": runs[f"both without {device}"].run_id for device in ("s3", "b")
    }
    assert len(told) == 2
    assert min(told) > 0
    trained = len(tracker.runs("taught-teachers", kind="train"))
    assert trained == 4
    said.clear()
    assert launch(2).counts["complete"] == 2
    assert len(tracker.runs("taught-teachers", kind="train")) == trained
    assert not [line for line in said if line.startswith("teachers:")]


def test_a_launch_waits_for_the_teachers_of_another(simulated: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch):
    search, said = load(holdout={"devices": ["s3"]}), []
    others = file_lock(f"teachers {tracker.identity('taught-teachers')}")
    others.acquire()
    monkeypatch.setattr(teaching, "_finished", lambda study, *_: {name: f"id of {name}" for name in study.names})

    def say(line: str) -> None:
        said.append(line)
        others.release()

    found = train_teachers(search, identify(simulated), tracker, say=say)
    assert said == ["teachers: another launch trains them: waiting for it"]
    assert found == {(name, "s3"): f"id of {name} without s3" for name in ("plain", "coarse-ears", "both")}


@pytest.mark.slow
def test_students_of_a_teacher_by_device_are_trained(simulated: Path, tracker: Tracker):
    said: list[str] = []
    rows = [row for row in BY_DEVICE["rows"] if row["name"] != "of-b"]
    rows = [{**row, "training": row.get("training", {}) | {"select_epoch": "last"}} for row in rows]
    ensembles = [{"name": "both", "general": "plain", "devices": {"a": "of-a", "s3": "of-s3"}}]
    choices = {"by-device": {"teacher": "both"}, "of-held-out": {"teacher": "held-out"}}
    ensembles.append({"name": "held-out", "general": "plain", "devices": {"s3": "of-s3"}})
    search = load(
        space={"distillation": {"type": "categorical", "choices": choices}},
        teachers={"rows": rows, "ensembles": ensembles},
        sampler={"name": "grid", "seed": 0},
    )
    result = run_search(search, identify(simulated), url=storage_url(), trials=2, say=said.append)
    assert result.counts["complete"] == 2, said
    runs = {run.tags["asc.row"]: run for run in tracker.runs("taught-teachers") if "asc.row" in run.tags}
    found = train_teachers(search, identify(simulated), tracker)
    assert found["held-out", "s3"] == runs["plain without s3"].run_id
    assert found["held-out", "b"] == runs["held-out without b"].run_id


@pytest.mark.slow
def test_a_teacher_that_fails_ends_the_search_before_a_trial(simulated: Path, tracker: Tracker):
    said: list[str] = []
    broken = teachers(training={"lr_max": 1e30})
    result = run_search(load(teachers=broken), identify(simulated), url=storage_url(), trials=1, say=said.append)
    assert "the trials need teachers that are not finished, plain without s3, plain without b, both" in result.ended
    assert said[-1] == f"the search ends here: {result.ended}"
    assert tracker.runs("taught", kind="trial") == []
