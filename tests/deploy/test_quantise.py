"""From a trained run to a proven file, a logged run, a bundle, and what the bundle says of the test clips."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asc_study import load_bundle
from asc_study.base.errors import InputError
from asc_study.cli import main
from asc_study.deploy.bundle import build_bundle
from asc_study.deploy.proof import hear
from asc_study.deploy.quantise import quantise
from asc_study.deploy.sources import find_source, source_of
from asc_study.store.references import find_runs
from asc_study.systems.ensemble_report import log_ensemble
from asc_study.systems.ensembles import EnsembleOptions, choose, gather_candidates
from asc_study.systems.fusion_log import log_fusion
from asc_study.systems.fusions import fuse_runs

pytestmark = pytest.mark.slow

#: What a small board does not have.
HEAVY = {"tensorflow", "keras", "mlflow", "librosa", "numba", "pandas", "click", "pydantic", "joblib", "sklearn", "jax"}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("scheme", ["dynamic", "int8"])
def test_a_run_is_quantised_proven_and_logged(scheme, with_trained, simulated, isolated, monkeypatch, capsys) -> None:
    arguments = ["quantize", "mini/ten@0", "--scheme", scheme]
    code, out, _ = run(monkeypatch, capsys, *arguments, "--data", str(simulated), "--json")
    shown = json.loads(out)
    assert code == 0
    assert Path(shown["file"]) == Path(f"ten@0-{scheme}.tflite")
    assert shown["agreement"]["test"] >= (0.98 if scheme == "dynamic" else 0.8)
    assert shown["comparison"]["subsets"][0]["name"] == "acc_avg"
    (record,) = find_runs(with_trained, f"mini/ten-{scheme}")
    (source,) = find_runs(with_trained, "mini/ten@0")
    assert record.tags["asc.kind"] == "quantised"
    assert json.loads(record.tags["asc.members"]) == [source.run_id]
    assert set(with_trained.predictions(record.run_id)) == {"validation", "test"}
    assert record.metrics["test/agreement"] == shown["agreement"]["test"]
    change = record.metrics["test/acc_avg"] - source.metrics["test/acc_avg"]
    assert record.metrics["test/change_acc_avg"] == pytest.approx(change)
    content = Path(shown["file"]).read_bytes()
    assert record.metrics["cost/file_kb"] == len(content) / 1024
    assert with_trained.artifact(record.run_id, "model.tflite").read_bytes() == content

    again = json.loads(run(monkeypatch, capsys, *arguments, "--json")[1])
    assert (again["run_id"], again["existed"]) == (record.run_id, True)
    assert again["comparison"] == shown["comparison"]
    code, out, err = run(monkeypatch, capsys, *arguments, "--max-kb", "1")
    assert code == 1
    assert "must have at most 1 kB" in err
    assert err.count("\n") == 1
    assert "decides as before" in out


def test_calibration_is_balanced_over_scenes_and_devices(with_trained, simulated) -> None:
    heard = hear(find_source(with_trained, "mini/ten@0"), simulated, jobs=1)
    train = heard.of("train")
    assert len(list(heard.calibration(10_000))) == len(train)
    positions = {heard.store[i][:, 4:-4, 0].astype(np.float32).tobytes(): i for i in train.index}
    chosen = [positions[features[..., 0].tobytes()] for features in heard.calibration(30)]
    assert train.loc[chosen].groupby(["scene", "device"]).size().max() == 1


def test_files_of_weights_are_sources_too(with_trained, simulated, isolated, monkeypatch, capsys) -> None:
    (record,) = find_runs(with_trained, "mini/ten@1")
    with_trained.load_keras_model(record.run_id).save("ten.keras")
    code, out, _ = run(monkeypatch, capsys, "quantize", "ten.keras", "--scheme", "float16", "--data", str(simulated))
    assert code == 0
    assert "100.0 % of 180 test clips" in out
    code, out, _ = run(monkeypatch, capsys, "quantize", "ten.keras")
    assert "not proven: give --data" in out
    assert Path("ten-dynamic.tflite").is_file()


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        ("mini/ten", {}, "one run is deployed at a time, 'mini/ten' stands for ten seed 0, ten seed 1"),
        ("mini/ten@0", {"like": "study.yaml:ten"}, "--like is for files"),
        ("weights.hdf5", {}, "there is no file weights.hdf5"),
        ("text.keras", {}, "text.keras is not a model that can be loaded"),
        ("mini/three@0", {"scheme": "int4"}, "unknown quantisation scheme 'int4'"),
        ("mini/three@0", {"scheme": "int8"}, "int8 needs training clips to calibrate on"),
    ],
)
def test_a_source_that_is_none_is_one_line(reference, options, message, with_trained, isolated) -> None:
    Path("text.keras").write_text("no zip")
    with pytest.raises(InputError, match=message):
        quantise(with_trained, reference, **{"scheme": "dynamic"} | options)


def test_other_data_than_that_of_the_training_is_refused(with_trained, isolated) -> None:
    from asc_study.simulation.simulate import simulate

    simulate(isolated / "other", clips_per_scene=3, seconds=1.0, seed=5)
    with pytest.raises(InputError, match="--data must be what 'ten seed 1' was trained on, sim, got other"):
        quantise(with_trained, "mini/ten@1", "dynamic", data=isolated / "other")


def test_a_bundle_says_of_the_test_clips_what_the_fusion_of_its_runs_does(
    with_trained, simulated, isolated, monkeypatch, capsys
) -> None:
    fused = fuse_runs(with_trained, ["mini/ten"], ["mini/three@0"], fusion="average", join="product", exponent="1")
    log_fusion(with_trained, "mini", "both", fused)
    options = ["--fusion", "mini/both", "--scheme", "float32", "--out", "both"]
    code, shown, _ = run(monkeypatch, capsys, "bundle", "build", *options)
    assert code == 0
    assert "two stages, 2 ten-class networks and 1 three-class network" in shown
    manifest = json.loads(Path("both/manifest.json").read_text())
    for name in ("test/acc_avg", "test/acc_s4-s6", "test/log_loss", "test/acc_A_lo"):
        assert manifest["metrics"][name] == pytest.approx(fused.metrics[name], abs=1e-6)
    labels = str(simulated / "evaluation_setup" / "fold1_evaluate.csv")
    judging = ["classify", "both", str(simulated / "audio"), "--labels", labels, "--json"]
    code, printed, _ = run(monkeypatch, capsys, *judging)
    judged = json.loads(printed)
    assert (code, judged["clips"]) == (0, 180)
    for name in ("test/acc_avg", "test/acc_A", "test/acc_s4-s6"):
        assert judged["metrics"][name] == pytest.approx(fused.metrics[name], abs=1e-9)
    assert judged["metrics"]["test/log_loss"] == pytest.approx(fused.metrics["test/log_loss"], abs=1e-4)

    again = build_bundle(with_trained, [], [], fusion="mini/both", scheme="float32", out=Path("more/both"))
    for path in Path("both").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (Path("more/both") / path.relative_to("both")).read_bytes(), path
    by_name = build_bundle(
        with_trained, ["mini/ten"], ["mini/three@0"], fusion="average", scheme="float32", out=Path("by-name")
    )
    assert by_name.manifest["metrics"] == again.manifest["metrics"]


def test_a_network_of_a_run_that_does_not_say_how_long_its_clips_are_tells_it(
    with_trained, simulated, isolated, monkeypatch
) -> None:
    """As runs of earlier versions."""
    quantise(with_trained, "mini/ten@1", "dynamic", data=simulated)
    forgetful = lambda tracker, record: replace(source_of(tracker, record), samples=0)  # noqa: E731
    monkeypatch.setattr("asc_study.deploy.bundle.source_of", forgetful)
    built = build_bundle(with_trained, ["mini/ten@1"], [], fusion="average", scheme="dynamic", out=Path("one"))
    assert built.notes == []
    assert built.manifest["seconds"] == pytest.approx(1, abs=0.03)  # to the hop
    clip = next((simulated / "audio").glob("*.wav"))
    assert len(load_bundle(Path("one")).classify_file(str(clip)).probabilities) == 10


def test_a_fusion_of_an_ensemble_is_unfolded_into_its_networks(with_trained, isolated) -> None:
    members, notes = gather_candidates(with_trained, "mini", references=["mini/ten"])
    chosen = choose(members, EnsembleOptions(method="exhaustive"), notes)
    log_ensemble(with_trained, "mini", "chosen", chosen)
    fused = fuse_runs(with_trained, ["mini/chosen"], ["mini/three@0"], fusion="average", join="product", exponent="0.5")
    log_fusion(with_trained, "mini", "nested", fused)
    built = build_bundle(with_trained, [], [], fusion="mini/nested", scheme="float32", out=Path("nested"))
    labels = [member["source"] for member in built.manifest["members"]]
    assert labels == [member.record.label for member in chosen.members] + ["three seed 0"]
    written = json.loads(Path("nested/fusion.json").read_text())
    assert written["fusions"][written["top"]]["fusion"]["join"]["exponent"] == 0.5
    assert built.manifest["metrics"]["test/log_loss"] == pytest.approx(fused.metrics["test/log_loss"], abs=1e-5)


@pytest.mark.parametrize(("rule", "exponent"), [("logistic", "1"), ("weighted", "fit")])
def test_what_was_learned_is_carried(rule, exponent, with_trained, isolated) -> None:
    fused = fuse_runs(with_trained, ["mini/ten"], ["mini/three@0"], fusion=rule, join="product", exponent=exponent)
    log_fusion(with_trained, "mini", rule, fused)
    built = build_bundle(with_trained, [], [], fusion=f"mini/{rule}", scheme="float32", out=Path(rule))
    assert built.manifest["metrics"]["test/log_loss"] == pytest.approx(fused.metrics["test/log_loss"], abs=1e-4)
    clip = np.random.default_rng(0).standard_normal(44_100) * 0.1
    assert sum(load_bundle(rule).classify(clip, 44_100).probabilities.values()) == pytest.approx(1)


def test_a_bundle_runs_by_itself(with_trained, simulated, isolated) -> None:
    """Where nothing of the platform can be imported, from a folder of its own."""
    fused = fuse_runs(with_trained, ["mini/ten"], ["mini/three@1"], fusion="logistic", join="product", exponent="1")
    log_fusion(with_trained, "mini", "alone", fused)
    build_bundle(with_trained, [], [], fusion="mini/alone", scheme="dynamic", out=isolated / "b")
    folder = Path(shutil.move(isolated / "b", isolated / "board"))
    blocker = isolated / "blocked" / "sitecustomize.py"
    blocker.parent.mkdir()
    blocker.write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.split('.')[0]\n"
        f"        if top in {sorted(HEAVY)} or (top == 'asc_study' and not sys.path[0].startswith({str(folder)!r})):\n"
        "            raise ImportError(f'{name} is not on this board')\n"
        "sys.meta_path.insert(0, Blocker())\n",
        encoding="utf-8",
    )
    clip = sorted((simulated / "audio").glob("*.wav"))[0]

    def classify(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(folder / "classify.py"), *arguments]
        return subprocess.run(command, cwd="/", env={"PYTHONPATH": str(blocker.parent)}, capture_output=True, text=True)

    ran = classify(str(clip), "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    here = load_bundle(folder).classify_file(clip)
    (found,) = json.loads(ran.stdout)["clips"]
    assert found["scene"] == here.label
    assert found["probabilities"] == pytest.approx(here.probabilities, abs=1e-9)
    ran = classify("nothing.wav")
    assert ran.returncode == 2
    assert ran.stderr.startswith("classify.py: the recording nothing.wav does not exist")
    assert ran.stderr.count("\n") == 1
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("fine", "coarse", "fusion", "message"),
    [
        (["mini/three@0"], ["mini/ten@0"], "average", "--fine networks must be of the task ten_class, got three_class"),
        (["mini/ten@0", "mini/three@0"], [], "product", "must be of the task ten_class, got three_class"),
        ([], [], "average", "a bundle needs networks, got none"),
        (["mini/ten@7"], [], "average", "no finished seed 7"),
        (["mini/ten@0"], [], "mini/ten@0", "must be of kind ensemble or fusion, got train"),
        (
            ["mini/ten@0"],
            [],
            "mini/plain",
            "of 'mini/plain', ten seed 0, ten seed 1, got ten seed 0",
        ),
        (["mini/ten@0", "mini/ten@0"], [], "average", "each network can be named once"),
    ],
)
def test_networks_that_do_not_go_together_are_one_line(fine, coarse, fusion, message, with_trained, isolated) -> None:
    if fusion == "mini/plain":
        fused = fuse_runs(with_trained, ["mini/ten"], [], fusion="average", join="product", exponent="1")
        log_fusion(with_trained, "mini", "plain", fused)
    with pytest.raises(InputError, match=message):
        build_bundle(with_trained, fine, coarse, fusion=fusion, scheme="float32", out=isolated / "new")
    assert not (isolated / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(with_trained, isolated) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    with pytest.raises(InputError, match="--out must be a new or empty folder, got full"):
        build_bundle(with_trained, ["mini/ten@0"], [], fusion="average", scheme="float32", out=Path("full"))


def test_a_list_judges_the_clips_that_it_names(untrained_bundle, simulated, isolated, monkeypatch, capsys) -> None:
    table = pd.read_csv(simulated / "evaluation_setup" / "fold1_evaluate.csv", sep="\t").head(5)
    table.to_csv("few.csv", sep="\t", index=False)
    audio = str(simulated / "audio")
    code, out, _ = run(monkeypatch, capsys, "classify", str(untrained_bundle), audio, "--labels", "few.csv")
    assert code == 0
    assert "5 clips; accuracy in %" in out
    code, _, err = run(monkeypatch, capsys, "classify", str(untrained_bundle), "few.csv", "--labels", "few.csv")
    assert code == 2
    assert "must name some of the 1 recordings" in err
