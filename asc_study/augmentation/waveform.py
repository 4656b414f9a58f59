"""Waveform augmentations: each makes copies of training clips that sound different (section 3).

Every one is a frozen model of its settings, whose call takes one clip, ``(samples, channels)`` float32 with full scale
at 1, and returns another of the same shape. `asc_study.augmentation.copies` decides which clips are copied with which
random generator; the store computes and keeps the features.

Conventions: the values of a copy are drawn before the first is applied, one draw for all channels (noise alone is drawn
for each). Copies may exceed full scale: features are scaled clip by clip, so clipping would only add distortion that no
device makes. What clips by itself, the compander of `reverb_drc`, does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from asc_study.base.errors import InputError
from asc_study.base.schema import Strict

if TYPE_CHECKING:
    import pandas as pd

Waveform = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainingSound:
    """The training clips, as augmentations see them: validation and test clips are not among them.

    Attributes
    ----------
    clips
        Rows of the clip table.
    digests
        Digest of the audio of each row.
    sample_rate
        In Hz, of every clip.
    cache
        Folder for what takes long to prepare.
    jobs
        Processes to use for that.
    progress
        Whether a progress bar is wanted.
    """

    clips: "pd.DataFrame"
    digests: Sequence[str]
    sample_rate: int
    cache: Path
    jobs: int = 1
    progress: bool = False

    @cached_property
    def rows_by_scene(self) -> dict[str, npt.NDArray[np.int64]]:
        """Scene -> its rows (positions from 0), ordered by digest, so that a draw among them ignores file names."""
        order = np.argsort(np.asarray(self.digests))
        scenes = self.clips["scene"].to_numpy()
        return {str(scene): order[scenes[order] == scene] for scene in np.unique(scenes)}


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What an augmentation needs besides the clip, made once for all copies.

    Attributes
    ----------
    digest
        Of everything that ``value`` was made from: part of the identity of every copy.
    value
        Picklable; passed to each call.
    """

    digest: str
    value: Any


class WaveformAugmentation(Strict):
    """Base of the waveform augmentations: their common settings and the call that makes one copy."""

    #: Of the random draws. A setting, not the run's seed: the runs of all seeds share the copies and their features.
    seed: int = Field(0, ge=0)

    #: How many copies of every clip.
    copies: int = Field(1, ge=1, le=100)

    def rows(self, sound: TrainingSound) -> npt.NDArray[np.int64]:
        """Positions in ``sound.clips`` of the clips to copy; all by default."""
        return np.arange(len(sound.clips))

    def prepare(self, sound: TrainingSound) -> Ingredients | None:
        """Make what all copies share.

        Raises
        ------
        InputError
            If the training clips do not have what the augmentation needs.
        """
        return None

    def partner(self, sound: TrainingSound, row: int, rng: np.random.Generator) -> int | None:
        """Draw the position of a second clip to be passed to the call; None by default: there is none."""
        return None

    def __call__(
        self,
        waveform: Waveform,
        sample_rate: int,
        rng: np.random.Generator,
        *,
        ingredients: Any = None,
        partner: Waveform | None = None,
    ) -> Waveform:
        """Make one copy.

        Parameters
        ----------
        waveform
            (samples, channels); it is not changed.
        sample_rate
            In Hz.
        rng
            Where every draw comes from.
        ingredients
            The value that `prepare` made.
        partner
            The clip that `partner` chose, of the same shape.

        Returns
        -------
        (samples, channels) float32, finite.
        """
        raise NotImplementedError


class ReferenceDeviceAugmentation(WaveformAugmentation):
    """Base of those that copy the clips of the reference device alone."""

    #: What a study file calls it.
    name: ClassVar[str]

    def rows(self, sound: TrainingSound) -> npt.NDArray[np.int64]:
        """Positions of the clips of device a.

        Raises
        ------
        InputError
            If there are none.
        """
        from asc_study.data.clips import REFERENCE_DEVICE

        rows = np.flatnonzero(sound.clips["device"].to_numpy() == REFERENCE_DEVICE)
        if not len(rows):
            raise InputError(
                f"{self.name} needs training clips of device {REFERENCE_DEVICE!r}, got none: leave {self.name} out"
            )
        return rows


class PitchShift(WaveformAugmentation):
    """Shift the pitch by U(``low_semitones``, ``high_semitones``) and keep the speed (section 3: pitch shift)."""

    low_semitones: float = Field(-4.0, ge=-24, le=24)
    high_semitones: float = Field(4.0, ge=-24, le=24)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        _require_range("semitones", self.low_semitones, self.high_semitones)
        return self

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Shift by a phase vocoder and resampling (librosa)."""
        from librosa.effects import pitch_shift

        semitones = rng.uniform(self.low_semitones, self.high_semitones)
        return _channels_last(pitch_shift(np.ascontiguousarray(waveform.T), sr=sample_rate, n_steps=semitones))


class SpeedChange(WaveformAugmentation):
    """Play the clip U(``low_factor``, ``high_factor``) times as fast and keep its pitch (section 3: speed change).

    What gets too long is cut at the end. What gets too short is repeated from its start, as in the authors' code, or
    padded with zeros, as in the text.
    """

    low_factor: float = Field(0.5, ge=0.1, le=10)
    high_factor: float = Field(2.0, ge=0.1, le=10)
    fill: Literal["repeat", "pad"] = "repeat"

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        _require_range("factor", self.low_factor, self.high_factor)
        return self

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Stretch or squeeze by a phase vocoder (librosa)."""
        from librosa.effects import time_stretch

        factor = rng.uniform(self.low_factor, self.high_factor)
        stretched = _channels_last(time_stretch(np.ascontiguousarray(waveform.T), rate=factor))
        if self.fill == "repeat":
            return np.resize(stretched, waveform.shape)
        padded = np.zeros(waveform.shape, np.float32)
        padded[: len(stretched)] = stretched[: len(waveform)]
        return padded


class Noise(WaveformAugmentation):
    """Add white noise, ``amplitude`` * N(0, 1), independent in every channel (section 3: random noise)."""

    amplitude: float = Field(0.01, gt=0, le=1)

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Add the noise."""
        noise = rng.standard_normal(waveform.shape, dtype=np.float32)
        noise *= np.float32(self.amplitude)
        noise += waveform
        return noise


class Mix(WaveformAugmentation):
    """Add two clips of one scene, each with a weight of its own ~ U(``low_weight``, ``high_weight``) (section 3).

    The other clip may come from any device and place, but is never the clip itself.
    """

    low_weight: float = Field(0.5, ge=0, le=10)
    high_weight: float = Field(1.0, ge=0, le=10)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        _require_range("weight", self.low_weight, self.high_weight)
        return self

    def prepare(self, sound: TrainingSound) -> Ingredients | None:
        """Make sure that every clip can have a partner.

        Raises
        ------
        InputError
            If a scene has only one clip.
        """
        for scene, rows in sound.rows_by_scene.items():
            if len(rows) < 2:
                raise InputError(f"mix needs two training clips of every scene, got one of {scene!r}: leave mix out")
        return None

    def partner(self, sound: TrainingSound, row: int, rng: np.random.Generator) -> int | None:
        """Draw another clip of the same scene."""
        candidates = sound.rows_by_scene[str(sound.clips["scene"].iloc[row])]
        others = candidates[candidates != row]
        return int(others[rng.integers(len(others))])

    def __call__(
        self,
        waveform: Waveform,
        sample_rate: int,
        rng: np.random.Generator,
        *,
        partner: Waveform | None = None,
        **_: Any,
    ) -> Waveform:
        """Add ``partner``.

        Raises
        ------
        InputError
            If it has another shape.
        """
        if partner is None:
            raise ValueError("mix needs the clip that its `partner` method chose")
        if partner.shape != waveform.shape:
            raise InputError(
                f"mix needs clips of one shape, got {waveform.shape} and {partner.shape} (samples, channels): "
                "run asc-study data check"
            )
        own, other = rng.uniform(self.low_weight, self.high_weight, 2).astype(np.float32)
        mixed: Waveform = own * waveform + other * partner
        return mixed


def _require_range(what: str, low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low_{what} must be at most high_{what}, got {low:g} and {high:g}: swap them")


def _channels_last(channels: npt.NDArray[np.float32]) -> Waveform:
    return np.ascontiguousarray(channels.T, dtype=np.float32)
