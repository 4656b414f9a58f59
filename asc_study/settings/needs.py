"""Rows that need other rows of their study: whose teachers they are, or whose weights they go on from."""

from collections.abc import Mapping, Sequence
from typing import Any

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import did_you_mean
from asc_study.settings.run_config import RunConfig


def depths(
    needs: Mapping[str, Mapping[str, str]],
    tasks: Mapping[str, str],
    parts: Mapping[str, Sequence[str]],
    *,
    where: str = "",
) -> dict[str, int]:
    """How many trainings must come one after the other before each trained row: 0 for those that need none.

    Parameters
    ----------
    needs
        Row -> setting -> what it names, of those that need any.
    tasks
        Trained row -> its task.
    parts
        Ensemble -> what it is made of, the ten-class ones first.
    where
        What to call the file in an error.

    Raises
    ------
    InputError
        If what is named is not there, is of another task, or needs, however indirectly, the row that names it.
    """

    def depth(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            circle = " <- ".join((*path[path.index(name) :], name))
            raise InputError(
                f"{where}: a row must not depend on itself, got {circle}: name another teacher or row, or list the "
                "rows of the ensemble under `fine` without this one"
            )
        if name in parts:
            return max(depth(part, (*path, name)) for part in parts[name])
        return max((depth(named, (*path, name)) + 1 for named in needs.get(name, {}).values()), default=0)

    known = [*tasks, *parts]
    for row, settings in needs.items():
        for setting, named in settings.items():
            what = f"{where}: row {shown(row)}: `{setting}`"
            if named not in known:
                raise InputError(
                    f"{what} must be a row or an ensemble of the study, got {shown(named)}: "
                    f"{did_you_mean(named, known)}"
                )
            first = named
            while first in parts:
                first = parts[first][0]
            if tasks.get(first, tasks[row]) != tasks[row]:
                raise InputError(
                    f"{what} must be of the task of the row, {tasks[row]}, got {shown(named)} of {tasks[first]}: "
                    "name another"
                )
    return {row: depth(row, ()) for row in tasks}


def require_networks(rows: Mapping[str, RunConfig], *, where: str) -> None:
    """Raise `InputError` unless each row that continues another has the network of that one.

    Parameters
    ----------
    rows
        Trained row -> its settings.
    where
        What to call the file in an error.
    """
    for name, config in rows.items():
        if config.continues is None:
            continue
        what = f"{where}: row {shown(name)}: `continues.row`"
        begun = rows.get(config.continues.row)
        if begun is None:
            raise InputError(f"{what} must be a trained row, got the ensemble {shown(config.continues.row)}: name one")
        if begun.folds or begun.training.select_epoch == "snapshots" or begun.quantisation_aware:
            got = "folds" if begun.folds else "snapshots" if not begun.quantisation_aware else "rounded weights"
            raise InputError(
                f"{what} must be one network in float32, got {shown(config.continues.row)} with {got}: name another"
            )
        own, theirs = _network(config), _network(begun)
        if differing := [key for key in own if own[key] != theirs[key]]:
            raise InputError(
                f"{what} must have the network of the row, got another {', '.join(differing)} in "
                f"{shown(config.continues.row)}: make them equal"
            )


def _network(config: RunConfig) -> dict[str, Any]:
    """What the weights of a network belong to."""
    return config.model_dump(mode="json", include={"architecture", "model", "features"})
