"""Channel confusion: left and right change places."""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from asc_study.augmentation.batch import BatchAugmentation, FloatArray
from asc_study.base.errors import InputError


class ChannelConfusion(BatchAugmentation):
    """Swap the left and the right channel of a clip with a probability (section 3; Task 1b)."""

    probability: float = Field(0.5, ge=0, le=1)

    def __call__(
        self, features: FloatArray, one_hot: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Swap in place; channels are left, right pairs: static, delta, delta-delta.

        Raises
        ------
        InputError
            If the channels do not come in pairs.
        """
        _, bands, frames, channels = features.shape
        for clip in np.flatnonzero(self.draw(features.shape, rng)):
            pairs = features[clip].reshape(bands, frames, channels // 2, 2)
            pairs[...] = pairs[..., ::-1].copy()
        return features, one_hot

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Whether the channels of each clip change places, for clips of a shape: (clips,)."""
        clips, _, _, channels = shape
        require_pairs(channels)
        return rng.random(clips) < self.probability


def require_pairs(channels: int) -> None:
    """Raise `InputError` if channels are not left, right pairs."""
    if channels % 2:
        raise InputError(
            f"channel_confusion needs stereo clips, got {channels} feature channels: leave it out for mono clips"
        )
