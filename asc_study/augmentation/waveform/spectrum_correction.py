"""Spectrum correction: clips of the reference device with the average spectrum of the other training devices.

Hu et al. 2020, section 3, after Nguyen et al. 2020 (the paper's reference 11). Frequency bins are those of the features
(section 5.1: windows of 2048 samples); the authors' script keeps one device by an indexing slip, this is the text's.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from asc_study.augmentation.waveform import Ingredients, ReferenceDeviceAugmentation, TrainingSound, Waveform
from asc_study.base.errors import InputError
from asc_study.base.files import remove_left_over, writing
from asc_study.base.progress import progress_bar
from asc_study.features.audio import read_audio
from asc_study.workers.pool import run_parallel

#: Part of the curve's digest: raise it when the code changes the curve.
CURVE_VERSION: Final = 1

_N_FFT: Final = 2048
_MEASURING_HOP: Final = 1024

#: A gain changes the frames, so they overlap more than those that are only measured: the seams must not be heard.
_FILTERING_HOP: Final = 512

#: Magnitudes below this share (-100 dB) of the loudest bin of the reference clip count as that share, on both devices:
#: where neither recorded anything the gain is 1.
_FLOOR: Final = 1e-5

_PAIR_STREAM: Final = 13  # Keeps the choice of pairs apart from other draws with the same seed.

Curve = npt.NDArray[np.float32]


class SpectrumCorrection(ReferenceDeviceAugmentation):
    """Give the clips of device a the average spectrum of the other training devices (section 3).

    For up to ``pairs`` sounds that a device recorded beside device a, the ratio of the two magnitude spectra is taken
    in every frequency bin; the gain is its mean over the pairs of a device, averaged over the devices, each of which
    counts alike. A device without any pair is left out. The gain has no phase of its own: events stay where they are.
    """

    name: ClassVar[str] = "spectrum_correction"

    pairs: int = Field(150, ge=1)

    def identity(self) -> dict[str, Any]:
        """With the version of the curve."""
        return super().identity() | {"curve_version": CURVE_VERSION}

    def prepare(self, sound: TrainingSound) -> Ingredients:
        """Measure the gain of each bin, (1025,) float32, or read it from the cache.

        Raises
        ------
        InputError
            If there are no clips of device a, of another device, or pairs of both, if a clip cannot be read, or if the
            clips of device a are all silent.
        """
        chosen = self._choose_pairs(sound)
        identity = {
            "version": CURVE_VERSION,
            "sample_rate": sound.sample_rate,
            "pairs": {device: [[sound.digests[row] for row in pair] for pair in pairs] for device, pairs in chosen},
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        file = sound.cache / "spectrum-correction" / f"{digest}.npy"
        curve = _read_curve(file)
        if curve is None:
            curve = _measure(sound, [pairs for _, pairs in chosen])
            _write_curve(file, curve)
        return Ingredients(digest, curve)

    def __call__(
        self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, *, ingredients: Any = None, **_: Any
    ) -> Waveform:
        """Apply the gain to the short-time spectra; nothing is drawn."""
        import librosa

        spectra = librosa.stft(np.ascontiguousarray(waveform.T), n_fft=_N_FFT, hop_length=_FILTERING_HOP)
        spectra *= ingredients[:, np.newaxis]
        corrected = librosa.istft(spectra, n_fft=_N_FFT, hop_length=_FILTERING_HOP, length=len(waveform))
        return np.ascontiguousarray(corrected.T, dtype=np.float32)

    def _choose_pairs(self, sound: TrainingSound) -> list[tuple[str, list[tuple[int, int]]]]:
        """Choose by the content of the clips: neither their names nor their order have an influence."""
        from asc_study.data.clips import REFERENCE_DEVICE, paired_clips

        self.rows(sound)
        devices = sorted(set(sound.clips["device"]) - {REFERENCE_DEVICE})
        if not devices:
            raise InputError(
                f"spectrum_correction needs training clips of another device than {REFERENCE_DEVICE!r}, got none: "
                "leave spectrum_correction out"
            )
        rng = np.random.default_rng([self.seed, _PAIR_STREAM])
        chosen = []
        for device in devices:
            pairs = [(int(first), int(second)) for first, second in paired_clips(sound.clips, device)]
            pairs.sort(key=lambda pair: (sound.digests[pair[0]], sound.digests[pair[1]]))
            picked = np.sort(rng.permutation(len(pairs))[: self.pairs])
            if len(picked):
                chosen.append((device, [pairs[index] for index in picked]))
        if not chosen:
            raise InputError(
                f"spectrum_correction needs sounds that device {REFERENCE_DEVICE!r} and another device recorded at "
                f"once, got none among the training clips of {', '.join(devices)}: leave spectrum_correction out"
            )
        return chosen


def _measure(sound: TrainingSound, pairs_of_devices: list[list[tuple[int, int]]]) -> Curve:
    paths = [Path(path) for path in sound.clips["path"]]
    calls = [
        (device, index, paths[first], paths[second], sound.sample_rate)
        for device, pairs in enumerate(pairs_of_devices)
        for index, (first, second) in enumerate(pairs)
    ]
    # Sums depend on their order, so ratios are put in their places before the mean is taken.
    ratios = [np.full((len(pairs), 1 + _N_FFT // 2), np.nan) for pairs in pairs_of_devices]
    with progress_bar(len(calls), "spectrum correction", "pair", shown=sound.progress) as bar:
        for device, index, ratio in run_parallel(_pair_ratio, calls, jobs=sound.jobs):
            ratios[device][index] = ratio
            bar.update()
    heard = [ratio[np.isfinite(ratio[:, 0])] for ratio in ratios]
    means = [ratio.mean(axis=0) for ratio in heard if len(ratio)]
    if not means:
        raise InputError(
            f"spectrum_correction needs a sound in the clips of the reference device, got {len(calls)} silent ones: "
            "run asc-study data check"
        )
    curve: Curve = np.mean(means, axis=0).astype(np.float32)
    return curve


def _pair_ratio(
    device: int, index: int, reference: Path, other: Path, sample_rate: int
) -> tuple[int, int, npt.NDArray[np.float64]]:
    """Return the ratio of two clips' spectra in every bin; NaN if the reference is silent."""
    denominator, numerator = _mean_spectrum(reference, sample_rate), _mean_spectrum(other, sample_rate)
    floor = _FLOOR * denominator.max()
    if not floor > 0:
        return device, index, np.full_like(denominator, np.nan)
    return device, index, np.maximum(numerator, floor) / np.maximum(denominator, floor)


def _mean_spectrum(path: Path, sample_rate: int) -> npt.NDArray[np.float64]:
    """Average the STFT magnitudes of a clip over time and channels: (bins,)."""
    import librosa

    waveform = read_audio(path, sample_rate)
    spectra = librosa.stft(np.ascontiguousarray(waveform.T), n_fft=_N_FFT, hop_length=_MEASURING_HOP)
    return np.asarray(np.abs(spectra).mean(axis=(0, 2), dtype=np.float64))


def _read_curve(file: Path) -> Curve | None:
    try:
        curve = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = curve.dtype == np.float32 and curve.shape == (1 + _N_FFT // 2,) and np.isfinite(curve).all()
    return curve if usable else None


def _write_curve(file: Path, curve: Curve) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with writing(file) as opened:
        np.save(opened, curve)
    remove_left_over(file.parent)
