"""Pitch shift: higher or lower at the same speed."""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from asc_study.augmentation.waveform import Waveform, WaveformAugmentation, channels_last, require_range


class PitchShift(WaveformAugmentation):
    """Shift the pitch by U(``low_semitones``, ``high_semitones``) and keep the speed (section 3: pitch shift)."""

    low_semitones: float = Field(-4.0, ge=-24, le=24)
    high_semitones: float = Field(4.0, ge=-24, le=24)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        require_range("semitones", self.low_semitones, self.high_semitones)
        return self

    def __call__(self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, **_: Any) -> Waveform:
        """Shift by a phase vocoder and resampling (librosa)."""
        from librosa.effects import pitch_shift

        semitones = rng.uniform(self.low_semitones, self.high_semitones)
        return channels_last(pitch_shift(np.ascontiguousarray(waveform.T), sr=sample_rate, n_steps=semitones))
