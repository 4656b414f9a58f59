"""Spectrum correction against devices whose response is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import fftconvolve, firwin

from asc_study.acoustics.devices import Device, record
from asc_study.acoustics.impulse_responses import colour_response
from asc_study.augmentation.waveform import TrainingSound
from asc_study.augmentation.waveform.spectrum_correction import SpectrumCorrection
from asc_study.base.errors import InputError
from asc_study.data.identity import audio_digests

SAMPLE_RATE = 16_000
HERTZ = np.fft.rfftfreq(2048, 1 / SAMPLE_RATE)
HEARD = (HERTZ > 150) & (HERTZ < 7500)

RESPONSES = {
    device: colour_response(np.random.default_rng(seed), SAMPLE_RATE, low_hz=200, high_hz=6000, ripple_db=4.0)
    for seed, device in enumerate(("b", "s1"))
}


def broadband(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Noise that is louder towards low frequencies, as scenes are."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    return (0.03 * (white + 3 * np.convolve(white, firwin(101, 800, fs=SAMPLE_RATE), "same")))[:, np.newaxis]


def play(signal: np.ndarray, device: str) -> np.ndarray:
    recorder = Device(device, SAMPLE_RATE, RESPONSES.get(device))
    return record(signal, SAMPLE_RATE, recorder, np.random.default_rng(0))


def level_kept(signal: np.ndarray, device: str) -> float:
    """The factor by which a recording is scaled to the level of the sound: `convolve` documents it."""
    wet = fftconvolve(signal[:, 0], RESPONSES[device])[: len(signal)]
    return float(np.sqrt(np.mean(signal**2) / np.mean(wet**2)))


def spectrum(signal: np.ndarray) -> np.ndarray:
    """Time-averaged magnitudes of frames that overlap by half; frames at the edges are left out."""
    frames = np.lib.stride_tricks.sliding_window_view(signal[:, 0], 2048)[::1024] * np.hanning(2048)
    return np.abs(np.fft.rfft(frames)).mean(axis=0)


def training_sound(
    folder: Path, clips: Sequence[tuple[str, str, np.ndarray]], *, jobs: int = 1, cache: str = "cache"
) -> TrainingSound:
    """Write (segment, device, sound) as files and list them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(f"bus-oslo-1-{segment}-{device}", device) for segment, device, _ in clips]
    for (clip_id, _), (*_, sound) in zip(rows, clips, strict=True):
        soundfile.write(folder / f"{clip_id}.wav", sound, SAMPLE_RATE, subtype="PCM_32")
    table = pd.DataFrame(rows, columns=["clip_id", "device"])
    table["path"] = [str(folder / f"{clip_id}.wav") for clip_id in table["clip_id"]]
    table["scene"] = "bus"
    digests = audio_digests(table["path"].tolist(), cache=folder / "digests")
    return TrainingSound(table, digests, SAMPLE_RATE, folder / cache, jobs=jobs)


def recorded(devices: Sequence[str], segments: int = 5) -> list[tuple[str, str, np.ndarray]]:
    return [
        (str(segment), device, play(broadband(segment), device)) for device in devices for segment in range(segments)
    ]


def test_the_gain_is_the_mean_of_the_devices_responses(tmp_path: Path) -> None:
    # s1 has fewer pairs than b, and counts as much.
    clips = recorded(["a", "b"]) + recorded(["s1"], segments=3)
    curve = SpectrumCorrection().prepare(training_sound(tmp_path, clips)).value
    kept = {
        "b": np.mean([level_kept(broadband(segment), "b") for segment in range(5)]),
        "s1": np.mean([level_kept(broadband(segment), "s1") for segment in range(3)]),
    }
    true = np.mean([kept[name] * np.abs(np.fft.rfft(RESPONSES[name], 2048)) for name in kept], axis=0)
    difference_db = 20 * np.log10(curve[HEARD] / true[HEARD])
    assert np.abs(difference_db).max() < 1
    assert np.ptp(20 * np.log10(true[HEARD])) > 10  # there is something to be recovered


def test_corrected_clips_have_the_spectrum_of_the_device(tmp_path: Path) -> None:
    augmentation = SpectrumCorrection()
    ingredients = augmentation.prepare(training_sound(tmp_path, recorded(["a", "b"])))
    sound = broadband(100).astype(np.float32)
    corrected = augmentation(sound, SAMPLE_RATE, np.random.default_rng(0), ingredients=ingredients.value)
    expected, before = play(sound, "b"), spectrum(sound)[HEARD]
    difference_db = 20 * np.log10(spectrum(corrected)[HEARD] / spectrum(expected)[HEARD])
    assert np.abs(difference_db).max() < 1
    assert np.abs(20 * np.log10(before / spectrum(expected)[HEARD])).max() > 5


def test_events_stay_where_they_are() -> None:
    click = np.zeros((8000, 2), np.float32)
    click[3000] = [0.5, -0.25]
    curve = np.abs(np.fft.rfft(RESPONSES["b"], 2048)).astype(np.float32)
    corrected = SpectrumCorrection()(click, SAMPLE_RATE, np.random.default_rng(0), ingredients=curve)
    assert np.abs(corrected).argmax(axis=0).tolist() == [3000, 3000]
    np.testing.assert_allclose(corrected[2500:3000], corrected[3500:3000:-1], atol=5e-3)  # zero phase: symmetric
    np.testing.assert_allclose(corrected[:, 1], -0.5 * corrected[:, 0], atol=1e-6)


def test_a_gain_of_one_changes_nothing() -> None:
    sound = broadband(0).astype(np.float32)
    same = SpectrumCorrection()(sound, SAMPLE_RATE, np.random.default_rng(0), ingredients=np.ones(1025, np.float32))
    np.testing.assert_allclose(same, sound, atol=1e-6)


def test_bins_without_sound_have_a_bounded_gain(tmp_path: Path) -> None:
    fade = np.hanning(2 * SAMPLE_RATE)[:, np.newaxis]
    low = (
        fade
        * np.convolve(broadband(0, 2.0)[:, 0], firwin(1001, 3000, fs=SAMPLE_RATE, window=("kaiser", 16)), "same")[
            :, np.newaxis
        ]
    )
    quiet = training_sound(tmp_path / "quiet", [("1", "a", low), ("1", "b", low / 2)])
    curve = SpectrumCorrection().prepare(quiet).value
    np.testing.assert_allclose(curve[(HERTZ > 100) & (HERTZ < 2900)], 0.5, rtol=1e-4)
    np.testing.assert_allclose(curve[HERTZ > 4000], 1, rtol=1e-6)  # neither device recorded anything there

    hiss = 1e-3 * np.random.default_rng(0).standard_normal(low.shape)
    noisy = training_sound(tmp_path / "noisy", [("1", "a", low), ("1", "b", low + hiss)])
    curve = SpectrumCorrection().prepare(noisy).value
    floor = 1e-5 * spectrum(low).max()
    np.testing.assert_allclose(
        np.median(curve[HERTZ > 4000]), np.median(spectrum(hiss)[HERTZ > 4000]) / floor, rtol=0.1
    )
    assert np.isfinite(curve).all()


def test_pairs_with_a_silent_reference_are_left_out(tmp_path: Path) -> None:
    clips = recorded(["a", "b"], segments=2)
    expected = SpectrumCorrection().prepare(training_sound(tmp_path / "heard", clips)).value
    silence = np.zeros((SAMPLE_RATE, 1))
    clips += [("9", "a", silence), ("9", "b", broadband(9)), ("8", "a", silence), ("8", "s1", broadband(8))]
    curve = SpectrumCorrection().prepare(training_sound(tmp_path / "silent", clips)).value
    np.testing.assert_allclose(curve, expected, rtol=1e-6)


def test_the_curve_is_cached_and_a_damaged_one_is_measured_again(tmp_path: Path) -> None:
    sound = training_sound(tmp_path, recorded(["a", "b"], segments=2))
    first = SpectrumCorrection().prepare(sound)
    files = [path for path in sound.cache.rglob("*") if path.is_file()]
    assert [path.name for path in files] == [f"{first.digest}.npy"]

    files[0].write_bytes(files[0].read_bytes()[:-100])
    np.testing.assert_array_equal(SpectrumCorrection().prepare(sound).value, first.value)
    for path in sound.clips["path"]:
        Path(path).unlink()
    again = SpectrumCorrection().prepare(sound)
    assert again.digest == first.digest
    np.testing.assert_array_equal(again.value, first.value)
    with pytest.raises(InputError, match="the recording .* does not exist"):
        SpectrumCorrection(pairs=1).prepare(sound)


def test_the_digest_follows_from_the_pairs_alone(tmp_path: Path) -> None:
    clips = recorded(["a", "b", "s1"], segments=6)
    sound = training_sound(tmp_path / "one", clips)
    renamed = [(str(9 - int(segment)), device, signal) for segment, device, signal in reversed(clips)]
    other = training_sound(tmp_path / "other", renamed)
    for settings in (SpectrumCorrection(), SpectrumCorrection(pairs=2), SpectrumCorrection(pairs=2, seed=1)):
        assert settings.prepare(sound).digest == settings.prepare(other).digest
    digests = {SpectrumCorrection(pairs=2, seed=seed).prepare(sound).digest for seed in range(4)}
    assert len(digests) > 1  # the choice follows the seed
    everything = {SpectrumCorrection(pairs=pairs, seed=pairs).prepare(sound).digest for pairs in (6, 7)}
    assert len(everything) == 1  # there is nothing to choose
    assert digests.isdisjoint(everything)
    changed = training_sound(tmp_path / "changed", [(*clips[0][:2], clips[0][2] / 2), *clips[1:]])
    assert SpectrumCorrection().prepare(changed).digest not in everything


@pytest.mark.slow
def test_processes_do_not_matter(tmp_path: Path) -> None:
    clips = recorded(["a", "b", "s1"], segments=4)
    one = SpectrumCorrection().prepare(training_sound(tmp_path, clips, jobs=1, cache="one"))
    two = SpectrumCorrection().prepare(training_sound(tmp_path, clips, jobs=2, cache="two"))
    np.testing.assert_array_equal(one.value, two.value)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([("1", "b", 1)], "spectrum_correction needs training clips of device 'a', got none: leave"),
        ([("1", "a", 1)], "needs training clips of another device than 'a', got none: leave"),
        (
            [("1", "a", 1), ("2", "b", 1), ("2", "s1", 1)],
            "recorded at once, got none among the training clips of b, s1:",
        ),
        ([("1", "a", 0), ("1", "b", 1)], "needs a sound in the clips of the reference device, got 1 silent ones: run"),
    ],
    ids=["no device a", "device a only", "no pair", "silence"],
)
def test_clips_that_do_not_do_are_refused(clips, message: str, tmp_path: Path) -> None:
    sound = training_sound(tmp_path, [(*names, level * broadband(0, 0.5)) for *names, level in clips])
    with pytest.raises(InputError, match=message):
        SpectrumCorrection().prepare(sound)
    assert not sound.cache.exists()
