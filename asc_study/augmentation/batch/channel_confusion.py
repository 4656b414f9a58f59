"""Channel confusion: left and right change places."""

import numpy as np
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
        clips, bands, frames, channels = features.shape
        if channels % 2:
            raise InputError(
                f"channel_confusion needs stereo clips, got {channels} feature channels: leave it out for mono clips"
            )
        for clip in np.flatnonzero(rng.random(clips) < self.probability):
            pairs = features[clip].reshape(bands, frames, channels // 2, 2)
            pairs[...] = pairs[..., ::-1].copy()
        return features, one_hot
