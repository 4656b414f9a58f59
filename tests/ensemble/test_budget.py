import re
from functools import partial

import pytest

from asc_study.base.errors import InputError
from asc_study.ensemble.budget import select_within
from asc_study.ensemble.select import SelectionRule
from asc_study.ensemble.stack import stack


@pytest.fixture
def sample(make_table):
    """A good large system, two middling small ones, a bad tiny one."""
    tables = {
        name: make_table(i, skill=skill) for i, (name, skill) in enumerate({"l": 3.0, "m": 1.2, "n": 1.2}.items())
    }
    return stack(tables | {"t": make_table(9, skill=0.1)})


SIZES = {"l": 400.0, "m": 100.0, "n": 120.0, "t": 10.0}


def members(sample, budget: float, max_members: int = 4) -> set[str]:
    chosen = select_within(sample, kilobytes=SIZES, budget=budget, metric="acc_avg", max_members=max_members)
    return set(chosen.weights())


def test_the_best_set_that_fits_is_taken(sample):
    assert "l" in members(sample, 1000)
    assert members(sample, 399) == {"m", "n"}
    assert members(sample, 119) == {"m"}
    assert members(sample, 99) == {"t"}
    assert len(members(sample, 399, max_members=1)) == 1


def test_what_was_chosen_says_what_it_weighs(sample):
    choose = partial(select_within, kilobytes=SIZES, budget=250, metric="acc_avg", max_members=4)
    fitted = SelectionRule(choose).fit(sample)
    assert re.fullmatch(r"the best of \d+ sets that fit in 250.0 kB, with 220.0 kB", fitted.selection.ended)
    assert fitted.combine(sample).shape == (200, 10)


def test_a_budget_that_nothing_fits_is_refused(sample):
    with pytest.raises(InputError, match=r"must fit in 9.0 kB, got 10.0 kB of the smallest, 't': raise `max_kb`"):
        members(sample, 9)


def test_too_many_candidates_are_refused(make_table):
    many = stack({f"s{i:02}": make_table(i, clips=40) for i in range(17)})
    with pytest.raises(InputError, match="at most 16 candidates, got 17"):
        select_within(many, kilobytes=dict.fromkeys(many.names, 1.0), budget=5, metric="acc_avg", max_members=2)
