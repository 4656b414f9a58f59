"""A fusion as a run of the store, as text and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from asc_study.base.contract import Artifact, Tag
from asc_study.ensemble.crossfit import describe
from asc_study.evaluation.accuracy_table import accuracy_table
from asc_study.figures.ensemble import change_figure
from asc_study.store.records import RunRecord
from asc_study.store.routes import routes_tag
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Logged, log_derived
from asc_study.systems.fusions import Fusion, FusionOptions, fusion_identity
from asc_study.systems.members import fusion_json


def log_fusion(tracker: Tracker, study: str, name: str, fusion: Fusion) -> Logged:
    """Log a fusion as a run of kind ``fusion``, with the change per device subset against its parts."""
    fine, coarse = ([member.record for member in group] for group in (fusion.fine, fusion.coarse))
    shown = _with_result(fusion, name)
    changes = {
        f"test/change_{key.removeprefix('test/')}": v for key, v in fusion.change.items() if key.startswith("test/")
    }
    derived = Derived(
        identity=fusion_identity(fusion.options, fine, coarse),
        study=study,
        name=name,
        task=fusion.fine[0].task,
        system=fusion.system,
        members=[*fine, *coarse],
        tables=fusion.tables,
        tags={Tag.BASIS: fusion.basis, Tag.CHANGE_AGAINST: fusion.against, **routes_tag(fine, fusion.options.devices)},
        metrics=changes | (_largest(fine) if fusion.options.devices else {}),
        files={
            Artifact.PARTS: pd.DataFrame(shown).T.rename_axis("system").to_csv(),
            Artifact.PARTS_TEXT: render(fusion, name),
            Artifact.FUSION: fusion_json(fusion.fitted, fusion.basis, [*fusion.fine, *fusion.coarse]),
        },
        figures=[change_figure(shown)] if "test" in fusion.tables else [],
    )
    return log_derived(tracker, derived)


def _largest(members: Sequence[RunRecord]) -> dict[str, float]:
    """What a system by device costs: of each cost that of its largest member, for one of them runs for a clip."""
    known = [{name: value for name, value in one.metrics.items() if name.startswith("cost/")} for one in members]
    return {name: max(one[name] for one in known) for name in known[0] if all(name in one for one in known)}


def _with_result(fusion: Fusion, name: str) -> dict[str, Mapping[str, float]]:
    """The parts and, last, what was made of them, under a name that no part has."""
    return {**fusion.parts, f"{name} (result)" if name in fusion.parts else name: fusion.metrics}


def default_name(fusion: Fusion) -> str:
    """A name that says what was fused and how, without what is the default."""
    options, default = fusion.options, FusionOptions()
    if options.devices:
        return "by-device"
    if not fusion.coarse:
        return f"{options.fusion}-of-{len(fusion.fine)}"
    parts = [f"two-stage-{len(fusion.fine)}+{len(fusion.coarse)}"]
    parts += [options.fusion] if options.fusion != default.fusion else []
    parts += [options.join] if options.join != default.join else []
    if options.exponent != default.exponent:
        parts.append("exponent-fit" if options.exponent is None else f"exponent-{options.exponent:g}")
    return "-".join(parts)


def to_dict(fusion: Fusion) -> dict[str, Any]:
    """The fusion in the types of JSON."""
    return {
        "system": fusion.system,
        "basis": fusion.basis,
        "learned": dict(fusion.fitted.learned),
        "parts": {name: dict(metrics) for name, metrics in fusion.parts.items()},
        "metrics": dict(fusion.metrics),
        "change": dict(fusion.change),
        "change_against": fusion.against,
        "notes": list(fusion.notes),
    }


def render(fusion: Fusion, name: str) -> str:
    """The subset table before and after, the change, and what the fusion depends on."""
    text = [f"{name}: {fusion.system}"]
    if "test" in fusion.tables:
        text.append(accuracy_table(_with_result(fusion, name), fusion.change))
        text.append(f"change: against {fusion.against}, with its 95 % interval (paired, over locations)")
        text.append("accuracy in %, log loss in nats; test split")
    else:
        text.append(
            f"no test split: {', '.join(f'{len(t)} {split} clips' for split, t in fusion.tables.items())} fused"
        )
    if fusion.learns and (learned := describe(fusion.fitted.learned)):
        where = "validation" if fusion.basis == "validation" else "other locations of test (cross-fitted)"
        text.append(f"learned on {where}: {learned}")
    return "\n".join([*text, *(f"note: {note}" for note in fusion.notes)])
