"""Which networks a system is made of, and with what weights: from names on the command line, or from a fusion's run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from asc_study.base.errors import InputError
from asc_study.deploy.runtime.fusion import MEANS, Fusion, Stage
from asc_study.deploy.sources import one_run
from asc_study.store.queries import Reader, RunRecord
from asc_study.store.references import find_runs

#: Kinds of runs that are one network.
NETWORKS = ("train", "quantised")


@dataclass(frozen=True)
class Recipe:
    """The runs of each stage, every one a network, and how they are fused; ``fusion`` has no group columns yet."""

    fine: tuple[RunRecord, ...]
    coarse: tuple[RunRecord, ...]
    fusion: Fusion


def make_recipe(tracker: Reader, fine: Sequence[str], coarse: Sequence[str], fusion: str) -> Recipe:
    """Find the networks that a user named.

    Parameters
    ----------
    tracker
        The store.
    fine, coarse
        Runs of either stage; none with a fusion's run, whose members are taken then.
    fusion
        ``average`` or ``product`` (of the networks of a stage; stages are joined by the paper's product), or a run of
        kind ensemble or fusion, which says all: its members and its weights.

    Raises
    ------
    InputError
        If a name stands for nothing, a run is no network, or the fusion cannot be carried by a bundle.
    """
    if fusion in MEANS:
        if not fine:
            raise InputError(
                "a bundle needs networks, got none: name runs with --fine, or a fusion's run with --fusion"
            )
        stages = [_equal(_networks(tracker, names), fusion) for names in (fine, coarse)]
        (first, rule), (second, other) = stages
        return Recipe(first, second, Fusion(rule, other if second else None))
    record = one_run(tracker, fusion, ("ensemble", "fusion"))
    recipe = _of_run(tracker, record)
    for given, names, option in ((recipe.fine, fine, "--fine"), (recipe.coarse, coarse, "--coarse")):
        if names and (named := [_trained(found) for found in _networks(tracker, names)]) != [r.run_id for r in given]:
            raise InputError(
                f"{option} must name the networks of {fusion!r} in their order, got {len(named)} where it has "
                f"{', '.join(r.label for r in given) or 'none'}: leave {option} out, they are known"
            )
    return Recipe(
        tuple(_networks(tracker, fine)) if fine else recipe.fine,
        tuple(_networks(tracker, coarse)) if coarse else recipe.coarse,
        recipe.fusion,
    )


def _networks(tracker: Reader, names: Sequence[str]) -> list[RunRecord]:
    """The runs that names stand for, each a network."""
    records = [record for name in names for record in find_runs(tracker, name)]
    for record in records:
        if record.tags.get("asc.kind") not in NETWORKS:
            raise InputError(
                f"a member of a bundle is a trained or quantised run, {record.label!r} is of kind "
                f"{record.tags.get('asc.kind')}: bundle it with --fusion, or name its members"
            )
    ids = [_trained(record) for record in records]
    if len(set(ids)) < len(ids):
        twice = next(record for record, run_id in zip(records, ids, strict=True) if ids.count(run_id) > 1)
        raise InputError(f"each network can be named once, got {twice.label!r} twice: name it once")
    return records


def _trained(record: RunRecord) -> str:
    """Id of the trained run behind a network."""
    made_of = json.loads(record.tags.get("asc.members", "[]"))
    return str(made_of[0]) if record.tags.get("asc.kind") == "quantised" else record.run_id


def _equal(records: Sequence[RunRecord], rule: str) -> tuple[tuple[RunRecord, ...], Stage]:
    count = max(1, len(records))
    return tuple(records), Stage(rule, (1 / count,) * count)


def _of_run(tracker: Reader, record: RunRecord) -> Recipe:
    """The recipe of an ensemble or a fusion."""
    parts, settings = _parts(tracker, record), _settings(tracker, record)
    if record.tags["asc.kind"] == "ensemble" or not settings.get("coarse"):
        networks, stage = _stage(tracker, record)
        return Recipe(networks, (), Fusion(stage))
    if settings.get("join") != "product" or not isinstance(settings.get("exponent"), int | float):
        raise _unsupported(record, f"the join {settings.get('join')!r} with exponent {settings.get('exponent')!r}")
    count = int(settings["fine"])
    rule = _rule(record, settings)
    stages = [_joined(tracker, rule, group) for group in (parts[:count], parts[count:])]
    (fine, first), (coarse, second) = stages
    return Recipe(fine, coarse, Fusion(first, second, float(settings["exponent"])))


def _stage(tracker: Reader, record: RunRecord) -> tuple[tuple[RunRecord, ...], Stage]:
    """The networks below a run of one task, and their stage."""
    if record.tags["asc.kind"] in NETWORKS:
        return (record,), Stage("average", (1.0,))
    parts, settings = _parts(tracker, record), _settings(tracker, record)
    if settings.get("coarse"):
        raise _unsupported(record, "two stages inside of a stage")
    rule = _rule(record, settings)
    if record.tags["asc.kind"] == "fusion":
        return _joined(tracker, rule, parts)
    if rule != "average":
        raise _unsupported(record, f"the fusion {rule!r} of chosen members")
    weights = list(tracker.json_artifact(record.run_id, "members.json").values())
    if len(weights) != len(parts):
        raise InputError(f"ensemble {record.label!r} does not say the weights of its members: make it again")
    return _joined(tracker, rule, parts, weights)


def _joined(
    tracker: Reader, rule: str, parts: Sequence[RunRecord], weights: Sequence[float] = ()
) -> tuple[tuple[RunRecord, ...], Stage]:
    """Parts of one task become one stage: means of means are weighted means."""
    below = [_stage(tracker, part) for part in parts]
    if rule == "product" and any(len(stage.weights) > 1 for _, stage in below):
        raise InputError("a bundle holds no product of ensembles: fuse their members, or take the average")
    shares = [weight / sum(weights) for weight in weights] or [1 / len(parts)] * len(parts)
    flat = tuple(share * weight for share, (_, stage) in zip(shares, below, strict=True) for weight in stage.weights)
    if any(stage.rule != "average" for _, stage in below):
        raise InputError("a bundle holds no mean of products: fuse their members, or take the average")
    return tuple(network for networks, _ in below for network in networks), Stage(rule, flat)


def _rule(record: RunRecord, settings: dict[str, Any]) -> str:
    rule = str(settings.get("fusion", "average"))
    if rule not in MEANS:
        raise _unsupported(record, f"the fusion {rule!r}")
    return rule


def _parts(tracker: Reader, record: RunRecord) -> list[RunRecord]:
    found = [tracker.run(run_id) for run_id in json.loads(record.tags.get("asc.members", "[]"))]
    known = [part for part in found if part is not None]
    if not known or len(known) < len(found):
        raise InputError(f"members of {record.label!r} were deleted from the store: make it again")
    for part in known:
        if part.tags.get("asc.kind") not in (*NETWORKS, "ensemble", "fusion"):
            raise InputError(f"{record.label!r} holds {part.label!r}, of kind {part.tags.get('asc.kind')}: no network")
    return known


def _settings(tracker: Reader, record: RunRecord) -> dict[str, Any]:
    read = yaml.safe_load(tracker.artifact(record.run_id, "config.yaml").read_text(encoding="utf-8"))
    return read if isinstance(read, dict) else {}


def _unsupported(record: RunRecord, what: str) -> InputError:
    return InputError(
        f"a bundle carries averages, fixed weights and products, got {what} in {record.label!r}: fuse with one of "
        f"{', '.join(MEANS)} and a fixed exponent"
    )
