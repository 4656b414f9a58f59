"""Distillation: which row teaches which, and how much is learned from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, did_you_mean


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


def depths(
    teachers: Mapping[str, str], tasks: Mapping[str, str], parts: Mapping[str, Sequence[str]], *, where: str = ""
) -> dict[str, int]:
    """How many trainings must come one after the other before each trained row: 0 for those without a teacher.

    Parameters
    ----------
    teachers
        Row -> its teacher, of those that have one.
    tasks
        Trained row -> its task.
    parts
        Ensemble -> what it is made of, the ten-class ones first.
    where
        What to call the file in an error.

    Raises
    ------
    InputError
        If a teacher is not there, is of another task, or learns itself, however indirectly, from its student.
    """

    def depth(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            circle = " <- ".join((*path[path.index(name) :], name))
            raise InputError(
                f"{where}: a teacher must not depend on its student, got {circle}: name another teacher, or list "
                "the rows of the ensemble under `fine` without the student"
            )
        if name in parts:
            return max(depth(part, (*path, name)) for part in parts[name])
        return depth(teachers[name], (*path, name)) + 1 if name in teachers else 0

    known = [*tasks, *parts]
    for row, teacher in teachers.items():
        what = f"{where}: row {shown(row)}: `distillation.teacher`"
        if teacher not in known:
            raise InputError(
                f"{what} must be a row or an ensemble of the study, got {shown(teacher)}: "
                f"{did_you_mean(teacher, known)}"
            )
        first = teacher
        while first in parts:
            first = parts[first][0]
        if tasks.get(first, tasks[row]) != tasks[row]:
            raise InputError(
                f"{what} must be of the task of its student, {tasks[row]}, got {shown(teacher)} of {tasks[first]}: "
                "name another"
            )
    return {row: depth(row, ()) for row in tasks}
