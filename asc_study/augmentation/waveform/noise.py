"""White noise."""

from typing import Any

import numpy as np
from pydantic import Field

from asc_study.augmentation.waveform import Waveform, WaveformAugmentation


class Noise(WaveformAugmentation):
    """Add white noise, ``amplitude`` * N(0, 1), independent in every channel (section 3: random noise)."""

    amplitude: float = Field(0.01, gt=0, le=1)

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Add the noise."""
        noise = rng.standard_normal(waveform.shape, dtype=np.float32)
        noise *= np.float32(self.amplitude)
        noise += waveform
        return noise
