"""Distillation: which row teaches, and how much is learned from it."""

from typing import Any

from pydantic import Field

from asc_study.base.schema import Strict


class DistillationConfig(Strict):
    """Train on what a teacher says of the training clips beside their labels (Hinton et al. 2015).

    ``teacher`` is a row of the same study, or an ensemble or fusion of it; a student of a seed learns from the teacher
    of that seed. The loss is ``weight`` * T^2 * KL(teacher || student) + (1 - ``weight``) * cross entropy, both
    distributions of the divergence softened by the ``temperature`` T. The defaults are those of the systems of DCASE
    2022 to 2024 (Schmid et al.).
    """

    teacher: str
    temperature: float = Field(2, gt=0, le=100)
    weight: float = Field(0.98, gt=0, le=1)

    def identity(self) -> dict[str, Any]:
        """Without the teacher's name: what it is stands beside the settings."""
        settings = super().identity()
        del settings["teacher"]
        return settings
