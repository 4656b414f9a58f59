"""What the networks of a study may cost at most, as the DCASE challenges limit it from 2022 on."""

from typing import Final, Literal

from pydantic import Field

from asc_study.base.schema import Strict

#: Precision -> bytes of a parameter.
BYTES: Final = {"float32": 4, "float16": 2, "int8": 1}


class Limits(Strict):
    """Limits of each trained row; one that is not given is none.

    ``params_bytes`` are the bytes of all trained parameters, zeros too, at ``precision``, that in which the network
    will be deployed; running statistics of batch normalisation do not count. ``macs`` are the multiply-accumulates of
    one whole clip by the challenges' rule (`asc_study.models.cost.count_torchinfo_macs`). DCASE 2024 and 2025: 128,000
    and 30,000,000.
    """

    params_bytes: int | None = Field(None, ge=1)
    macs: int | None = Field(None, ge=1)
    precision: Literal["float32", "float16", "int8"] = "float32"

    @property
    def any(self) -> bool:
        """Whether something is limited."""
        return self.params_bytes is not None or self.macs is not None


NO_LIMITS: Final = Limits()
