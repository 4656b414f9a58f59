"""Which members of a system run for a clip of a device."""

import json

import pytest

from asc_study.base.contract import Tag
from asc_study.store.records import RunRecord
from asc_study.store.routes import GENERAL, routed_devices, routes_of, routes_tag, running


def record(run_id: str, members: tuple[str, ...] = (), **tags: str) -> RunRecord:
    known = {Tag.ROW: run_id, Tag.MEMBERS: json.dumps(members), **tags}
    return RunRecord(run_id, "1", "FINISHED", known, {}, {}, 0.0)


def routed(run_id: str, *members: str, **devices: int) -> RunRecord:
    return record(run_id, members, **routes_tag([record(one) for one in members], devices))


def test_one_member_runs_for_a_clip_of_a_system_by_device():
    system = routed("r", "general", "of-a", a=1, s1=1)
    assert routes_of(system) == {GENERAL: "general", "a": "of-a", "s1": "of-a"}
    assert [running(system, device) for device in ("a", "s1", "b", GENERAL)] == [
        ["of-a"], ["of-a"], ["general"], ["general"],
    ]  # fmt: skip
    assert running(system, None) == ["general", "of-a"]
    assert running(record("e", ("x", "y")), "a") == ["x", "y"]


def test_the_devices_of_what_is_inside_count_too():
    runs = {one.run_id: one for one in (routed("r", "general", "of-a", a=1), routed("q", "x", "of-b", b=1))}
    assert routed_devices(record("e", ("r", "q", "gone")), runs.get) == [GENERAL, "a", "b"]
    assert routed_devices(record("e", ("x", "y")), runs.get) == []


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "7",
        "{}",
        '{"general": "x", "devices": {}}',
        '{"general": [], "devices": 3}',
        '{"general": [], "devices": {}}',
    ],
)
def test_a_tag_that_was_changed_by_hand_routes_nothing(text):
    assert routes_of(record("r", ("general", "of-a"), **{Tag.ROUTES: text})) == {}
