"""What the options of all architectures share; free of Keras, so that a study can be checked without loading it."""

from pydantic import Field

from asc_study.base.schema import Strict


class ModelOptions(Strict):
    """Base of the architectures' options: strict, and with a ``width``."""

    #: Scales the number of filters of every convolution but the last, which has one a class.
    width: float = Field(1.0, gt=0, le=16)

    #: Momentum of the running statistics of batch normalisation (the paper's systems: Keras' default, 0.99). They need
    #: several hundred steps to settle at 0.99; a short training on little data wants less.
    batch_norm_momentum: float = Field(0.99, ge=0, lt=1)

    def filters(self, base: float) -> int:
        """Return ``base`` filters scaled by ``width``, rounded to the nearest whole number, at least 1."""
        return max(1, round(base * self.width))
