"""A bundle in use: what it says of a sound."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asc_study
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENES
from asc_study.cli import main
from asc_study.deploy.runtime.program import stream
from asc_study.deploy.runtime.sound import cut_windows, find_clips
from asc_study.deploy.runtime.stored import open_bundle
from asc_study.deploy.runtime.system import load_bundle
from asc_study.ensemble.two_stage import two_stage_product
from asc_study.features.deltas import with_deltas
from asc_study.features.logmel import LogMelSettings, log_mel

RATE = 16_000
SETTINGS = LogMelSettings(RATE, n_fft=1024, hop_length=512, n_mels=24)


def noise(seconds: float, channels: int = 1, rate: int = RATE, seed: int = 0) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    return samples.astype(np.float32)


def write(name: str, samples: np.ndarray, rate: int = RATE, **options: str) -> str:
    soundfile.write(name, samples, rate, **({"subtype": "FLOAT"} if name.endswith(".wav") else {}) | options)
    return name


def keras_probabilities(tiny_source, task: str, seed: int, clip: np.ndarray) -> np.ndarray:
    channels = clip.shape[1]
    features = with_deltas(log_mel(clip, SETTINGS).astype(np.float16))
    return tiny_source(task, seed, channels).load().predict_on_batch(features[np.newaxis])[0].astype(float)


def test_a_clip_gets_what_training_features_networks_and_the_papers_rule_give(untrained_bundle, tiny_source) -> None:
    clip = noise(1)
    fine = np.mean([keras_probabilities(tiny_source, "ten_class", seed, clip) for seed in (1, 2)], axis=0)
    coarse = keras_probabilities(tiny_source, "three_class", 3, np.repeat(clip, 2, axis=1))
    expected = two_stage_product(fine[np.newaxis], coarse[np.newaxis])[0]
    scene = asc_study.load_bundle(untrained_bundle).classify(clip, RATE)
    np.testing.assert_allclose(list(scene.probabilities.values()), expected, atol=1e-6)
    assert tuple(scene.probabilities) == SCENES
    assert scene.label == SCENES[expected.argmax()]
    assert scene.top(2)[0] == (scene.label, pytest.approx(expected.max(), abs=1e-6))


def test_a_long_clip_is_the_mean_of_its_windows_the_last_of_which_reaches_back(untrained_bundle) -> None:
    system = load_bundle(untrained_bundle)
    clip = noise(2.5)
    windows = [clip[:RATE], clip[RATE : 2 * RATE], clip[-RATE:]]
    expected = np.mean([system.window_probabilities(window, RATE) for window in windows], axis=0)
    scene = system.classify(clip, RATE)
    assert scene.windows == 3
    np.testing.assert_allclose(list(scene.probabilities.values()), expected, atol=1e-12)
    assert system.classify(clip[: 2 * RATE + 100], RATE).windows == 2  # a rest of a few milliseconds is none
    assert [one.windows for one in system.classify_batch([clip, clip[:RATE]], RATE)] == [3, 1]


@pytest.mark.parametrize("length", [0, 1, 4, 5, 9, 10])
def test_windows_cover_everything_and_never_more(length: int) -> None:
    sound = np.arange(length)[:, np.newaxis]
    blocks = [sound[start : start + 5] for start in range(0, length + 1, 5)]
    windows = [window[:, 0].tolist() for window in cut_windows(iter(blocks), 5)]
    assert sorted({sample for window in windows for sample in window}) == list(range(length))
    assert all(len(window) == 5 for window in windows) or length < 5


def test_files_are_read_window_by_window(untrained_bundle, isolated, monkeypatch) -> None:
    name = write("long.wav", noise(20, channels=2))
    lengths = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **options: lengths.append(frames) or read(self, frames, **options),
    )
    assert load_bundle(untrained_bundle).classify_file(name).windows == 20
    assert set(lengths) == {RATE}


def test_what_is_done_to_clips_is_said_once(untrained_bundle, isolated, capsys, monkeypatch) -> None:
    clips = [write(f"{i}.wav", noise(0.5, channels=8, rate=48_000, seed=i), 48_000) for i in range(3)]
    monkeypatch.setattr(sys, "argv", ["asc-study", "classify", str(untrained_bundle), *clips, "--top", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == clips
    assert printed.err.splitlines() == [
        "note: resampled: 48000 Hz to 16000 Hz in 0.wav and 5 more",
        "note: mixed down: 8 channels to 1 in 0.wav and 5 more",
        "note: repeated from the beginning: 0.5 s to 1 s in 0.wav and 2 more",
    ]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["asc-study", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_json_and_csv_hold_the_same(untrained_bundle, isolated, monkeypatch, capsys) -> None:
    (isolated / "clips").mkdir()
    clips = [write(f"clips/{name}", noise(1, seed=7)) for name in ("b.wav", "a.flac")]
    code, out, _ = run(monkeypatch, capsys, "classify", str(untrained_bundle), "clips", "--json")
    shown = json.loads(out)
    assert code == 0
    assert [entry["clip"] for entry in shown["clips"]] == sorted(clips)
    assert sum(shown["clips"][0]["probabilities"].values()) == pytest.approx(1)
    _, out, _ = run(monkeypatch, capsys, "classify", str(untrained_bundle), "clips/*", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["scene_label"] for row in rows] == [entry["scene"] for entry in shown["clips"]]
    for scene in SCENES:
        assert float(rows[1][scene]) == pytest.approx(shown["clips"][1]["probabilities"][scene], abs=1e-6)
    code, _, err = run(monkeypatch, capsys, "classify", str(untrained_bundle), "clips", "--json", "--csv")
    assert (code, err.count("\n")) == (2, 1)


def test_standard_input_is_a_clip(untrained_bundle, isolated, monkeypatch, capsys) -> None:
    write("clip.wav", noise(1))
    with open("clip.wav", "rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        _, piped, _ = run(monkeypatch, capsys, "classify", str(untrained_bundle), "-")
    _, named, _ = run(monkeypatch, capsys, "classify", str(untrained_bundle), "clip.wav")
    assert piped.partition(":")[2] == named.partition(":")[2]


def test_raw_samples_are_classified_in_sliding_windows_as_they_come(untrained_bundle, monkeypatch) -> None:
    clip = (noise(2.25) * 32768).round().astype("<i2")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(clip.tobytes() + b"\0")))
    system = load_bundle(untrained_bundle)
    results = list(stream(system, RATE, 1, 0.5))
    assert [place for place, _ in results] == ["1.00 s", "1.50 s", "2.00 s"]
    expected = system.classify(clip[8000:24_000].astype(np.float32) / 32768, RATE)
    assert results[1][1].probabilities == expected.probabilities
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(clip[:4000].tobytes())))
    assert [place for place, _ in stream(system, RATE, 1, 0.5)] == ["0.25 s"]
    with pytest.raises(InputError, match=r"--hop in \(0, 1\], got 1 and 2"):
        list(stream(system, RATE, 1, 2))


@pytest.mark.parametrize("rate", [8000, 11_025, 44_101, 192_000])
def test_any_rate_is_resampled_and_that_is_said(rate, untrained_bundle) -> None:
    system = load_bundle(untrained_bundle)
    scene = system.classify(noise(1, rate=rate), rate)
    assert sum(scene.probabilities.values()) == pytest.approx(1)
    assert system.notes.lines()[0] == f"resampled: {rate} Hz to 16000 Hz and 1 more"


@pytest.mark.parametrize("name", ["clip.mp3", "clip.flac", "clip.ogg"])
def test_compressed_recordings_are_read(name, untrained_bundle, isolated) -> None:
    system = load_bundle(untrained_bundle)
    expected = system.classify(noise(1), RATE)
    found = system.classify_file(write(name, noise(1)))
    np.testing.assert_allclose(
        list(found.probabilities.values()), list(expected.probabilities.values()), atol=1e-3 if "flac" in name else 0.2
    )


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(0), RATE, "not empty"),
        (np.zeros((1, 2, 3)), RATE, "not empty, got float64"),
        (np.zeros(RATE, np.int16), RATE, "scale integers"),
        (np.full(RATE, np.inf), RATE, "finite samples"),
        (np.zeros(RATE), 0, "sample rate must be in"),
    ],
)
def test_samples_that_are_no_clip_are_refused(samples, rate, message, untrained_bundle) -> None:
    with pytest.raises(InputError, match=message):
        load_bundle(untrained_bundle).classify(samples, rate)


def test_a_pattern_a_folder_and_a_name_stand_for_clips(isolated) -> None:
    for name in ("b/2.WAV", "b/1.flac", "b/notes.txt", "b/._2.wav", "b/.DS_Store", "odd*.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert find_clips(["-", "odd*.wav", "b"]) == ["-", "odd*.wav", "b/1.flac", "b/2.WAV"]
    assert find_clips(["b/*.WAV"]) == ["b/2.WAV"]
    with pytest.raises(InputError, match="holds no recordings"):
        find_clips(["b/*.aiff"])


def test_code_in_a_bundle_is_never_run(own_bundle, monkeypatch, capsys) -> None:
    for module in own_bundle.rglob("*.py"):
        module.write_text("raise SystemExit('code of a bundle was run')")
    write("clip.wav", noise(1))
    assert run(monkeypatch, capsys, "classify", "scenes", "clip.wav")[0] == 0
    code, _, err = run(monkeypatch, capsys, "bundle", "verify", "scenes")
    assert code == 2
    assert ".py is not the file that the manifest was made for" in err


def test_a_bundle_is_verified_and_shown(own_bundle, monkeypatch, capsys) -> None:
    (own_bundle / "stranger.txt").touch()
    code, out, err = run(monkeypatch, capsys, "bundle", "verify", "scenes")
    assert (code, out) == (0, f"scenes: {len(open_bundle(own_bundle).files)} files as they were built\n")
    assert err == "note: stranger.txt is not one of its files\n"
    _, out, _ = run(monkeypatch, capsys, "bundle", "show", "scenes")
    assert "two stages, 2 ten-class networks and 1 three-class network" in out
    _, out, _ = run(monkeypatch, capsys, "bundle", "show", "scenes", "--json")
    assert json.loads(out)["schema"] == 1
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    manifest.pop("sizes")
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = run(monkeypatch, capsys, "bundle", "show", "scenes")
    assert (code, err.count("\n")) == (2, 1)
