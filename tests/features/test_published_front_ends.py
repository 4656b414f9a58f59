"""The front ends of the challenges from 2023 on, against their definitions in plain NumPy and in librosa."""

import librosa
import numpy as np
import pytest
import scipy.signal

from asc_study.base.errors import InputError
from asc_study.features.logmel import LogMelSettings, band_centres, log_mel, mel_filters
from asc_study.features.store import entry_key
from asc_study.settings.features import FeatureConfig

RATE = 44_100

#: Of two feature settings, as versions without the settings of today made them.
KEYS = (
    "c66db165cfe25e604700f1d530f6bf9b498285d16fb99a6dc5ae90334a21f895",
    "1be74d2c033a7f89d5d25b97e52b793c4a6da43ecc6235e0bacbc2a965585420",
)


def second() -> np.ndarray:
    rng = np.random.default_rng(3)
    return (0.1 * rng.standard_normal(RATE) + 0.3 * np.sin(2 * np.pi * 90 * np.arange(RATE) / RATE)).astype(np.float32)


def preset(name: str, **own: object) -> LogMelSettings:
    return FeatureConfig.model_validate({"preset": name, "dtype": "float32", **own}).at(RATE)


def test_one_second_has_the_frames_of_the_publications() -> None:
    assert preset("dcase2024").input_shape(RATE, 1) == (256, 65, 1)
    assert preset("cp_mobile").input_shape(RATE, 1) == (256, 64, 1)
    assert preset("cp_mobile", deltas=True).input_shape(RATE, 2) == (256, 56, 6)
    assert preset("cp_mobile").seconds_per_frame == 500 / 32_000


def test_the_baseline_of_2024_is_that_of_librosa_at_32_khz() -> None:
    heard = scipy.signal.resample_poly(second(), 320, 441)
    expected = librosa.feature.melspectrogram(
        y=heard, sr=32_000, n_fft=4096, win_length=3072, hop_length=500, n_mels=256, pad_mode="reflect", htk=True,
        norm=None,
    )  # fmt: skip
    ours = log_mel(second(), preset("dcase2024"))
    assert ours.shape == (256, 65, 1)
    np.testing.assert_allclose(ours[..., 0], np.log(expected + 1e-5), rtol=0, atol=1e-4)


def test_cp_mobile_of_2023_by_hand() -> None:
    heard = scipy.signal.resample_poly(second(), 320, 441)
    emphasised = heard[1:] - 0.97 * heard[:-1]
    padded = np.pad(emphasised, 2048, mode="reflect")
    window = np.pad(scipy.signal.get_window("hann", 3072, fftbins=False), 512)
    frames = np.stack([padded[500 * t : 500 * t + 4096] * window for t in range(64)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = [1127 * np.log(1 + bin_ * 32_000 / 4096 / 700) for bin_ in range(2048)]
    step = 1127 * np.log(1 + 15_500 / 700) / 257
    kaldi = np.zeros((256, 2049))
    for band in range(256):
        for bin_ in range(2048):  # the highest bin is not heard
            rising, falling = mel[bin_] / step - band, band + 2 - mel[bin_] / step
            kaldi[band, bin_] = max(0.0, min(rising, falling))
    np.testing.assert_allclose(mel_filters(preset("cp_mobile")), kaldi, atol=1e-6)
    expected = (np.log(kaldi @ power.T + 1e-5) + 4.5) / 5
    np.testing.assert_allclose(log_mel(second(), preset("cp_mobile"))[..., 0], expected, rtol=0, atol=1e-4)


def test_bands_lie_between_the_lowest_and_the_highest_frequency() -> None:
    centres = band_centres(preset("cp_mobile", fmin=50.0))
    assert (centres > 50).all()
    assert (centres < 15_500).all()
    loudest = mel_filters(preset("cp_mobile", fmin=50.0)).argmax(axis=1) * 32_000 / 4096
    np.testing.assert_allclose(loudest, centres, atol=8)  # a bin


def test_features_that_were_stored_before_there_was_a_choice_keep_their_keys() -> None:
    assert entry_key("a", LogMelSettings(44_100)) == KEYS[0]
    assert entry_key("a", LogMelSettings(44_100, n_mels=64, scale="none")) == KEYS[1]
    plain, deltas = preset("dcase2024"), preset("dcase2024", deltas=True)
    assert entry_key("a", plain) == entry_key("a", deltas)  # they are made from the same stored features
    other = [preset("dcase2024", **{name: value}) for name, value in (("fmax", 9e3), ("window", "symmetric"))]
    assert len({entry_key("a", settings) for settings in (plain, *other)}) == 3


def test_settings_that_do_not_fit_the_sound_are_refused() -> None:
    with pytest.raises(InputError, match=r"`fmin` and `fmax` must be .* at most 16000 Hz, .* got 0 and 17000: give"):
        preset("dcase2024", fmax=17_000.0)
    with pytest.raises(InputError, match="`padding: reflect` needs clips of more than 2048 samples at 32000 Hz"):
        log_mel(second()[:2000], preset("dcase2024"))
    with pytest.raises(InputError, match="`window_length` must be at most n_fft, 512, got 1024: lower it"):
        LogMelSettings(RATE, n_fft=512, window_length=1024)
