"""Pitch shift, speed change, noise and mix against sounds whose change can be computed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import hilbert
from scipy.stats import kurtosis

from asc_study.augmentation.waveform import TrainingSound
from asc_study.augmentation.waveform.mix import Mix
from asc_study.augmentation.waveform.noise import Noise
from asc_study.augmentation.waveform.pitch_shift import PitchShift
from asc_study.augmentation.waveform.speed_change import SpeedChange
from asc_study.base.errors import InputError
from asc_study.base.schema import validate

SAMPLE_RATE = 16_000


def tone(hertz: float, seconds: float = 2.0) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * hertz * t))[:, np.newaxis].astype(np.float32)


def loudest_hertz(signal: np.ndarray) -> float:
    """Frequency of the spectral peak of at most 16 s of sound, to a sixteenth of a Hz."""
    spectrum = np.abs(np.fft.rfft((signal - signal.mean()) * np.hanning(len(signal)), 16 * SAMPLE_RATE))
    return float(np.argmax(spectrum) / 16)


def white(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


class TestPitchShift:
    @pytest.mark.parametrize("semitones", [-4.0, -1.5, 2.5, 4.0])
    def test_the_frequency_is_multiplied_by_two_to_the_twelfths(self, semitones: float) -> None:
        shift = PitchShift(low_semitones=semitones, high_semitones=semitones)
        shifted = shift(tone(1000), SAMPLE_RATE, np.random.default_rng(0))
        assert loudest_hertz(shifted[:, 0]) == pytest.approx(1000 * 2 ** (semitones / 12), abs=1)

    def test_shifts_fill_the_range(self) -> None:
        rng = np.random.default_rng(0)
        sound = tone(1000, seconds=0.5)
        drawn = [12 * np.log2(loudest_hertz(PitchShift()(sound, SAMPLE_RATE, rng)[:, 0]) / 1000) for _ in range(40)]
        assert min(drawn) == pytest.approx(-4, abs=0.7)
        assert max(drawn) == pytest.approx(4, abs=0.7)
        assert np.mean(drawn) == pytest.approx(0, abs=1.1)  # three standard errors of the uniform distribution

    def test_events_stay_where_they_are(self) -> None:
        sound = tone(1000)
        sound[: SAMPLE_RATE // 2] = 0
        shifted = PitchShift(low_semitones=3, high_semitones=3)(sound, SAMPLE_RATE, np.random.default_rng(0))
        envelope = np.abs(shifted[:, 0])
        first = int(np.argmax(envelope > 0.2))
        assert first / SAMPLE_RATE == pytest.approx(0.5, abs=0.07)  # half a window of the phase vocoder


class TestSpeedChange:
    @pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
    def test_rhythm_follows_the_factor_and_pitch_stays(self, factor: float) -> None:
        t = np.arange(8 * SAMPLE_RATE)[:, np.newaxis] / SAMPLE_RATE
        beating = (tone(1000, seconds=8) * (1 + 0.8 * np.sin(2 * np.pi * 2 * t)) / 2).astype(np.float32)
        speed = SpeedChange(low_factor=factor, high_factor=factor, fill="pad")
        changed = speed(beating, SAMPLE_RATE, np.random.default_rng(0))
        heard = changed[: round(len(t) / factor), 0]
        assert loudest_hertz(np.abs(hilbert(heard))) == pytest.approx(2 * factor, abs=0.1)
        assert loudest_hertz(heard) == pytest.approx(1000, abs=1)

    def test_what_is_too_short_is_repeated_or_padded(self) -> None:
        sound = white((5000, 2))
        results = {}
        for fill in ("repeat", "pad"):
            speed = SpeedChange(low_factor=2.5, high_factor=2.5, fill=fill)
            results[fill] = speed(sound, SAMPLE_RATE, np.random.default_rng(0))
            assert results[fill].shape == sound.shape
        np.testing.assert_array_equal(results["pad"][:2000], results["repeat"][:2000])
        assert results["pad"][:2000].any(axis=0).all()
        assert not results["pad"][2000:].any()
        np.testing.assert_array_equal(results["repeat"][2000:4000], results["repeat"][:2000])
        np.testing.assert_array_equal(results["repeat"][4000:], results["repeat"][:1000])

    @pytest.mark.parametrize("fill", ["repeat", "pad"])
    def test_what_is_too_long_is_cut_at_the_end(self, fill: str) -> None:
        sound = tone(500)
        sound[SAMPLE_RATE:] = 0  # at half the speed the second half of the sound is out of reach
        slow = SpeedChange(low_factor=0.5, high_factor=0.5, fill=fill)(sound, SAMPLE_RATE, np.random.default_rng(0))
        assert slow.shape == sound.shape
        heard = slow[: len(slow) // 4096 * 4096].reshape(-1, 4096)
        assert np.sqrt(np.mean(heard**2, axis=1)).min() > 0.2

    def test_factors_fill_the_range(self) -> None:
        rng = np.random.default_rng(0)
        sound = white((8000, 1))
        speed = SpeedChange(low_factor=1.5, high_factor=2.0, fill="pad")
        lengths = [int(np.flatnonzero(speed(sound, SAMPLE_RATE, rng))[-1]) + 1 for _ in range(40)]
        factors = 8000 / np.array(lengths)
        assert factors.min() == pytest.approx(1.5, abs=0.05)
        assert factors.max() == pytest.approx(2.0, abs=0.05)
        assert SpeedChange().low_factor == 0.5
        assert SpeedChange().high_factor == 2.0


class TestNoise:
    @pytest.mark.parametrize("amplitude", [0.01, 0.2])
    def test_it_is_white_normal_and_independent_between_channels(self, amplitude: float) -> None:
        sound = np.repeat(white((100_000, 1)), 2, axis=1)
        added = Noise(amplitude=amplitude)(sound, SAMPLE_RATE, np.random.default_rng(3)) - sound
        assert added.std(axis=0) == pytest.approx([amplitude, amplitude], rel=0.01)
        assert added.mean() == pytest.approx(0, abs=4 * amplitude / np.sqrt(added.size))
        assert kurtosis(added, axis=None) == pytest.approx(0, abs=0.05)
        assert np.corrcoef(added.T)[0, 1] == pytest.approx(0, abs=0.015)
        assert np.corrcoef(added[1:, 0], added[:-1, 0])[0, 1] == pytest.approx(0, abs=0.015)

    def test_the_default_is_the_authors(self) -> None:
        assert Noise().amplitude == 0.01


class TestMix:
    SOUND = TrainingSound(
        pd.DataFrame({"scene": ["bus", "tram", "bus", "tram", "bus"], "device": ["a", "a", "b", "b", "s1"]}),
        digests=["e", "d", "c", "b", "a"],
        sample_rate=SAMPLE_RATE,
        cache=Path("unused"),
    )

    def test_weights_are_independent_and_fill_their_range(self) -> None:
        rng = np.random.default_rng(0)
        own, other = white((4000, 2), 1), white((4000, 2), 2)
        columns = np.stack([own.ravel(), other.ravel()], axis=1)
        weights = []
        for _ in range(300):
            mixed = Mix()(own, SAMPLE_RATE, rng, partner=other)
            found, residual, *_ = np.linalg.lstsq(columns, mixed.ravel(), rcond=None)
            assert residual[0] < 1e-6
            weights.append(found)
        weights = np.array(weights)
        assert weights.min() >= 0.5 - 1e-4
        assert weights.max() <= 1 + 1e-4
        assert weights.min(axis=0) == pytest.approx([0.5, 0.5], abs=0.02)
        assert weights.max(axis=0) == pytest.approx([1, 1], abs=0.02)
        assert abs(np.corrcoef(weights.T)[0, 1]) < 0.18  # three standard errors

    def test_partners_are_all_the_other_clips_of_the_scene(self) -> None:
        rng = np.random.default_rng(0)
        partners = {row: {Mix().partner(self.SOUND, row, rng) for _ in range(60)} for row in range(5)}
        assert partners == {0: {2, 4}, 1: {3}, 2: {0, 4}, 3: {1}, 4: {0, 2}}

    def test_partners_do_not_depend_on_the_order_of_the_rows(self) -> None:
        turned = TrainingSound(
            self.SOUND.clips.iloc[::-1], digests=self.SOUND.digests[::-1], sample_rate=SAMPLE_RATE, cache=Path("unused")
        )
        for seed in range(20):
            row = Mix().partner(self.SOUND, 0, np.random.default_rng(seed))
            turned_row = Mix().partner(turned, 4, np.random.default_rng(seed))
            assert self.SOUND.digests[row] == turned.digests[turned_row]

    def test_a_lonely_clip_is_refused(self) -> None:
        clips = self.SOUND.clips.iloc[:3]
        lonely = TrainingSound(clips, self.SOUND.digests[:3], SAMPLE_RATE, Path("unused"))
        with pytest.raises(InputError, match="mix needs two training clips of every scene, got one of 'tram'"):
            Mix().prepare(lonely)
        assert Mix().prepare(self.SOUND) is None

    def test_clips_of_two_shapes_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"mix needs clips of one shape, got \(100, 1\) and \(99, 1\)"):
            Mix()(white((100, 1)), SAMPLE_RATE, np.random.default_rng(0), partner=white((99, 1)))


def test_loud_copies_are_not_clipped() -> None:
    loud = np.full((1000, 1), 0.99, np.float32)
    rng = np.random.default_rng(0)
    assert Noise()(loud, SAMPLE_RATE, rng).max() > 1
    assert Mix(low_weight=1.0)(loud, SAMPLE_RATE, rng, partner=loud).max() == pytest.approx(1.98)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            PitchShift,
            {"low_semitones": 3, "high_semitones": 1.5},
            "low_semitones must be at most .* got 3 and 1.5: swap",
        ),
        (PitchShift, {"low_semitones": -25}, "`x.low_semitones` must be at least -24.*, got -25"),
        (SpeedChange, {"low_factor": 2.5}, "low_factor must be at most high_factor, got 2.5 and 2: swap"),
        (SpeedChange, {"low_factor": 0}, "`x.low_factor` must be at least 0.1, got 0"),
        (SpeedChange, {"fill": "wrap"}, "`x.fill` must be 'repeat' or 'pad', got 'wrap'"),
        (Noise, {"amplitude": 0}, "`x.amplitude` must be above 0.*, got 0"),
        (Mix, {"low_weight": 1.5}, "low_weight must be at most high_weight, got 1.5 and 1: swap"),
        (Mix, {"weights": 1}, "unknown key 'x.weights'"),
    ],
)
def test_settings_out_of_range_are_refused(model, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        validate(model, settings, path="x")
