"""The state of a page and its address are a pair."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import pytest

from dashboards.links import link
from dashboards.pages import PAGES
from dashboards.state import State, decode, encode, state_of


@dataclass(frozen=True)
class _Everything(State):
    rows: tuple[str, ...] = ()
    split: Literal["test", "validation"] = "test"
    on: bool = False
    exponent: float = 1.0
    count: int = 3


STATES = [
    _Everything(),
    _Everything(study=("a/b", "c & d=e"), reference="<b>+%20", rows=("x", "é 漢"), split="validation"),
    _Everything(on=True, exponent=0.25, count=-7),
]


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_what_is_encoded_is_decoded(state: _Everything) -> None:
    assert decode(_Everything, encode(state)) == state
    assert decode(_Everything, "?" + encode(state)) == state


def test_defaults_are_not_written() -> None:
    assert encode(_Everything()) == ""
    assert encode(_Everything(on=True)) == "on=1"


@pytest.mark.parametrize(
    "query",
    ["split=train", "on=perhaps", "exponent=nan", "exponent=inf", "count=1.5", "nobody=knows", "rows=", "%%%", "&&=&"],
)
def test_what_no_field_allows_is_ignored(query: str) -> None:
    assert decode(_Everything, query) == _Everything()


def test_values_of_controls_make_a_state() -> None:
    told: dict[str, Any] = {"rows": ["a", "b"], "on": True, "exponent": 0.5, "split": "validation", "reference": None}
    assert state_of(_Everything, told) == _Everything(rows=("a", "b"), on=True, exponent=0.5, split="validation")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_every_page_survives_the_round_trip_of_each_field(page: Any) -> None:
    samples = {tuple: ("one", "two"), bool: True, float: 0.5, int: 2, str: "a text"}
    for one in fields(page.state):
        value = samples.get(type(one.default), "a text")
        state = decode(page.state, encode(page.state(**{one.name: value})))
        assert getattr(state, one.name) in (value, one.default)  # a field of few values may refuse the sample
        assert decode(page.state, encode(state)) == state


def test_links_say_what_is_chosen_and_nothing_else() -> None:
    assert link("/devices") == "/devices"
    assert link("/devices", study=("a b",), reference="", rows=("x", "y")) == "/devices?study=a+b&rows=x&rows=y"
