import librosa
import numpy as np
import pytest

from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError
from asc_study.features.front_end import PLAIN_LOOPS, Loops, log_mel_features
from asc_study.features.logmel import LogMelSettings, _fill_power, _fill_windowed, band_centres, log_mel, mel_filters


def librosa_log_mel(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """(frequency, time, channel) by librosa's own path, scaled jointly over the channels."""
    channels = [
        librosa.feature.melspectrogram(
            y=channel,
            sr=sample_rate,
            n_fft=2048,
            hop_length=1024,
            n_mels=128,
            fmin=0,
            fmax=sample_rate / 2,
            htk=True,
            norm=None,
        )
        for channel in waveform.T
    ]
    logarithm = np.log(np.stack(channels, axis=-1) + 1e-8)
    return (logarithm - logarithm.min()) / (logarithm.max() - logarithm.min())


def sounds(samples: int, sample_rate: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    time = np.arange(samples) / sample_rate
    noise = rng.standard_normal(samples)
    return {
        "noise": 0.1 * noise,
        "very quiet noise": 1e-6 * noise,
        "full-scale tone": np.sin(2 * np.pi * 1000 * time),
        "loud hum over a faint hiss": 0.5 * np.sin(2 * np.pi * 100 * time) + 1e-5 * noise,
        "click": np.where(np.arange(samples) == samples // 3, 1.0, 0.0),
        "sweep that stops": np.sin(2 * np.pi * 300 * time**2) * (time < time[-1] / 2),
    }


@pytest.mark.parametrize("name", sounds(1, 1))
def test_values_are_those_of_librosa(name: str) -> None:
    waveform = sounds(441_000, 44_100)[name].astype(np.float32)
    ours = log_mel(waveform, LogMelSettings(44_100))
    assert ours.shape == (128, 431, 1)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, librosa_log_mel(waveform[:, np.newaxis], 44_100), rtol=0, atol=1e-5)


def test_stereo_is_scaled_jointly_over_both_channels() -> None:
    noise = np.random.default_rng(0).standard_normal((480_000, 2)).astype(np.float32)
    waveform = noise * np.array([0.1, 0.001], np.float32)
    ours = log_mel(waveform, LogMelSettings(48_000))
    assert ours.shape == (128, 469, 2)
    np.testing.assert_allclose(ours, librosa_log_mel(waveform, 48_000), rtol=0, atol=1e-5)
    assert ours[..., 0].max() == 1.0
    assert ours[..., 1].max() < 0.8


def test_unscaled_features_are_the_natural_logarithm_of_the_mel_power() -> None:
    silence = log_mel(np.zeros(4096, np.float32), LogMelSettings(16_000, scale="none"))
    np.testing.assert_allclose(silence, np.log(1e-8), rtol=1e-6)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_384) / 16_000).astype(np.float32)
    louder = log_mel(tone, LogMelSettings(16_000, scale="none")) - log_mel(
        tone / 2, LogMelSettings(16_000, scale="none")
    )
    assert louder.max() == pytest.approx(np.log(4), abs=1e-3)  # a quarter of the power


def test_silence_is_all_zeros() -> None:
    features = log_mel(np.zeros(44_100, np.float32), LogMelSettings(44_100))
    assert features.shape == (128, 44, 1)
    assert not features.any()


def test_scaled_features_fill_the_unit_range() -> None:
    waveform = np.random.default_rng(1).standard_normal(30_000)
    features = log_mel(waveform, LogMelSettings(22_050, n_fft=512, hop_length=256, n_mels=40))
    assert features.shape == (40, 118, 1)
    assert (features.min(), features.max()) == (0.0, 1.0)


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((10, 0)), np.zeros((2, 3, 4))])
def test_a_waveform_of_a_wrong_shape_is_refused(waveform: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"must be \(samples,\) or \(samples, channels\)"):
        log_mel(waveform, LogMelSettings(44_100))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("scale", ["min_max", "none"])
def test_samples_that_are_not_finite_are_refused(value: float, scale: str) -> None:
    waveform = np.zeros(44_100, np.float32)
    waveform[20_000] = value
    with pytest.raises(InputError, match="finite samples"):
        log_mel(waveform, LogMelSettings(44_100, scale=scale))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("hop_length", 0, "`hop_length` must be at least 1, got 0"),
        ("n_fft", 2047, "`n_fft` must be even, got 2047"),
        ("scale", "db", "`scale` must be one of min_max, none, fixed, got 'db'"),
        ("dtype", "float64", "`dtype` must be one of float16, float32"),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        LogMelSettings(44_100, **{setting: value})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:n_fft=512 is too large for input signal")
@pytest.mark.parametrize("hop_length", [100, 512, 700])
@pytest.mark.parametrize("samples", [1, 300, 511, 512, 16_384, 20_001])
def test_any_length_and_hop_gives_the_frames_of_librosa(samples: int, hop_length: int) -> None:
    waveform = np.random.default_rng(samples).standard_normal(samples)
    settings = LogMelSettings(16_000, n_fft=512, hop_length=hop_length, n_mels=20, scale="none")
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=512, hop_length=hop_length, n_mels=20, htk=True, norm=None
    )
    expected = np.log(mel + 1e-8)
    np.testing.assert_allclose(log_mel(waveform, settings)[..., 0], expected, rtol=0, atol=1e-5)


def test_samples_may_be_of_any_real_type() -> None:
    waveform = np.round(np.random.default_rng(2).standard_normal(9000) * 64).clip(-127, 127) / 128
    expected = log_mel(waveform, LogMelSettings(16_000))
    for dtype in (np.float16, np.float32):  # both hold multiples of 1/128 exactly
        np.testing.assert_array_equal(log_mel(waveform.astype(dtype), LogMelSettings(16_000)), expected)


def test_loops_work_where_no_folder_can_keep_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def total(values: np.ndarray) -> None:
        for index in range(1, len(values)):
            values[index] += values[index - 1]

    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    values = np.arange(5)
    compiled(total)(values)
    assert values.tolist() == [0, 1, 3, 6, 10]


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("n_mels", [16, 128, 256])
@pytest.mark.parametrize(("rate", "n_fft", "fmin", "fmax"), [(44_100, 2048, 0, None), (32_000, 4096, 50.5, 15_000)])
def test_mel_filters_are_those_of_librosa_to_the_last_bit(n_mels: int, rate: int, n_fft: int, fmin: float, fmax):
    settings = LogMelSettings(rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    given = {"fmin": fmin, "fmax": settings.highest_hz, "htk": True}
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, norm=None, **given)
    ours = mel_filters(settings)
    assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())
    np.testing.assert_array_equal(band_centres(settings), librosa.mel_frequencies(n_mels + 2, **given)[1:-1])


def test_filters_that_no_bin_falls_into_are_told_as_librosa_tells_them() -> None:
    with pytest.warns(UserWarning, match="Empty filters detected in mel frequency basis"):
        mel_filters(LogMelSettings(44_100, n_fft=512, n_mels=256))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hop_length", [512, 1024])
def test_a_few_clips_get_the_values_of_many_to_the_last_bit(hop_length: int, dtype: type) -> None:
    """The loops of the first clips of a process are plain: the result must not depend on how many there are."""
    settings = LogMelSettings(44_100, hop_length=hop_length)
    waveform = np.random.default_rng(5).standard_normal((44_100, 2)).astype(dtype)
    loops = Loops(compiled(_fill_windowed), compiled(_fill_power))
    filters = mel_filters(settings)
    few, many = (log_mel_features(waveform, settings, filters, chosen) for chosen in (PLAIN_LOOPS, loops))
    assert few.tobytes() == many.tobytes()
