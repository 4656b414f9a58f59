"""Training that goes on from the weights of another row, and what it is then made fit for."""

from typing import Any

from pydantic import Field

from asc_study.base.schema import Strict


class ContinuationConfig(Strict):
    """Begin with the weights of another row of the same study, of the same seed.

    ``row`` is trained first. It must have the same network; everything else, such as `training`, is this row's own.
    """

    row: str

    def identity(self) -> dict[str, Any]:
        """Without the row's name: what it is stands beside the settings."""
        settings = super().identity()
        del settings["row"]
        return settings


class QuantisationConfig(Strict):
    """Train on what 8 bits leave of weights and activations (Jacob et al. 2018), from the weights of a trained row.

    Batch normalisation is part of the convolution before it, with the statistics that it has. A weight is rounded to
    254 steps of its output channel; an activation to 256 steps of a range that follows the least and greatest value of
    the batches, by a running mean of momentum ``range_momentum``, and stands still in the last ``frozen_share`` of the
    steps (4 of 24 epochs in the systems of DCASE 2023, Schmid et al.).
    """

    range_momentum: float = Field(0.99, ge=0, lt=1)
    frozen_share: float = Field(0.2, ge=0, lt=1)
