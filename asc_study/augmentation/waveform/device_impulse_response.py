"""Device impulse responses: clips of device a as other microphones would have recorded them (Morocutti et al. 2023)."""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from asc_study.augmentation.waveform import ImpulseResponseAugmentation, Waveform


class DeviceImpulseResponse(ImpulseResponseAugmentation):
    """Convolve the clips of device a with the impulse response of a random microphone.

    Morocutti et al. 2023 and CP-Mobile (Schmid et al., DCASE 2023): the full convolution, cut to the clip's length, its
    level as it comes. ``impulse_responses`` names a folder of WAV files, such as those of MicIRP; without it
    ``microphones`` simulated ones are used. The authors draw anew in every epoch, for 40 or 60 % of the clips: of one
    copy, half of what is heard of device a is convolved; more ``copies`` have more microphones.
    """

    name: ClassVar[str] = "device_impulse_response"
    simulated: ClassVar[str] = "microphones"

    microphones: int = Field(66, ge=1, le=1000)

    def simulate(self, sample_rate: int) -> tuple[Waveform, ...]:
        """Simulated microphones."""
        from asc_study.acoustics.microphones import simulate_microphones

        return simulate_microphones(self.microphones, self.seed, sample_rate)

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
