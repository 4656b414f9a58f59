"""What the suites share: how a broken rule is told, and rules that hold for parts of several kinds."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError


def require(kept: bool, rule: str) -> None:
    """Raise an AssertionError with the rule unless it is kept."""
    if not kept:
        raise AssertionError(rule)


def same(first: Any, second: Any) -> bool:
    """Whether two arrays are equal in shape, type and every value."""
    one, other = np.asarray(first), np.asarray(second)
    return one.dtype == other.dtype and np.array_equal(one, other)


def check_settings(model: type[BaseModel]) -> None:
    """Check that a model of settings refuses what it does not know."""
    try:
        model.model_validate({"no_such_setting": 1})
    except ValidationError as error:
        refused = any(problem["type"] == "extra_forbidden" for problem in error.errors())
    else:
        refused = False
    require(refused, f"unknown settings must be refused, {model.__name__} takes 'no_such_setting': derive from ours")


def check_part(part: BaseModel) -> None:
    """Check that an augmentation is made again from its settings, and that it travels to other processes."""
    check_settings(type(part))
    settings = part.model_dump()
    require(
        type(part).model_validate(settings) == part,
        f"an augmentation must be made again by the settings that it shows, got {settings}: add no hidden state",
    )
    try:
        travelled = pickle.loads(pickle.dumps(part))
    except Exception as error:
        raise AssertionError(
            f"an augmentation must go to other processes, got {type(error).__name__}: {error}: define its class at the "
            "top level of a module"
        ) from error
    require(travelled == part, "an augmentation must arrive in other processes as it was")


@contextmanager
def without_global_draws(rule: str) -> Iterator[None]:
    """Check that a block leaves NumPy's global random state alone."""
    before = _global_state()
    yield
    require(_global_state() == before, f"{rule} must draw from the generator that is passed, not from numpy.random")


def _global_state() -> str:
    return repr([np.asarray(word).tolist() for word in np.random.get_state()])  # noqa: NPY002
