"""Reverberation and dynamic range compression: clips of device a as a simulated device would have recorded them.

Hu et al. 2020, section 3: the organisers of DCASE 2020 made the devices s1-s11 so.
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from asc_study.augmentation.waveform import ImpulseResponseAugmentation, Waveform


class ReverbDRC(ImpulseResponseAugmentation):
    """Convolve the clips of device a with a random room, then compress them with a random preset (section 3).

    The response is aligned at its peak and keeps the clip's level, what rings past the end is cut; the five presets are
    those of `asc_study.acoustics.compander`, which starts at full scale and clips, as SoX does. ``impulse_responses``
    names a folder of WAV files; without it ``rooms`` simulated ones are used.
    """

    name: ClassVar[str] = "reverb_drc"
    simulated: ClassVar[str] = "rooms"

    rooms: int = Field(20, ge=1, le=1000)

    def simulate(self, sample_rate: int) -> tuple[Waveform, ...]:
        """Simulated rooms."""
        from asc_study.acoustics.rooms import simulate_rooms

        return simulate_rooms(self.rooms, self.seed, sample_rate)

    def __call__(
        self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, *, ingredients: Any = None, **_: Any
    ) -> Waveform:
        """Convolve and compress; the result is clipped to [-1, 1]."""
        from asc_study.acoustics.compander import PRESETS, compand
        from asc_study.acoustics.impulse_responses import convolve

        response = ingredients[rng.integers(len(ingredients))]
        preset = list(PRESETS.values())[rng.integers(len(PRESETS))]
        return compand(convolve(waveform, response), sample_rate, preset)
