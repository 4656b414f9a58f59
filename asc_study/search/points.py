"""Finite sets of points of a search space: its corners, which are checked before anything starts, and its grid."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from asc_study.base.errors import InputError
from asc_study.search.space import (
    CategoricalParameter,
    IntParameter,
    Parameter,
    Point,
    Space,
    applies,
    highest,
    meets,
    possible,
    tidied,
)


def corners(space: Space) -> Iterator[Point]:
    """Points that reach every low, high and choice at least once, so that a space that cannot work is found early."""
    seen = set()
    for extreme in ("low", "high"):
        wanted: list[dict[str, Any]] = [{}]
        wanted += [{name: value} for name, parameter in space.items() for value in _extremes(parameter)]
        for chosen in wanted:
            point = _completed(space, chosen, extreme)
            key = tuple(sorted((name, repr(value)) for name, value in point.items()))
            if key not in seen:
                seen.add(key)
                yield point


def grid_values(space: Space, *, where: str) -> dict[str, list[Any]]:
    """All values of every parameter, for a grid.

    Raises
    ------
    InputError
        If a parameter has no finite list of values, or is conditional.
    """
    values: dict[str, list[Any]] = {}
    for name, parameter in space.items():
        if parameter.when:
            raise InputError(
                f"{where}: the sampler 'grid' needs parameters without conditions, got `when` in {name!r}: it would "
                "try equal settings again; use another sampler"
            )
        if isinstance(parameter, CategoricalParameter):
            values[name] = list(parameter.labelled())
        elif parameter.step is None or parameter.log:
            raise InputError(
                f"{where}: the sampler 'grid' needs a `step` without `log`, got none in {name!r}: give one, or list "
                "choices"
            )
        elif isinstance(parameter, IntParameter):
            values[name] = list(range(parameter.low, parameter.high + 1, parameter.step))
        else:
            steps = math.floor((parameter.high - parameter.low) / parameter.step + 1e-9)
            values[name] = [tidied(parameter, parameter.low + k * parameter.step) for k in range(steps + 1)]
    return values


def grid_size(space: Space, *, where: str) -> int:
    """Number of points of the grid."""
    return math.prod(len(values) for values in grid_values(space, where=where).values())


def _extremes(parameter: Parameter) -> list[Any]:
    if isinstance(parameter, CategoricalParameter):
        return list(parameter.labelled())
    return [parameter.low, highest(parameter)]


def _completed(space: Space, chosen: Mapping[str, Any], extreme: str) -> Point:
    """A point with the chosen values; what they are conditional on is set so that they are drawn."""
    forced = dict(chosen)
    for name in reversed(list(space)):  # conditions look upwards
        if name in forced:
            for other, wanted in space[name].when.items():
                options = possible(space[other], wanted)
                forced.setdefault(other, next(value for value in options if meets(space[other], value, wanted)))
    point: Point = {}
    for name, parameter in space.items():
        if applies(parameter, point, space):
            ends = _extremes(parameter)
            usual = ends[0] if isinstance(parameter, CategoricalParameter) or extreme == "low" else ends[-1]
            point[name] = forced.get(name, usual)
    return point
