"""Rows on embeddings end to end: made of log-mel statistics of simulated clips, trained, compared, scored, refused."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import asc_study
from asc_study.base.errors import InputError
from asc_study.data.identified import IdentifiedDataset, identify
from asc_study.deploy.quantise import quantise
from asc_study.features.audio import read_audio
from asc_study.features.logmel import LogMelSettings, log_mel
from asc_study.settings.features import FeatureConfig
from asc_study.settings.identity import run_identity
from asc_study.settings.run_config import canonical_json, resolve
from asc_study.settings.study_file import load_study
from asc_study.store.references import find_runs
from asc_study.store.tracking import Tracker
from asc_study.study.effort import efforts
from asc_study.study.estimate import estimate
from asc_study.study.estimated import Machine
from asc_study.study.plan import explain, make_plan
from asc_study.study.preflight import check_fit
from asc_study.study.run_study import run_study
from asc_study.systems.score import score_runs
from asc_study.systems.score_labelled import score_labelled
from asc_study.training import run_data as run_data_module
from asc_study.training.run_data import run_data

#: Of a clip of one second.
FRAMES = 4

MLP = {
    "architecture": "embedding_mlp",
    "features": {"embeddings": "e.npz"},
    "model": {"hidden_units": [64], "dropout": 0.2},
    "training": {
        "epochs": 15,
        "batch_size": 4,
        "optimizer": "adamw",
        "weight_decay": 0.0,
        "lr_max": 0.005,
        "schedule": "cosine",
        "select_epoch": "last",
        "threads": 2,
    },
}


@pytest.fixture(scope="module")
def data(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> IdentifiedDataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASC_STUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
        return identify(simulated)


@pytest.fixture(scope="module")
def statistics(data: IdentifiedDataset) -> np.ndarray:
    """(clips, frames, values): standardised mean and deviation of 32 mel bands over a quarter of a second each."""
    settings = LogMelSettings(data.dataset.sample_rate, n_mels=32, scale="none")
    made = []
    for path in data.dataset.clips["path"]:
        bands = log_mel(read_audio(Path(path), data.dataset.sample_rate), settings)[:, :, 0]
        pieces = np.array_split(bands, FRAMES, axis=1)
        made.append([np.concatenate([piece.mean(axis=1), piece.std(axis=1)]) for piece in pieces])
    values = np.array(made)
    return ((values - values.mean(axis=(0, 1))) / values.std(axis=(0, 1))).astype(np.float16)


def save(data: IdentifiedDataset, values: np.ndarray, path: str = "e.npz", **changed: object) -> Path:
    arrays: dict[str, object] = {"clip_id": data.dataset.clips["clip_id"].to_numpy(str), "embeddings": values}
    np.savez(path, **arrays | {"name": "log-mel statistics", "version": "1"} | changed)
    return Path(path)


@pytest.fixture
def file(data: IdentifiedDataset, statistics: np.ndarray) -> Path:
    return save(data, statistics)


def study_file(*rows: dict, **more: object) -> Path:
    path = Path("emb.yaml")
    path.write_text(yaml.safe_dump({"study": "emb", "base": MLP, "rows": list(rows) or [{"name": "mlp"}]} | more))
    return path


SPECTROGRAM = {"name": "cnn", "architecture": "tiny_network:TINY", "features": {"embeddings": None, "n_mels": 16}}

ROWS = [
    {"name": "mlp"},
    {"name": "frames", "batch_augmentation": {"random_crop": {"frames": 1}}, "training.epochs": 2},
    {
        "name": "mixed",
        "batch_augmentation": {"mixup": {}, "cutmix": {}, "time_roll": {"frames": 1}},
        "training.epochs": 2,
        "validation": {"folds": 2},
    },
]


@pytest.fixture(scope="module")
def trained_folder(
    data: IdentifiedDataset, statistics: np.ndarray, tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASC_STUDY_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        save(data, statistics)
        cnn = SPECTROGRAM | {"model": {}, "training": {"epochs": 1}}
        base = {key: value for key, value in MLP.items() if key != "model"}
        rows = [{**row, "model": MLP["model"]} for row in ROWS]
        ensembles = [{"name": "both", "fine": ["mlp", "cnn"]}]
        outcomes = run_study(load_study(study_file(*rows, cnn, base=base, ensembles=ensembles)), data)
        assert [outcome.status for outcome in outcomes] == ["done"] * 6, outcomes
    return folder


@pytest.fixture
def trained(trained_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """The store of the trained study, in whose folder the test works."""
    monkeypatch.chdir(trained_folder)
    monkeypatch.setenv("ASC_STUDY_CACHE", str(trained_folder / "cache"))
    return Tracker()


@pytest.mark.slow
def test_it_learns_and_stands_beside_spectrograms(trained: Tracker):
    (record,) = find_runs(trained, "emb/mlp")
    assert record.metrics["test/acc_avg"] > 0.25  # chance: 0.1, within 0.02
    assert record.params["features.embeddings"] == "e.npz"
    assert [name for name in record.params if name.startswith("features.")] == ["features.embeddings"]
    for row in ("frames", "mixed"):
        assert find_runs(trained, f"emb/{row}")[0].metrics["test/log_loss"] > 0
    (both,) = find_runs(trained, "emb/both")
    assert both.metrics["test/acc_avg"] > 0.2
    (baseline,) = find_runs(trained, "emb/baseline")
    assert baseline.tags["asc.system"] == "embedding statistics"
    assert baseline.metrics["test/acc_avg"] > 0.3


@pytest.mark.slow
def test_it_is_the_same_run_wherever_the_file_lies_and_another_with_other_contents(
    trained: Tracker, data: IdentifiedDataset, statistics: np.ndarray
):
    def plan(**changed: object):
        return make_plan(load_study(study_file({"name": "mlp", **changed})), data.digest, trained)

    assert [run.status for run in plan().runs] == ["done"]
    Path("moved").mkdir()
    shutil.copy("e.npz", "moved/other.npz")
    moved = {"features.embeddings": "moved/other.npz"}
    assert [run.status for run in plan(**moved).runs] == ["done"]
    save(data, statistics * np.float16(1.01), "moved/other.npz")
    changed = plan(**moved)
    assert [run.status for run in changed.runs] == ["new"]
    study = load_study(study_file({"name": "mlp", **moved}))
    assert 'features.embeddings.digest "' in explain(study, changed, trained)
    save(data, statistics, "moved/other.npz", version="2")
    assert 'features.embeddings.version "1" -> "2"' in explain(study, plan(**moved), trained)


@pytest.mark.slow
def test_it_scores_clips_by_their_embeddings(
    trained: Tracker, data: IdentifiedDataset, statistics: np.ndarray, simulated: Path, tmp_path: Path
):
    test = data.dataset.clips[data.dataset.clips["split"] == "test"].iloc[:3]
    recordings = [Path(path) for path in test["path"]]
    (scored,) = score_runs(trained, ["emb/mlp"], recordings, jobs=1, say=lambda _: None)
    (record,) = find_runs(trained, "emb/mlp")
    known = trained.predictions(record.run_id)["test"].set_index("clip_id").loc[test["clip_id"]]
    np.testing.assert_allclose(scored.predictions["park"], known["park"], atol=1e-5)

    other = save(data, statistics, str(tmp_path / "other.npz"), name="another")
    with pytest.raises(InputError, match="on embeddings of name 'log-mel statistics', got 'another' in .*--embeddings"):
        score_runs(trained, ["emb/mlp"], recordings[:2], jobs=1, say=lambda _: None, embeddings=other)
    new = tmp_path / "new-clip.wav"
    shutil.copy(recordings[0], new)
    with pytest.raises(InputError, match="embeddings must be there for every clip, got none for 1 of 1.*'new-clip'"):
        score_runs(trained, ["emb/mlp"], [new], jobs=1, say=lambda _: None)
    own = save(data, statistics[test.index[:1]], str(tmp_path / "own.npz"), clip_id=np.array(["new-clip.wav"]))
    (scored,) = score_runs(trained, ["emb/mlp"], [new], jobs=1, say=lambda _: None, embeddings=own)
    np.testing.assert_allclose(scored.predictions["park"], known["park"].iloc[:1], atol=1e-5)

    ((_, logged),) = score_labelled(trained, ["emb/mlp"], simulated, jobs=1, say=lambda _: None)
    assert logged.metrics["test/acc_avg"] == pytest.approx(record.metrics["test/acc_avg"])


@pytest.mark.slow
def test_it_is_not_deployed_without_a_front_end(trained: Tracker, asc):
    with pytest.raises(InputError, match="^mlp.*deployed or shown must hear sound.*'e.npz'.*: use a row with log-mel"):
        quantise(trained, "emb/mlp", "dynamic")
    code, _, error = asc("bundle", "build", "--fine", "emb/mlp", "--out", "b")
    assert code == 2
    assert error.count("\n") == 1
    assert "must hear sound" in error
    assert not Path("b").exists()


@pytest.mark.slow
def test_what_it_will_take_is_estimated(trained: Tracker, data: IdentifiedDataset, statistics: np.ndarray):
    changed = save(data, statistics + np.float16(1), "changed.npz")
    study = load_study(study_file({"name": "mlp", "features.embeddings": str(changed)}))
    found = efforts(study.rows, data.dataset)
    told = estimate(study, data, found, {"mlp": 1}, Machine(jobs=1, speed=1), progress=False)
    assert told.features_bytes == statistics.nbytes


def test_the_identity_of_log_mel_features_is_what_it_was():
    assert "embeddings" not in canonical_json(resolve({}).model_dump(mode="json"))
    assert run_identity(resolve({}), "d")["config"]["features"] == {
        "n_fft": 2048, "hop_length": 1024, "n_mels": 128, "scale": "min_max", "dtype": "float16",
    }  # fmt: skip


def test_settings_of_log_mel_features_mean_nothing_beside_embeddings(file: Path):
    config = resolve({**MLP, "features": {"embeddings": "e.npz", "n_mels": 16, "preset": "cp_mobile"}})
    assert config.features == FeatureConfig(embeddings="e.npz")
    assert config.model_dump()["features"] == {"embeddings": "e.npz"}
    assert resolve(config.model_dump()) == config
    assert resolve({"features": {"embeddings": None, "n_mels": 16}}).features.n_mels == 16
    with pytest.raises(InputError, match=r"unknown key 'features\.n_melz'"):
        resolve({"features": {"embeddings": "e.npz", "n_melz": 16}})
    with pytest.raises(InputError, match="must hear sound, got features.embeddings 'e.npz'"):
        config.features.at(44_100)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"waveform_augmentation": {"noise": {}}}, r"whose embeddings are in no file, got noise .*\(noise: null\)"),
        ({"batch_augmentation": {"spec_augment": {}}}, r"spec_augment is for spectrograms, .*\(spec_augment: null\)"),
        ({"batch_augmentation": {"freq_mixstyle": {}}}, "freq_mixstyle is for spectrograms"),
        ({"batch_augmentation": {"frequency_jitter": {}}}, "frequency_jitter is for spectrograms"),
        ({"batch_augmentation": {"channel_confusion": {}}}, "channel_confusion is for spectrograms"),
        ({"quantisation_aware": {}, "continues": {"row": "x"}}, "quantisation_aware trains what is deployed"),
        ({"features": {"embeddings": 3}}, r"`features\.embeddings` must be text, got 3"),
        ({"features": {"embeddings": ""}}, r"features\.embeddings.*at least 1"),
    ],
)
def test_what_needs_sound_or_a_spectrogram_is_refused(changed: dict, message: str):
    with pytest.raises(InputError, match=message) as caught:
        resolve(MLP | changed, where="row 'x'")
    assert str(caught.value).startswith("row 'x': ")


def test_augmentations_that_are_switched_off_are_none():
    off = {"waveform_augmentation": {"noise": None}, "batch_augmentation": {"spec_augment": None, "mixup": {}}}
    assert list(resolve(MLP | off).batch_augmentation) == ["mixup"]


def test_the_file_is_looked_at_before_anything_runs(data: IdentifiedDataset, statistics: np.ndarray):
    with pytest.raises(InputError, match=r"row 'mlp': the file of embeddings e\.npz does not exist"):
        check_fit(load_study(study_file()), data.dataset)
    ids = data.dataset.clips["clip_id"].to_numpy(str)
    save(data, statistics[1:], clip_id=ids[1:])
    with pytest.raises(InputError, match=f"row 'mlp': embeddings must be there.* 1 of {len(ids)}, such as '{ids[0]}'"):
        check_fit(load_study(study_file()), data.dataset)
    save(data, statistics)
    check_fit(load_study(study_file()), data.dataset)
    row = {"name": "mlp", "batch_augmentation": {"random_crop": {"frames": 9}}}
    with pytest.raises(InputError, match="row 'mlp': .*9"):
        check_fit(load_study(study_file(row)), data.dataset)


@pytest.mark.parametrize(
    "systems",
    [
        [{"name": "sys", "fine": ["mlp"]}],
        [{"name": "sys", "fine": ["mlp", "other"]}],
        [{"name": "sys", "select": {"max_members": 2}}],
        [{"name": "sys", "select": {"method": "budget"}, "max_kb": 500}],
    ],
)
def test_a_system_of_it_is_refused_before_anything_runs(data: IdentifiedDataset, file: Path, systems: list):
    rows = [{"name": "mlp"}, {"name": "other", "training.epochs": 3}]
    study = load_study(study_file(*rows, systems=systems))
    with pytest.raises(InputError, match=r"system 'sys': '(mlp|other)': what is deployed or shown must hear sound"):
        check_fit(study, data.dataset)


def test_a_teacher_on_embeddings_knows_no_copies(data: IdentifiedDataset, file: Path):
    student = resolve({"waveform_augmentation": {"noise": {}}})
    heard = student.model_copy(update={"features": resolve(MLP).features})
    with pytest.raises(InputError, match="a teacher on embeddings knows no augmented copies"):
        run_data(heard, data.dataset, data.audio_digests)
    base = {key: value for key, value in MLP.items() if key != "model"}
    noise = {**SPECTROGRAM, "name": "student", "waveform_augmentation": {"noise": {}}, "distillation.teacher": "both"}
    ensembles = [{"name": "both", "fine": ["mlp", "cnn"]}]
    study = load_study(study_file({"name": "mlp"}, SPECTROGRAM, noise, base=base, ensembles=ensembles))
    with pytest.raises(InputError, match="row 'student': its teacher 'mlp' on embeddings knows no augmented copies"):
        check_fit(study, data.dataset)


def test_the_file_of_the_documents_is_made_and_trained_on(simulated: Path, data: IdentifiedDataset):
    root = Path(asc_study.__file__).parents[1]
    text = (root / "docs" / "studies.md").read_text(encoding="utf-8")
    code = next(part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "np.savez" in part)
    Path("SIM").symlink_to(simulated)
    exec(compile(code, "docs/studies.md", "exec"), {})
    config = resolve({"architecture": "embedding_mlp", "features": {"embeddings": "embeddings.npz"}})
    made = run_data(config, data.dataset, data.audio_digests)
    assert made.store.input_shape == (128, 4, 1)
    assert len(made.store) == len(data.dataset.clips)
    chosen = ["features.embeddings=embeddings.npz"]
    check_fit(load_study(root / "studies" / "embeddings.yaml", profile="small", overrides=chosen), data.dataset)


def test_a_run_is_given_the_values_of_the_file(
    data: IdentifiedDataset, statistics: np.ndarray, file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_data_module, "extract", None)  # no spectrogram is made
    made = run_data(resolve(MLP), data.dataset, data.audio_digests)
    position = int(made.clips.index[5])
    assert data.dataset.clips["clip_id"].iloc[position] == made.clips["clip_id"].iloc[5]
    np.testing.assert_array_equal(made.store[position][:, :, 0], statistics[position].T)
    assert made.store.input_shape == (64, FRAMES, 1)
