"""Speed change: faster or slower at the same pitch."""

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from asc_study.augmentation.waveform import Waveform, WaveformAugmentation, channels_last, require_range


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
        require_range("factor", self.low_factor, self.high_factor)
        return self

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Stretch or squeeze by a phase vocoder (librosa)."""
        from librosa.effects import time_stretch

        factor = rng.uniform(self.low_factor, self.high_factor)
        stretched = channels_last(time_stretch(np.ascontiguousarray(waveform.T), rate=factor))
        if self.fill == "repeat":
            return np.resize(stretched, waveform.shape)
        padded = np.zeros(waveform.shape, np.float32)
        padded[: len(stretched)] = stretched[: len(waveform)]
        return padded
