"""What runs for a clip, of systems that hear each device by a model of its own: one of these models, not all."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from asc_study.base.contract import Tag
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of

#: Stands for devices that a system has no model of their own for: no device is called so.
GENERAL: Final = ""


def routes_tag(members: Iterable[RunRecord], devices: Mapping[str, int]) -> dict[str, str]:
    """The tag of a system by device, of the places of its members, the first of which is general; else none."""
    ids = [record.run_id for record in members]
    if not devices:
        return {}
    return {Tag.ROUTES: json.dumps({"general": ids[0], "devices": {device: ids[at] for device, at in devices.items()}})}


def routes_of(record: RunRecord) -> dict[str, str]:
    """Device -> id of the member that hears it, of `GENERAL` all others; empty if all members are heard of each clip.

    So also if its tag was changed by hand to what names no members.
    """
    try:
        routes = json.loads(record.tags.get(Tag.ROUTES, "{}"))
        found = {GENERAL: routes["general"], **routes["devices"]}
        return found if set(members_of(record)) == set(found.values()) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def running(record: RunRecord, device: str | None) -> list[str]:
    """Ids of the members of a system that run for a clip of a device; None: those of all devices together."""
    routes = routes_of(record) if device is not None else {}
    return [routes.get(device or "", routes[GENERAL])] if routes else members_of(record)


def routed_devices(record: RunRecord, find: Callable[[str], RunRecord | None]) -> list[str]:
    """`GENERAL` and the devices that a system, or one inside of it, has a model of their own for; else nothing.

    Parameters
    ----------
    record
        The system.
    find
        The run of an id.
    """
    found: dict[str, None] = {}
    seen, left = {record.run_id}, [record]
    while left:
        one = left.pop(0)
        found |= dict.fromkeys(routes_of(one))
        new = [run_id for run_id in members_of(one) if run_id not in seen]
        seen.update(new)
        left += [member for run_id in new if (member := find(run_id))]
    return list(found)
