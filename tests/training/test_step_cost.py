"""Steps that are timed in a process of their own: what becomes of one that memory does not suffice for."""

import os

import pytest

from asc_study.base.errors import InputError
from asc_study.settings.run_config import resolve
from asc_study.training.step_cost import measure_apart


def test_a_process_that_the_system_ends_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("asc_study.training.step_cost.measure_step", lambda config, shape: os._exit(9))
    with pytest.raises(InputError, match=r"^steps of fcnn on 32 clips must fit into memory .*: lower .*batch_size$"):
        measure_apart(resolve({}), (128, 431, 1), 1)
