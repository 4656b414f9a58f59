"""Submission packages of DCASE 2024 and 2025: the form, what is filled in, and what is refused."""

import copy
import json
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import yaml

import asc_study.systems.submission as submission
from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENES
from asc_study.settings.ensemble_rows import read_ensembles
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.systems.meta_file import Complexity, check_meta, meta_information, results
from asc_study.systems.rows import make_ensembles
from asc_study.systems.submission import complexities_of, complexity, export_submission

LABEL = "Smith_MyUni_task1_1"
HEADER = ["filename", "scene_label", *SCENES]


@pytest.fixture
def runs(tracker: Tracker, log_run, make_table, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """Runs of the splits 5 and 25, and of all of train; that of split 25 has scored clips without labels."""
    monkeypatch.setattr(submission, "complexity", lambda *_: Complexity(126_000, 31_500, 29_419_156))
    for number, name in enumerate(("split5", "split25", "None")):
        tables = {"test": make_table(number, skill=2)}
        if name == "split25":
            blank = make_table(7, skill=2, clips=40).assign(split="evaluation", scene="", device="unknown")
            tables["evaluation"] = blank
        run_id = log_run(f"row-{name}", tables, sample_rate="44100")
        tracker.client.log_param(run_id, "training.subset", name)
        tracker.client.log_param(run_id, "batch_augmentation.mixup.alpha", 0.4)
        tracker.client.log_param(run_id, "features.resample_to", 32000 if name == "split25" else None)
    return tracker


def test_a_package_of_2025_has_output_and_meta(runs: Tracker, tmp_path: Path):
    made = export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL)
    output, meta = made.files
    assert (output, meta) == (tmp_path / LABEL / "output.csv", tmp_path / LABEL / f"{LABEL}.meta.yaml")
    table = pd.read_csv(output, sep="\t")
    assert list(table) == HEADER
    assert len(table) == 40
    assert not table["filename"].str.contains("/").any()
    assert (table["scene_label"] == table[list(SCENES)].idxmax(axis=1)).all()
    content = yaml.safe_load(meta.read_text())
    assert content["submission"]["label"] == LABEL
    assert content["system"]["complexity"] == {
        "total_model_size": 126_000, "total_parameters": 31_500, "macs": 29_419_156,
    }  # fmt: skip
    assert content["system"]["description"]["input_sampling_rate"] == "32kHz"
    assert content["system"]["description"]["data_augmentation"] == "mixup"
    (split,) = content["results"]["development_dataset"]
    assert split == "split_25"
    assert made.notes[0].startswith("to be filled in: submission.abbreviation, submission.authors.0.affiliation")


def test_a_package_of_2024_has_an_output_for_each_split(runs: Tracker, tmp_path: Path):
    made = export_submission(runs, ["s/row-None", "s/row-split5"], tmp_path, "dcase2024", label=LABEL)
    assert [path.relative_to(tmp_path / LABEL).as_posix() for path in made.files[:2]] == [
        "split_5/output.csv",
        "split_100/output.csv",
    ]
    content = yaml.safe_load(made.files[2].read_text())
    assert list(content["results"]["development_dataset"]) == ["split_5", "split_100"]
    assert made.notes[0] == (
        "dcase2024 ranks by split5, split10, split25, split50, split100, missing: split10, split25, split50"
    )
    assert made.notes[1].startswith("split5: the output is that of test, not of the evaluation set")


def test_what_people_say_is_taken_over(runs: Tracker, tmp_path: Path):
    about = tmp_path / "about.yaml"
    about.write_text(
        "submission: {name: Best, abbreviation: B, authors: [{lastname: Smith}]}\n"
        "system: {source_code: none, external_datasets: none, description: {decision_making: vote}}\n"
    )
    made = export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL, about=about)
    content = yaml.safe_load(made.files[-1].read_text())
    assert content["submission"]["authors"] == [{"lastname": "Smith"}]
    assert content["system"]["description"]["decision_making"] == "vote"
    assert made.notes == ()
    about.write_text("system: {sorce_code: none}\n")
    with pytest.raises(InputError, match="unknown key 'system.sorce_code': did you mean 'source_code'"):
        export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL, about=about, overwrite=True)


@pytest.mark.parametrize(
    ("references", "form", "label", "message"),
    [
        (
            ["s/row-split5"],
            "dcase2025",
            LABEL,
            "dcase2025 takes systems of split25, 'row-split5 seed 0' was trained on 5 %",
        ),
        (["s/row-split5", "s/row-split5"], "dcase2024", LABEL, "got two of split5: leave one out"),
        (["s/*"], "dcase2024", LABEL, "one run a split is exported"),
        (["s/row-split25"], "dcase2025", "Smith", "--label must be LASTNAME_INSTITUTE_task1_N"),
        (["s/row-split25"], "dcase2025", "Smith_Uni_task1_5", "--label must be"),
    ],
)
def test_what_does_not_fit_the_form_is_refused(runs, tmp_path, references, form, label, message):
    with pytest.raises(InputError, match=message):
        export_submission(runs, references, tmp_path, form, label=label)
    assert not list(tmp_path.glob("Smith*"))


def test_a_package_replaces_nothing_unless_told(runs: Tracker, tmp_path: Path):
    export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL)
    with pytest.raises(InputError, match="output.csv is there already"):
        export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL)
    export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL, overwrite=True)


def test_limits_are_told(runs: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(submission, "complexity", lambda *_: Complexity(128_001, 32_000, 30_000_001))
    notes = export_submission(runs, ["s/row-split25"], tmp_path, "dcase2025", label=LABEL).notes
    assert notes[0] == "split25: 128,001 bytes of parameters are over the limit of 128,000"
    assert notes[1] == "split25: 30,000,001 multiply-accumulates are over the limit of 30,000,000"


def test_results_are_means_over_the_classes():
    rows = [  # scene, device, p(bus), p(tram)
        ("bus", "a", 0.9, 0.1),
        ("bus", "a", 0.8, 0.2),
        ("bus", "b", 0.4, 0.6),
        ("tram", "a", 0.5 / 2, 1.5 / 2),
    ]
    table = pd.DataFrame(rows, columns=["scene", "device", "bus", "tram"])
    table[["clip_id", "city", "location", "split"]] = [["x", "c", "l", "test"]] * 4
    found = results(table)
    bus, tram = -np.log([0.9, 0.8, 0.4]), -np.log(0.75)
    assert found["class_wise"] == {
        "bus": {"accuracy": 66.67, "logloss": round(bus.mean(), 4)},
        "tram": {"accuracy": 100.0, "logloss": round(tram, 4)},
    }
    assert found["overall"] == {"accuracy": 83.33, "logloss": round((bus.mean() + tram) / 2, 4)}
    assert found["device_wise"] == {
        "a": {"accuracy": 100.0, "logloss": round((bus[:2].mean() + tram) / 2, 4)},
        "b": {"accuracy": 0.0, "logloss": round(bus[2], 4)},
    }


def test_the_form_is_checked(make_table):
    whole = meta_information(LABEL, [{"general": Complexity(1, 1, 1)}], {25: make_table(0)}, {}, {})
    check_meta(whole)
    for change, message in (
        (lambda one: one["system"]["complexity"].pop("macs"), "must have system.complexity.macs, which is missing"),
        (lambda one: one["submission"].update(authors=[]), "submission.authors must be a list of people"),
        (
            lambda one: one["results"]["development_dataset"]["split_25"]["overall"].update(accuracy=120),
            "results of split_25 must have an accuracy in per cent",
        ),
    ):
        changed = copy.deepcopy(whole)
        change(changed)
        with pytest.raises(InputError, match=message):
            check_meta(changed)


def test_complexity_is_that_of_all_networks_at_their_precision():
    import keras

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()])
    trainable = 3 * 3 * 2 + 2 + 2 * 2  # running statistics are no parameters

    class Store:
        def run(self, run_id: str) -> RunRecord | None:
            return records.get(run_id)

        def load_keras_model(self, run_id: str) -> keras.Model:
            return model

    def record(
        run_id: str, kind: str, metrics: dict[str, float], members: tuple[str, ...] = (), routes: str = "{}"
    ) -> RunRecord:
        tags = {Tag.KIND: kind, Tag.ROW: run_id, Tag.MEMBERS: json.dumps(members), Tag.ROUTES: routes}
        return RunRecord(run_id, "1", "FINISHED", tags, {}, metrics, 0.0)

    macs = {"cost/torchinfo_macs": 84.0}
    records = {
        "net": record("net", Kind.TRAIN, macs),
        "other": record("other", Kind.TRAIN, macs),
        "int8": record("int8", Kind.QUANTISED, {"cost/stored_kb": 26 / 1024}, ("net",)),
        "both": record("both", Kind.ENSEMBLE, {}, ("int8", "other")),
        "routed": record(
            "routed",
            Kind.FUSION,
            {},
            ("int8", "both"),
            json.dumps({"general": "int8", "devices": {"a": "both", "s1": "both"}}),
        ),
        "lost": record("lost", Kind.ENSEMBLE, {}, ("gone",)),
        "uncounted": record("uncounted", Kind.TRAIN, {}),
        "imported": record("imported", Kind.IMPORTED, {}),
    }
    store = cast("Tracker", Store())
    assert complexity(store, records["net"]) == Complexity(4 * trainable, trainable, 84)
    assert complexity(store, records["int8"]) == Complexity(26, trainable, 84)
    assert complexity(store, records["both"]) == Complexity(26 + 4 * trainable, 2 * trainable, 168)
    one, two = Complexity(26, trainable, 84), Complexity(26 + 4 * trainable, 2 * trainable, 168)
    assert complexities_of(store, records["routed"]) == {"general": one, "a": two, "s1": two}
    assert complexities_of(store, records["net"]) == {"general": Complexity(4 * trainable, trainable, 84)}
    for name, message in (("lost", "gone, which was deleted"), ("uncounted", "not counted"), ("imported", "not known")):
        with pytest.raises(InputError, match=message):
            complexity(store, records[name])


def test_each_model_of_a_system_by_device_stands_in_the_meta_file(tracker, log_run, make_table, tmp_path, monkeypatch):
    sizes = {"general": Complexity(120_000, 30_000, 29), "a": Complexity(128_001, 31_000, 28)}
    monkeypatch.setattr(submission, "complexity", lambda tracker, record, device: sizes[device or "general"])
    runs = {}
    for number, row in enumerate(("general", "of-a")):
        blank = make_table(number + 7, skill=2, clips=40).assign(split="evaluation", scene="")
        blank["device"] = ["a", "unknown"] * 20
        known = {"evaluation": blank, "test": make_table(number, skill=2)}
        runs[row, 0] = log_run(row, known, evaluation_digest="e" * 64)
        tracker.client.log_param(runs[row, 0], "training.subset", "split25")
    raw = [{"name": "by-device", "general": "general", "devices": {"a": "of-a"}}]
    rows = read_ensembles(raw, dict.fromkeys(("general", "of-a"), "ten_class"), where="s.yaml")
    (outcome,) = make_ensembles(tracker, "s", rows, rows, [0], runs, lambda line: None).outcomes
    assert outcome.status == "done", outcome.reason
    made = export_submission(tracker, ["s/by-device"], tmp_path, "dcase2025", label=LABEL)
    system = yaml.safe_load(made.files[1].read_text())["system"]
    assert system["complexity"] == vars(sizes["a"])
    assert system["complexity_by_device"] == {device: vars(size) for device, size in sizes.items()}
    assert system["description"]["decision_making"] == "maximum likelihood, by models of their own for a"
    assert made.notes[0] == "split25, a: 128,001 bytes of parameters are over the limit of 128,000"
    written = pd.read_csv(made.files[0], sep="\t")[list(SCENES)].to_numpy()
    heard = [tracker.predictions(runs[row, 0])["evaluation"][list(SCENES)].to_numpy() for row in ("of-a", "general")]
    np.testing.assert_allclose(written[0::2], heard[0][0::2], atol=1e-6)
    np.testing.assert_allclose(written[1::2], heard[1][1::2], atol=1e-6)
