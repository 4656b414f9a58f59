"""Waveform augmentations: each makes copies of training clips that sound different (section 3).

Every one is a frozen model of its settings, whose call takes one clip, ``(samples, channels)`` float32 with full scale
at 1, and returns another of the same shape. `asc_study.augmentation.copies` decides which clips are copied with which
random generator; the store computes and keeps the features.

Conventions: the values of a copy are drawn before the first is applied, one draw for all channels (noise alone is drawn
for each). Copies may exceed full scale: features are scaled clip by clip, so clipping would only add distortion that no
device makes. What clips by itself, the compander of `reverb_drc`, does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

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


class ImpulseResponseAugmentation(ReferenceDeviceAugmentation):
    """Base of those that convolve a clip with a random impulse response: of a folder of WAV files, or simulated."""

    #: The setting that says how many responses are simulated.
    simulated: ClassVar[str]

    impulse_responses: str | None = Field(None, min_length=1)

    def identity(self) -> dict[str, Any]:
        """With the content of the impulse responses in place of their folder; how many are simulated if they are."""
        settings = super().identity()
        if self.impulse_responses is not None:
            from asc_study.acoustics.impulse_responses import content_digest

            settings["impulse_responses"] = content_digest(Path(self.impulse_responses))
            del settings[self.simulated]
        return settings

    def simulate(self, sample_rate: int) -> tuple[npt.NDArray[np.float32], ...]:
        """Simulated responses, (samples,) each, for clips of that rate in Hz."""
        raise NotImplementedError

    def prepare(self, sound: TrainingSound) -> Ingredients:
        """Load or simulate the impulse responses, a tuple of (samples,) float32.

        Raises
        ------
        InputError
            If there are no clips of device a, or the folder holds no WAV file or one that is unreadable or silent.
        """
        from asc_study.acoustics.impulse_responses import load_impulse_responses

        self.rows(sound)
        if self.impulse_responses is None:
            responses = self.simulate(sound.sample_rate)
        else:
            responses = load_impulse_responses(Path(self.impulse_responses), sound.sample_rate)
        digests = [hashlib.sha256(response.tobytes()).digest() for response in responses]
        return Ingredients(hashlib.sha256(b"".join(digests)).hexdigest(), responses)


def require_range(what: str, low: float, high: float) -> None:
    """Raise `ValueError` if the ends of a range, ``low_<what>`` and ``high_<what>``, are the wrong way round."""
    if low > high:
        raise ValueError(f"low_{what} must be at most high_{what}, got {low:g} and {high:g}: swap them")


def channels_last(channels: npt.NDArray[np.float32]) -> Waveform:
    """Turn librosa's (channels, samples) into (samples, channels)."""
    return np.ascontiguousarray(channels.T, dtype=np.float32)
