"""What the values of features depend on besides the sound, and the shape that a clip gets by it."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from asc_study.base.errors import InputError

#: Frames that deltas and delta-deltas take off the time axis: two at each end for each of the two derivatives.
FRAMES_LOST_TO_DELTAS: Final = 8

#: Settings that have always been part of a key; of the others only those that are not as they always were are.
_ALWAYS: Final = ("sample_rate", "n_fft", "hop_length", "n_mels", "scale", "dtype")

#: Setting -> what it may be.
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "scale": ("min_max", "none", "fixed"),
    "dtype": ("float16", "float32"),
    "window": ("periodic", "symmetric"),
    "padding": ("zeros", "reflect"),
    "mel_scale": ("htk", "kaldi"),
}


@dataclass(frozen=True)
class LogMelSettings:
    """Everything that the values of a log-mel spectrogram depend on, besides the sound.

    Attributes
    ----------
    sample_rate
        Of the sound, in Hz.
    n_fft, hop_length
        Length of the transform and step, in samples of `rate`.
    n_mels
        Mel bands between ``fmin`` and ``fmax``, not normalised.
    scale
        ``min_max`` maps each clip to [0, 1], jointly over its channels; ``none`` leaves the natural logarithm;
        ``fixed`` is (logarithm + 4.5) / 5, alike for all clips (CP-Mobile).
    dtype
        What the feature store keeps. ``float16`` is off by at most 2.5e-4 on values in [0, 1]; with ``scale='none'``
        by up to 8e-3.
    resample_to
        Rate in Hz that the sound is changed to first; None leaves it.
    pre_emphasis
        Share of the sample before that is taken off each sample; any makes the sound one sample shorter.
    window_length, window
        Samples of the Hann window, which stands in the middle of the transform, at most ``n_fft``; None is ``n_fft``.
    padding
        What lies around the sound: ``zeros``, or the sound itself backwards (``reflect``).
    mel_scale
        ``htk``: triangles over frequency; ``kaldi``: triangles over mel. Their edges are the same.
    fmin, fmax
        Lowest and highest frequency of the bands in Hz; a ``fmax`` of None is half of `rate`.
    log_offset
        What is added to the mel power before its logarithm.
    deltas
        Whether a network is given the deltas and delta-deltas too. They are made from what the store keeps.
    """

    sample_rate: int
    n_fft: int = 2048
    hop_length: int = 1024
    n_mels: int = 128
    scale: Literal["min_max", "none", "fixed"] = "min_max"
    dtype: Literal["float16", "float32"] = "float16"
    resample_to: int | None = None
    pre_emphasis: float = 0.0
    window_length: int | None = None
    window: Literal["periodic", "symmetric"] = "periodic"
    padding: Literal["zeros", "reflect"] = "zeros"
    mel_scale: Literal["htk", "kaldi"] = "htk"
    fmin: float = 0.0
    fmax: float | None = None
    log_offset: float = 1e-8
    deltas: bool = True

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "resample_to", "window_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"`{name}` must be at least 1, got {value}: give a positive whole number")
        if self.n_fft % 2:
            raise InputError(f"`n_fft` must be even, got {self.n_fft}: frames are centred on their window's middle")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.samples_of_window > self.n_fft:
            raise InputError(f"`window_length` must be at most n_fft, {self.n_fft}, got {self.window_length}: lower it")
        if not 0 <= self.fmin < self.highest_hz <= self.rate / 2:
            raise InputError(
                f"`fmin` and `fmax` must be in order and at most {self.rate / 2:g} Hz, half of the sample rate, got "
                f"{self.fmin:g} and {self.highest_hz:g}: give other ones"
            )

    @property
    def rate(self) -> int:
        """Sample rate in Hz of the sound that the transform sees."""
        return self.resample_to or self.sample_rate

    @property
    def samples_of_window(self) -> int:
        """Length of the window in samples."""
        return self.window_length or self.n_fft

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest band."""
        return self.rate / 2 if self.fmax is None else self.fmax

    @property
    def seconds_per_frame(self) -> float:
        """Time from frame to frame."""
        return self.hop_length / self.rate

    @property
    def filters_name(self) -> str:
        """Short text that tells the mel filters of these settings from all others."""
        parts = [f"{self.rate}-{self.n_fft}-{self.n_mels}"]
        if (self.mel_scale, self.fmin, self.fmax) != ("htk", 0, None):
            parts.append(f"{self.mel_scale}-{self.fmin:g}-{self.highest_hz:g}")
        return "-".join(parts)

    def canonical_json(self) -> str:
        """Return the settings as JSON that is equal for equal features; part of a feature's cache key."""
        usual = {field.name: field.default for field in fields(self)}
        kept = {key: value for key, value in asdict(self).items() if key in _ALWAYS or value != usual[key]}
        kept.pop("deltas", None)  # the store keeps static features
        return json.dumps(kept, sort_keys=True, separators=(",", ":"))

    def frames(self, samples: int) -> int:
        """Return the number of centred frames that a sound of that many samples, at ``sample_rate``, gives."""
        heard = -(-samples * self.rate // self.sample_rate) - (self.pre_emphasis > 0)
        return 1 + max(heard, 0) // self.hop_length

    def input_shape(self, samples: int, channels: int) -> tuple[int, int, int]:
        """Frequency bands, frames and channels that a network is given of a clip.

        Parameters
        ----------
        samples, channels
            Of the clip, at ``sample_rate``.

        Raises
        ------
        InputError
            If no frame is left.
        """
        return stacked_shape((self.n_mels, self.frames(samples), channels), deltas=self.deltas)

    def to_dict(self) -> dict[str, Any]:
        """The settings in the types of JSON, by which they can be made again."""
        return {**json.loads(self.canonical_json()), **({} if self.deltas else {"deltas": False})}


def stacked_shape(static: tuple[int, int, int], *, deltas: bool) -> tuple[int, int, int]:
    """The shape that static features get with their deltas, if they get them.

    Raises
    ------
    InputError
        If so few frames leave nothing after deltas and delta-deltas.
    """
    bands, frames, channels = static
    if not deltas:
        return static
    if frames <= FRAMES_LOST_TO_DELTAS:
        raise InputError(
            f"features with deltas need at least {FRAMES_LOST_TO_DELTAS + 1} frames, got {frames}: "
            "use longer clips or a shorter hop_length"
        )
    return bands, frames - FRAMES_LOST_TO_DELTAS, 3 * channels
