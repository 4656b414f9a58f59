"""Reverberation and dynamic range compression: clips of device a as a simulated device would have recorded them.

Hu et al. 2020, section 3: the organisers of DCASE 2020 made the devices s1-s11 so.
"""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from asc_study.augmentation.waveform import Ingredients, ReferenceDeviceAugmentation, TrainingSound, Waveform


class ReverbDRC(ReferenceDeviceAugmentation):
    """Convolve the clips of device a with a random room, then compress them with a random preset (section 3).

    The response is aligned at its peak and keeps the clip's level, what rings past the end is cut; the five presets are
    those of `asc_study.acoustics.compander`, which starts at full scale and clips, as SoX does. ``impulse_responses``
    names a folder of WAV files; without it ``rooms`` simulated ones are used.
    """

    name: ClassVar[str] = "reverb_drc"

    impulse_responses: str | None = Field(None, min_length=1)
    rooms: int = Field(20, ge=1, le=1000)

    def identity(self) -> dict[str, Any]:
        """With the content of the impulse responses in place of their folder; the rooms count if they are used."""
        settings = super().identity()
        if self.impulse_responses is not None:
            from asc_study.acoustics.impulse_responses import content_digest

            settings["impulse_responses"] = content_digest(Path(self.impulse_responses))
            del settings["rooms"]
        return settings

    def prepare(self, sound: TrainingSound) -> Ingredients:
        """Load or simulate the impulse responses, a tuple of (samples,) float32.

        Raises
        ------
        InputError
            If there are no clips of device a, or the folder holds no WAV file or one that is unreadable or silent.
        """
        from asc_study.acoustics.impulse_responses import load_impulse_responses
        from asc_study.acoustics.rooms import simulate_rooms

        self.rows(sound)
        if self.impulse_responses is None:
            responses = simulate_rooms(self.rooms, self.seed, sound.sample_rate)
        else:
            responses = load_impulse_responses(Path(self.impulse_responses), sound.sample_rate)
        digests = [hashlib.sha256(response.tobytes()).digest() for response in responses]
        return Ingredients(hashlib.sha256(b"".join(digests)).hexdigest(), responses)

    def __call__(
        self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, *, ingredients: Any = None, **_: Any
    ) -> Waveform:
        """Convolve and compress; the result is clipped to [-1, 1]."""
        from asc_study.acoustics.compander import PRESETS, compand
        from asc_study.acoustics.impulse_responses import convolve

        response = ingredients[rng.integers(len(ingredients))]
        preset = list(PRESETS.values())[rng.integers(len(PRESETS))]
        return compand(convolve(waveform, response), sample_rate, preset)
