"""The last stage of a study: each of its systems becomes a run, and a bundle in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.deploy.bundle_folder import bundle_folder, manifest_digest, put_in_place
from asc_study.deploy.networks import SystemsWork, quantise_members
from asc_study.deploy.system_run import log_system
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.settings.system_rows import StudySystem
from asc_study.store.addresses import scrubbed
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import system_identity
from asc_study.systems.derived import find_derived
from asc_study.systems.rows import outcome_dict


@dataclass(frozen=True)
class SystemOutcome:
    """How a system of one seed ended; ``waits`` means that what it is made of is not finished.

    ``kilobytes`` is the size of the files of its networks that run for a clip, in units of 1,024 bytes.
    """

    name: str
    seed: int
    status: Literal["done", "failed", "waits"]
    metrics: Mapping[str, float] | None = None
    reason: str = ""
    folder: Path | None = None
    kilobytes: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The outcome in the types of JSON."""
        about = {"bundle": str(self.folder) if self.folder else None, "kilobytes": round(self.kilobytes, 1)}
        return outcome_dict(self.name, self.seed, self.status, self.metrics, self.reason) | about


def make_systems(work: SystemsWork) -> list[SystemOutcome]:
    """Make the systems of every seed whose parts are there, and report those that were not there before.

    A bundle that is gone from its folder is written again from its run; one that is larger than allowed is kept, and is
    reported as failed each time.
    """
    failures = quantise_members(work)
    outcomes = []
    for seed in work.seeds:
        for system in work.systems:
            outcome = _make(work, system, seed, failures)
            if outcome:
                outcomes.append(outcome)
                work.say(_line(outcome))
    return outcomes


def _make(
    work: SystemsWork, system: StudySystem, seed: int, failures: Mapping[tuple[str, str], str]
) -> SystemOutcome | None:
    tracker, study = work.tracker, work.study
    folder = bundle_folder(study, system.name, seed if len(work.seeds) > 1 else None)
    part_id = work.finished.get((system.part, seed))
    if part_id is None:
        return SystemOutcome(system.name, seed, "waits", reason=f"not finished: {system.part}")
    try:
        part = tracker.run(part_id)
        if part is None:
            raise InputError(f"run {part_id} was deleted while its system was made: run the study again")
        done = find_derived(tracker, study, system_identity(part, system.scheme))
        if done:
            _rename(tracker, done, system.name, seed)
            kilobytes, metrics = done.metrics["cost/file_kb"], done.metrics
            if _restore(tracker, study, done, folder):
                work.say(f"system {system.name} seed {seed}: its bundle was written again, {folder}")
        else:
            built, metrics = log_system(tracker, study, system, part, failures)
            kilobytes = built.kilobytes
            for note in built.notes:
                work.say(f"note: {note}")
            put_in_place(built.files, built.digest, folder, _earlier(tracker, study))
    except Exception as error:  # a bad input, MLflow's or the disk's: the others are made all the same
        return SystemOutcome(system.name, seed, "failed", reason=scrubbed(failure_reason(error), tracker.uri))
    if system.max_kb is not None and kilobytes > system.max_kb:
        reason = (
            f"its networks must have at most {system.max_kb:g} kB, got {kilobytes:,.1f}: take smaller ones, or another "
            f"scheme ({folder} is kept)"
        )
        return SystemOutcome(system.name, seed, "failed", metrics, reason, folder, kilobytes)
    return None if done else SystemOutcome(system.name, seed, "done", metrics, "", folder, kilobytes)


def _rename(tracker: Tracker, done: RunRecord, name: str, seed: int) -> None:
    """Give a run the name that the study file has now."""
    if done.tags.get(Tag.ROW) != name:
        tracker.set_tags(done.run_id, {Tag.ROW: name, MlflowTag.RUN_NAME: f"{name} seed {seed}"})


def _earlier(tracker: Tracker, study: str) -> set[str]:
    """Digests of the bundles that the study has made."""
    return {record.tags.get(Tag.BUNDLE, "") for record in tracker.runs(study, kind=Kind.SYSTEM)} - {""}


def _restore(tracker: Tracker, study: str, done: RunRecord, folder: Path) -> bool:
    """Write the bundle of a run where it is not; returns whether it was written."""
    digest = done.tags.get(Tag.BUNDLE, "")
    if manifest_digest(folder) == digest:
        return False
    kept = tracker.artifact(done.run_id, Artifact.BUNDLE)
    files = {path.relative_to(kept).as_posix(): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    return put_in_place(files, digest, folder, _earlier(tracker, study))


def _line(outcome: SystemOutcome) -> str:
    head = f"system {outcome.name} seed {outcome.seed}"
    if outcome.status != "done":
        return f"{head}: {'FAILED' if outcome.status == 'failed' else 'waits'}: {outcome.reason}"
    shown = accuracies(outcome.metrics or {}) or "made (no test split)"
    return f"{head}: {shown}; {outcome.kilobytes:,.1f} kB, {outcome.folder}"
