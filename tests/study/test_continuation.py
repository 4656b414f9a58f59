"""Rows that go on from another row's weights, with 8 bits or without."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.deploy.quantise import quantise, usual_scheme
from asc_study.settings.study_file import Study, load_study
from asc_study.store.references import find_runs
from asc_study.store.tracking import Tracker
from asc_study.study.plan import make_plan, render_plan, specs
from asc_study.study.preflight import check_fit
from asc_study.study.run_study import run_study
from asc_study.study.teachers import waves

BASE = {
    "architecture": "tiny_network:TINY",
    "features": {"n_mels": 32},
    "training": {"epochs": 2, "batch_size": 10, "threads": 2, "lr_max": 0.05},
}
SECOND = {"continues": {"row": "plain"}, "training": {"epochs": 1, "lr_max": 1e-5, "lr_min": 0, "select_epoch": "last"}}
ROWS = [
    {"name": "aware", **SECOND, "quantisation_aware": {}},
    {"name": "longer", **SECOND},
    {"name": "plain"},
]


def study_of(rows: list[dict], base: dict = BASE, **more) -> Study:
    content = {"study": "continued", "baseline": False, "base": base, "rows": rows} | more
    Path("continued.yaml").write_text(yaml.safe_dump(content))
    return load_study(Path("continued.yaml"))


@pytest.fixture(scope="module")
def trained(simulated: Path, tmp_path_factory, empty_store: Path) -> tuple[Path, Study, IdentifiedDataset, list]:
    folder = tmp_path_factory.mktemp("continued")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        data, study = identify(simulated), study_of(ROWS, figures="cdn")
        return folder, study, data, run_study(study, data)


@pytest.fixture
def continued(trained, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(trained[0])
    monkeypatch.setenv("ASC_STUDY_CACHE", str(trained[0] / "cache"))
    return trained


def test_a_row_is_trained_after_the_one_that_it_continues_and_begins_with_its_weights(continued):
    _, study, data, outcomes = continued
    assert [(outcome.spec.row, outcome.status) for outcome in outcomes] == [
        ("plain", "done"),
        ("aware", "done"),
        ("longer", "done"),
    ], outcomes
    assert make_plan(study, data.digest, Tracker()).counts["done"] == 3
    tracker = Tracker()
    models = {
        record.tags["asc.row"]: tracker.load_keras_model(record.run_id)
        for record in tracker.runs("continued", kind="train")
    }
    begun, went_on = (models[name].layers[1].get_weights()[0] for name in ("plain", "longer"))
    assert 0 < np.abs(begun - went_on).max() < 1e-2, "at this learning rate they stay near"


def test_the_file_of_a_quantisation_aware_run_needs_no_clips_and_decides_as_the_run(continued):
    data, tracker = continued[2], Tracker()
    assert usual_scheme(tracker, "continued/aware@0") == "int8"
    assert usual_scheme(tracker, "continued/plain@0") == "dynamic"
    unproven = quantise(tracker, "continued/aware@0", "int8")
    made = quantise(tracker, "continued/aware@0", "int8", data=data)
    assert unproven.content == made.content
    assert made.agreement["test"] > 0.99
    (record,) = find_runs(tracker, "continued/aware-int8")
    assert record.metrics["test/agreement"] == made.agreement["test"]
    with pytest.raises(InputError, match="was trained for 8 bits"):
        quantise(tracker, "continued/aware@0", "float16", data=data)


def test_what_is_continued_is_part_of_the_identity_and_its_name_is_not(isolated: Path):
    def combination(rows: list[dict]) -> str:
        return next(spec.combination for spec in specs(study_of(rows), "0" * 64) if spec.row == "aware")

    aware, longer, plain = ROWS
    first = combination(ROWS)
    assert combination([{**aware, "continues": {"row": "p"}}, {**plain, "name": "p"}]) == first
    assert combination([aware, longer, {**plain, "training.epochs": 3}]) != first
    assert combination([{**aware, "quantisation_aware": {"frozen_share": 0.5}}, longer, plain]) != first
    assert combination([{**aware, "quantisation_aware": None}, plain]) != first
    assert waves(study_of(ROWS)) == [["plain"], ["aware", "longer"]]


def test_the_plan_says_what_a_row_waits_for(isolated: Path):
    study = study_of(ROWS)
    assert render_plan(study, make_plan(study, "0" * 64, None)).count("after its origin plain") == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"continues": None}, "quantisation_aware needs a trained network to begin with"),
        ({"continues": {"row": "plane"}}, "did you mean 'plain'"),
        ({"continues": {"row": "aware"}}, "aware <- aware"),
        ({"continues": {"row": "all"}}, "must be a trained row, got the ensemble 'all'"),
        ({"features": {"n_mels": 16}}, "must have the network of the row, got another features in 'plain'"),
        ({"training": {"precision": "mixed_bfloat16"}}, "quantisation_aware computes in float32"),
        ({"validation": {"folds": 2}}, "`continues` trains one network, got validation.folds"),
        ({"training": {"select_epoch": "snapshots", "epochs": 2}}, "got training.select_epoch: snapshots"),
    ],
)
def test_a_row_that_cannot_go_on_is_one_line(isolated: Path, change: dict, told: str):
    ensembles = [{"name": "all", "fine": ["plain", "longer"]}]
    with pytest.raises(InputError, match=told) as refused:
        study_of([ROWS[0] | change, *ROWS[1:]], ensembles=ensembles)
    assert "\n" not in str(refused.value)


def test_a_network_of_several_is_not_continued(isolated: Path):
    plain = ROWS[2] | {"validation": {"folds": 2}}
    with pytest.raises(InputError, match="must be one network in float32, got 'plain' with folds"):
        study_of([ROWS[1], plain])


def test_a_plan_refuses_layers_that_are_not_known(simulated: Path, isolated: Path):
    Path("mine.py").write_text(
        "import tiny_network\nfrom asc_study.models import Architecture\n\n\n"
        "def build(shape, classes, options):\n"
        "    import keras\n"
        "    inputs = keras.Input(shape, name='features')\n"
        "    x = keras.layers.SeparableConv2D(classes, 3, name='own')(inputs)\n"
        "    return keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))\n\n\n"
        "MINE = Architecture(build, tiny_network.TinyOptions, (3, 3))\n"
    )
    study = study_of(ROWS, {**BASE, "architecture": "mine:MINE"})
    with pytest.raises(InputError, match=r"row 'aware': quantisation_aware .* got layer 'own' \(SeparableConv2D\)"):
        check_fit(study, identify(simulated).dataset)


def test_a_system_keeps_what_was_trained(simulated: Path, isolated: Path):
    study = study_of(ROWS, systems=[{"name": "small", "fine": ["aware"], "scheme": "dynamic"}])
    with pytest.raises(InputError, match="system 'small': 'aware' is quantisation-aware, trained for int8, got scheme"):
        check_fit(study, identify(simulated).dataset)
