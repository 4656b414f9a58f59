"""Fuzzers: whatever comes in is a value or one line for people, never a traceback, a wait or a secret.

Short and the same each time by default; ``ASC_STUDY_FUZZ=N`` tries N times as much, from a seed that
``--hypothesis-seed`` sets (`make fuzz`).
"""

from collections.abc import Callable
from typing import Any

import pytest

from asc_study.base.errors import InputError

#: What error lines are kept below.
LONGEST = 1600


@pytest.fixture(scope="session")
def value_or_line() -> Callable[..., Any]:
    """A function that calls another one; None stands for an `InputError`, which must be one line, not too long."""

    def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except InputError as error:
            line = str(error)
            assert line.strip()
            assert len(line.splitlines()) == 1, line
            assert len(line) < LONGEST, line
            return None

    return call
