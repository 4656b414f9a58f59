"""A bundle becomes a version of a registered model, and the champion if it beats the present one on validation."""

import hashlib
import importlib.metadata
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import task_of_classes
from asc_study.deploy import bundle as bundles
from asc_study.deploy.measured import system_tables
from asc_study.deploy.runtime.fusion import FusionTree
from asc_study.deploy.runtime.stored import StoredBundle, open_bundle
from asc_study.deploy.runtime.system import load_bundle
from asc_study.evaluation.measure import measure
from asc_study.evaluation.significance import Comparison, compare
from asc_study.evaluation.significance import render as render_comparison
from asc_study.store.records import RunRecord
from asc_study.store.registry import Version, champion, make_champion, register_system, version_of
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Identity, log_derived


@dataclass(frozen=True)
class Registered:
    """A registered bundle: its version, whether it is the champion now, and what decided that."""

    version: Version
    is_champion: bool
    before: Version | None
    comparison: Comparison | None
    note: str = ""


def register_bundle(tracker: Tracker, folder: Path, name: str) -> Registered:
    """Log a bundle as a run of kind ``system`` with a model, register it, and compare it with the champion.

    The champion changes only if the accuracy on the validation clips is higher, and the paired interval excludes 0.

    Parameters
    ----------
    tracker
        The store that the bundle's networks are in.
    folder, name
        The bundle, and the registered model's name.

    Raises
    ------
    InputError
        If the bundle is damaged, or its networks are not in the store.
    """
    stored = open_bundle(folder)
    stored.verify()
    load_bundle(folder)
    run_id, tables = _log(tracker, stored)
    version = version_of(tracker, name, run_id)
    if version is None:
        code = Path(__file__).with_name("served.py")
        needs = [*bundles.REQUIREMENTS, f"mlflow=={importlib.metadata.version('mlflow')}"]
        classes = stored.manifest["classes"]
        version, model_id = register_system(tracker, run_id, name, code, folder, needs, classes, _example())
        tracker.log_metrics(run_id, measure(tables), model_id=model_id)
    return _crown(tracker, version, tables)


def _log(tracker: Tracker, stored: StoredBundle) -> tuple[str, dict[str, pd.DataFrame]]:
    records = _records(tracker, stored)
    manifest = (stored.folder / Artifact.MANIFEST).read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    first = next(iter(records.values()))
    for record in tracker.runs(first.tags[Tag.STUDY], kind=Kind.SYSTEM):
        if record.status == "FINISHED" and record.tags.get(Tag.BUNDLE) == digest:
            return record.run_id, tracker.predictions(record.run_id)
    tables = system_tables(tracker, FusionTree.from_dict(stored.read_json(Artifact.FUSION)), records)
    if not tables:
        raise InputError(
            f"a bundle is registered with its validation predictions, the networks of {stored.folder} have none of the "
            "same clips: train them on one validation cut"
        )
    derived = Derived(
        identity=Identity(Kind.SYSTEM, {"manifest": digest}, list(records.values())),
        study=first.tags[Tag.STUDY],
        name=str(stored.manifest["name"]),
        task=task_of_classes(stored.manifest["classes"]) or "",
        system=str(stored.manifest["system"]),
        members=list(records.values()),
        tables=tables,
        tags={Tag.BUNDLE: digest},
        metrics={"cost/file_kb": stored.manifest["sizes"]["file_bytes"] / 1024},
        files={Artifact.MANIFEST: manifest},
    )
    return log_derived(tracker, derived).run_id, tables


def _records(tracker: Tracker, stored: StoredBundle) -> dict[str, RunRecord]:
    """The run of each network, the converted one where it has one, by key."""
    records = {}
    for member in stored.manifest["members"]:
        record = tracker.run(member["quantised_run_id"] or member["run_id"])
        if record is None:
            raise InputError(
                f"{member['source']!r} of {stored.folder} is not in this store: register it where it was built"
            )
        records[str(member["key"])] = record
    return records


def _example() -> bytes:
    """A second of quiet noise as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, 0.01 * np.random.default_rng(0).standard_normal(16_000), 16_000, format="WAV")
    return file.getvalue()


def _crown(tracker: Tracker, version: Version, tables: dict[str, pd.DataFrame]) -> Registered:
    before = champion(tracker, version.name)
    if before is None:
        make_champion(tracker, version)
        return Registered(version, True, None, None, "it is the first")
    if before.number == version.number:
        return Registered(version, True, before, None, "it was before")
    theirs, ours = tracker.predictions(before.run_id).get("validation"), tables.get("validation")
    if theirs is None or ours is None:
        return Registered(version, False, before, None, "one of the two has no validation predictions")
    try:
        comparison = compare([theirs], [ours])
    except InputError as error:
        return Registered(version, False, before, None, str(error))
    overall = comparison.subsets[0]
    better = overall.significant and overall.difference > 0
    if better:
        make_champion(tracker, version)
    return Registered(version, better, before, comparison)


def render(registered: Registered) -> str:
    """Both versions on validation, and which is the champion now."""
    version, before = registered.version, registered.before
    lines = [f"{version.name} version {version.number}, run {version.run_id}"]
    if registered.comparison and before:
        lines.append(render_comparison(registered.comparison, f"version {before.number}", f"version {version.number}"))
    if registered.is_champion:
        why = registered.note or "it beats the one before on validation"
        lines.append(f"champion: version {version.number} ({why})")
    elif before:
        why = registered.note or "the new one does not beat it on validation"
        lines.append(f"champion: version {before.number} still ({why})")
    return "\n".join(lines)
