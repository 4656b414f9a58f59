"""What pyproject.toml allows and what requirements.lock pins, held to each other without a network."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
#: Lines that pin a package; the others are their hashes.
PINS = [line.removesuffix("\\").strip() for line in LOCK.splitlines() if line and not line[0].isspace()]


def declared() -> list[Requirement]:
    """The dependencies of the package and of all its extras."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = PROJECT["project"]["dependencies"] + [line for extra in extras.values() for line in extra]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_a_dependency_has_a_lower_bound_that_the_lock_satisfies(requirement: Requirement) -> None:
    assert [specifier.operator for specifier in requirement.specifier] == [">="], "one lower bound, no other limit"
    pinned = {canonicalize_name(pin.name): pin for pin in map(Requirement, PINS)}
    (pin,) = pinned[canonicalize_name(requirement.name)].specifier
    assert pin.operator == "=="
    assert pin.version in requirement.specifier


def test_extras_and_dev_agree_on_the_lower_bounds() -> None:
    bounds = {(requirement.name, str(requirement.specifier)) for requirement in declared()}
    assert len(bounds) == len({name for name, _ in bounds})


def test_the_lock_has_one_version_of_each_package_for_every_python() -> None:
    counts = Counter(canonicalize_name(Requirement(pin).name) for pin in PINS)
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_lock_names_no_address() -> None:
    """Addresses of an index or of a file are those of one machine."""
    rest = re.sub(r"(?m)^ +--hash=sha256:[0-9a-f]{64}( \\)?$", "", LOCK)
    assert [line for line in rest.splitlines() if re.search(r"://|@|--|file:|\.\.?/", line)] == []


def test_every_pin_has_a_hash() -> None:
    assert [line for line in LOCK.splitlines() if line and not line[0].isspace() and not line.endswith("\\")] == []
