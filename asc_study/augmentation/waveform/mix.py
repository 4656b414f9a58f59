"""Mix: the sum of two clips of one scene."""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from asc_study.augmentation.waveform import (
    Ingredients,
    TrainingSound,
    Waveform,
    WaveformAugmentation,
    require_range,
)
from asc_study.base.errors import InputError


class Mix(WaveformAugmentation):
    """Add two clips of one scene, each with a weight of its own ~ U(``low_weight``, ``high_weight``) (section 3).

    The other clip may come from any device and place, but is never the clip itself.
    """

    low_weight: float = Field(0.5, ge=0, le=10)
    high_weight: float = Field(1.0, ge=0, le=10)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        require_range("weight", self.low_weight, self.high_weight)
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
