import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from logged_runs import log_keras_model

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENES
from asc_study.settings.migrations import written_config
from asc_study.settings.run_config import resolve
from asc_study.store.references import find_runs
from asc_study.systems.exchange import export_predictions
from asc_study.systems.fusion_log import log_fusion, render
from asc_study.systems.fusions import fuse_runs
from asc_study.systems.score import score_runs

pytestmark = pytest.mark.slow

SETTINGS = {
    "architecture": "fcnn",
    "model": {"width": 0.0625},
    "features": {"n_mels": 16, "hop_length": 512},
    "training": {"data": "development"},
}


@pytest.fixture
def unlabelled(simulated, isolated):
    """A folder like that of the evaluation set: audio/0.wav, audio/1.wav ... and no list."""
    (isolated / "eval" / "audio").mkdir(parents=True)
    for number, path in enumerate(sorted((simulated / "audio").glob("*.wav"))[:11]):
        os.symlink(path, isolated / "eval" / "audio" / f"{number}.wav")
    return isolated / "eval"


@pytest.fixture
def trained(tracker, log_run):
    """Two untrained models of different seeds, logged as runs on all development data are."""
    from asc_study.training.runtime import start_keras

    start_keras(2)
    import keras

    from asc_study.models import build_model

    config = resolve(SETTINGS)
    for row, seed in (("x", 1), ("y", 2)):
        keras.utils.set_random_seed(seed)
        model = build_model("fcnn", input_shape=(16, None, 3), num_classes=10, **config.model.model_dump())
        run_id = log_run(row, {})
        log_keras_model(tracker, run_id, model)
        with tracker.artifacts(run_id) as folder:
            (folder / "config.yaml").write_text(written_config(config, row=row, seed=0))
        tracker.finish(run_id)


def test_recordings_are_found_in_any_case_and_hidden_files_are_none(tracker, trained, unlabelled):
    (unlabelled / "audio" / "0.wav").rename(unlabelled / "audio" / "0.WAV")
    for name in ("._1.wav", ".DS_Store", "Thumbs.db"):
        (unlabelled / "audio" / name).write_bytes(b"\0\5\x16\7")
    sound, rate = soundfile.read(unlabelled / "audio" / "1.wav")
    soundfile.write(unlabelled / "audio" / "11.mp3", sound, rate)
    said = []
    score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=said.append)
    lossy = "note: 1 recordings are of a format that loses sound, such as"
    assert (said[0].rpartition(" ")[0], said[1]) == (lossy, "x seed 0: 12 clips scored")
    table = tracker.predictions(find_runs(tracker, "s/x")[0].run_id)["evaluation"]
    assert list(table["clip_id"]) == [str(number) for number in range(12)]


def test_models_trained_on_all_development_data_become_a_submission(tracker, trained, unlabelled, isolated):
    said = []
    score_runs(tracker, ["s/x", "s/y"], [unlabelled], jobs=1, say=said.append)
    assert said == ["x seed 0: 11 clips scored", "y seed 0: 11 clips scored"]
    tables = [tracker.predictions(find_runs(tracker, f"s/{row}")[0].run_id)["evaluation"] for row in "xy"]
    assert list(tables[0]["clip_id"]) == [str(number) for number in range(11)]  # 2 before 10
    assert set(tables[0]["scene"]) == {""}
    fusion = fuse_runs(tracker, ["s/*"], [], fusion="average", join="product", exponent="1")
    log_fusion(tracker, "s", "submission", fusion)
    assert "11 evaluation clips fused" in render(fusion, "submission")
    out = isolated / "submission.tsv"
    assert export_predictions(tracker, "s/submission", out, "dcase2020") == ("evaluation", 11)
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert lines[0] == ["filename", "scene_label", *SCENES]
    written = {line[0]: np.array(line[2:], float) for line in lines[1:]}
    mean = np.mean([table.set_index("clip_id").loc["10", list(SCENES)].to_numpy(float) for table in tables], axis=0)
    np.testing.assert_allclose(written["audio/10.wav"], mean, atol=1e-6)
    score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=said.append)
    assert said[-1] == "x seed 0: has scored these 11 clips before"
    first = tracker.predictions(find_runs(tracker, "s/x")[0].run_id)["evaluation"]
    score_runs(tracker, ["s/x"], [unlabelled / "audio" / "3.wav"], jobs=1, say=said.append)
    assert said[-1] == "x seed 0: 1 clips scored"
    (run,) = find_runs(tracker, "s/x")
    assert list(tracker.predictions(run.run_id)["evaluation"]["clip_id"]) == ["3"]
    kept = {Path(file.path).name for file in tracker.client.list_artifacts(run.run_id, "predictions")}
    assert len(kept) == 2
    score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=said.append)  # they are there: nothing is computed again
    assert said[-1] == "x seed 0: has scored these 11 clips before"
    pd.testing.assert_frame_equal(tracker.predictions(run.run_id)["evaluation"], first)


def test_recordings_of_another_rate_than_the_run_was_trained_at_are_refused(tracker, trained, unlabelled):
    record = find_runs(tracker, "s/x")[0]
    tracker.set_tags(record.run_id, {"asc.sample_rate": "32000", "asc.channels": "1"})
    with pytest.raises(InputError, match="must have 32000 Hz, got 44100 Hz and 1 channel"):
        score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=print)


def test_the_command_names_scenes_of_files_and_its_old_name_works(tracker, trained, unlabelled, asc):
    files = [str(unlabelled / "audio" / name) for name in ("3.wav", "1.wav")]
    _, out, err = asc("predict", "s/x", "--data", files[0], "--data", files[1])
    assert err.splitlines()[0] == "asc-study: `predict` is called `score` now; this name will go"
    lines = out.splitlines()
    assert lines[0] == "x seed 0: 2 clips scored"
    assert [line.split()[0] for line in lines[4:]] == ["3", "1"]
    _, shown, _ = asc("score", "s/x", "--data", files[0], "--data", files[1], "--json")
    (run,) = json.loads(shown)["runs"]
    table = tracker.predictions(run["run_id"])["evaluation"]
    assert [clip["clip_id"] for clip in run["clips"]] == ["3", "1"]
    assert [clip["scene"] for clip in run["clips"]] == list(table[list(SCENES)].idxmax(axis=1))
    _, out, _ = asc("score", "s/x", "--data", str(unlabelled))
    assert out.splitlines()[0] == "x seed 0: 11 clips scored"
    assert out.splitlines()[-1] == "... and 1 more clips: --json, or `asc-study export`"


def test_a_model_or_settings_that_are_damaged_in_the_store_are_one_line(tracker, trained, unlabelled, isolated):
    run = find_runs(tracker, "s/x")[0]
    settings = tracker.artifact(run.run_id, "config.yaml")
    good = settings.read_bytes()
    for content, message in (
        (b"!!python/object/apply:os.system ['touch evil']", "x seed 0: its config.yaml is not valid YAML: could not"),
        (b"training: {epochs: \xff}", r"the artifact of a run config.yaml of run \w+ is not UTF-8 text"),
        (b"x" * (64 * 1024**2 + 1), "may have at most 64 MB"),
    ):
        settings.write_bytes(content)
        with pytest.raises(InputError, match=message):
            score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=print)
    assert not Path("evil").exists()
    settings.write_bytes(good.replace(b"n_mels: 16", b"n_mels: 32"))  # those of another run
    line = r"'x seed 0' takes features of \(16, None, 3\), its settings make \(32, .*: its config\.yaml is that of ano"
    with pytest.raises(InputError, match=line):
        score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=print)
    settings.write_bytes(good)
    models = list(isolated.rglob("model.keras"))
    for content, message in ((b"PK\3\4", "File is not a zip file"), (None, "does not exist")):
        for model in models:
            model.unlink() if content is None else model.write_bytes(content)
        with pytest.raises(InputError, match=rf"the model of run {run.run_id} cannot be used: .*{message}") as caught:
            score_runs(tracker, ["s/x"], [unlabelled], jobs=1, say=print)
        assert "\n" not in str(caught.value)


def test_what_cannot_be_scored(tracker, trained, isolated, log_run, make_table):
    with pytest.raises(InputError, match=r"must hold audio/\*.wav or \*.wav, found none under"):
        score_runs(tracker, ["s/x"], [isolated], jobs=1, say=print)
    with pytest.raises(InputError, match="the recording none.wav does not exist"):
        score_runs(tracker, ["s/x"], [Path("none.wav")], jobs=1, say=print)
    with pytest.raises(InputError, match="must have names of their own, got 'a' twice"):
        score_runs(tracker, ["s/x"], [Path("a.wav"), Path("b/a.wav")], jobs=1, say=print)
    log_run("a", {"test": make_table(0)}, study="t", kind="imported")
    with pytest.raises(
        InputError, match="trained runs have a model to score with, and what is made of them, 'a seed 0' is of kind imp"
    ):
        score_runs(tracker, ["t/a"], [isolated], jobs=1, say=print)


def test_fusions_are_scored_by_what_they_are_made_of(tracker, trained, unlabelled, isolated):
    score_runs(tracker, ["s/x", "s/y"], [unlabelled], jobs=1, say=print)
    fused = fuse_runs(tracker, ["s/x", "s/y"], [], fusion="average", join="product", exponent="1")
    made = log_fusion(tracker, "s", "mean", fused)
    nested = fuse_runs(tracker, ["s/mean", "s/x"], [], fusion="product", join="product", exponent="1")
    log_fusion(tracker, "s", "nested", nested)

    some = [unlabelled / "audio" / f"{number}.wav" for number in (3, 1)]
    said = []
    mean, inner = score_runs(tracker, ["s/mean", "s/nested"], some, jobs=1, say=said.append)
    assert said == [f"{row} seed 0: 2 clips scored" for row in ("x", "y", "mean", "nested")]
    tables = [tracker.predictions(find_runs(tracker, f"s/{row}")[0].run_id)["evaluation"] for row in ("x", "y")]
    x, y = (table[list(SCENES)].to_numpy() for table in tables)
    kept = tracker.predictions(made.run_id)["evaluation"]
    assert list(kept["clip_id"]) == ["3", "1"]
    np.testing.assert_allclose(kept[list(SCENES)], (x + y) / 2, atol=1e-6)
    product = np.sqrt((x + y) / 2 * x)  # of two systems: the geometric mean
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(inner.predictions[list(SCENES)], expected, atol=1e-5)
    assert mean.record.run_id == made.run_id


def test_labelled_clips_of_another_data_set_become_a_run_that_fuse_takes(tracker, simulated, isolated, log_run, asc):
    """A three-class network of stereo clips at 48 kHz says what mono ones at 44.1 kHz are."""
    from asc_study.training.runtime import start_keras

    start_keras(2)
    import keras

    from asc_study.data.identified import identify
    from asc_study.models import build_model

    config = resolve(SETTINGS | {"task": "three_class"})
    keras.utils.set_random_seed(3)
    run_id = log_run("coarse", {}, task="three_class")
    tracker.set_tags(run_id, {"asc.sample_rate": "48000", "asc.channels": "2"})
    model = build_model("fcnn", input_shape=(16, None, 6), num_classes=3, **config.model.model_dump())
    log_keras_model(tracker, run_id, model)
    with tracker.artifacts(run_id) as folder:
        (folder / "config.yaml").write_text(written_config(config, row="coarse", seed=0))
    tracker.finish(run_id)

    code, out, said = asc("score", "s/coarse", "--data", str(simulated), "--split", "test")
    assert code == 0, said
    name = f"coarse-on-{simulated.name}@0"
    assert name in out
    (scored,) = tracker.runs("s", kind="imported")
    data = identify(simulated)
    table = tracker.predictions(scored.run_id)["test"]
    test = data.dataset.clips[data.dataset.clips["split"] == "test"]
    assert table["clip_id"].tolist() == test["clip_id"].tolist()
    assert set(table["device"]) == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
    assert table["scene"].tolist() == test["scene_group"].tolist()  # labels of the run's own task
    assert (scored.tags["asc.dataset_digest"], scored.tags["asc.row"]) == (data.digest, name)
    np.testing.assert_allclose(table[["indoor", "outdoor", "transportation"]].sum(axis=1), 1, atol=1e-5)

    asc("score", "s/coarse", "--data", str(simulated), "--split", "test")
    assert len(tracker.runs("s", kind="imported")) == 1  # the same clips are scored once
    fine = log_run("fine", {"test": _uniform(test)})
    fused = fuse_runs(tracker, [fine], [scored.run_id], fusion="average", join="product", exponent="1")
    assert len(fused.tables["test"]) == len(test)
    code, _, said = asc("score", "s/fine", "--data", str(isolated), "--split", "test")
    assert code == 2
    assert said.count("\n") == 1


def _uniform(clips: pd.DataFrame) -> pd.DataFrame:
    from asc_study.evaluation.predictions import predictions_table

    return predictions_table(clips, np.full((len(clips), 10), 0.1), "ten_class")
