"""Device impulse responses: clips of device a as other microphones would have recorded them (Morocutti et al. 2023)."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from asc_study.augmentation.waveform import Ingredients, ReferenceDeviceAugmentation, TrainingSound, Waveform


class DeviceImpulseResponse(ReferenceDeviceAugmentation):
    """Convolve the clips of device a with the impulse response of a random microphone.

    Morocutti et al. 2023 and CP-Mobile (Schmid et al., DCASE 2023): the full convolution, cut to the clip's length, its
    level as it comes. ``impulse_responses`` names a folder of WAV files, such as those of MicIRP; without it
    ``microphones`` simulated ones are used. The authors draw anew in every epoch, for 40 or 60 % of the clips: of one
    copy, half of what is heard of device a is convolved; more ``copies`` have more microphones.
    """

    name: ClassVar[str] = "device_impulse_response"

    impulse_responses: str | None = Field(None, min_length=1)
    microphones: int = Field(66, ge=1, le=1000)

    def identity(self) -> dict[str, Any]:
        """With the content of the impulse responses in place of their folder; simulated ones count if they are used."""
        settings = super().identity()
        if self.impulse_responses is not None:
            from asc_study.acoustics.impulse_responses import content_digest

            settings["impulse_responses"] = content_digest(Path(self.impulse_responses))
            del settings["microphones"]
        return settings

    def prepare(self, sound: TrainingSound) -> Ingredients:
        """Load or simulate the impulse responses, a tuple of (samples,) float32.

        Raises
        ------
        InputError
            If there are no clips of device a, or the folder holds no WAV file or one that is unreadable or silent.
        """
        from asc_study.acoustics.impulse_responses import load_impulse_responses
        from asc_study.acoustics.microphones import simulate_microphones

        self.rows(sound)
        if self.impulse_responses is None:
            responses = simulate_microphones(self.microphones, self.seed, sound.sample_rate)
        else:
            responses = load_impulse_responses(Path(self.impulse_responses), sound.sample_rate)
        digests = [hashlib.sha256(response.tobytes()).digest() for response in responses]
        return Ingredients(hashlib.sha256(b"".join(digests)).hexdigest(), responses)

    def __call__(
        self, waveform: Waveform, sample_rate: int, rng: np.random.Generator, *, ingredients: Any = None, **_: Any
    ) -> Waveform:
        """Convolve with one of the responses."""
        from scipy import fft

        response = ingredients[rng.integers(len(ingredients))]
        length = fft.next_fast_len(len(waveform) + len(response) - 1, real=True)
        transfer = fft.rfft(response, length)[:, np.newaxis]
        wet = fft.irfft(fft.rfft(waveform, length, axis=0) * transfer, length, axis=0)
        return np.ascontiguousarray(wet[: len(waveform)], dtype=np.float32)
