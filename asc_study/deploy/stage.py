"""The last stage of a study: its systems' networks are quantised, and each system becomes a bundle and a run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from asc_study.base.contract import Artifact, Kind, MlflowTag, Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.progress import Say
from asc_study.base.taxonomy import label_column
from asc_study.data.identified import IdentifiedDataset
from asc_study.deploy.bundle import BuiltBundle, compose_bundle
from asc_study.deploy.bundle_folder import bundle_folder, manifest_digest, put_in_place
from asc_study.deploy.measured import seen_splits, system_tables
from asc_study.deploy.proof import agreement, changes
from asc_study.deploy.quantise import find_quantised, quantise
from asc_study.deploy.recipe import Recipe, make_recipe
from asc_study.evaluation.accuracy_table import accuracies
from asc_study.evaluation.measure import measure
from asc_study.figures.loading import pages_load_plotlyjs, plotlyjs
from asc_study.settings.system_rows import StudySystem
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import system_identity
from asc_study.systems.derived import Derived, find_derived, log_derived
from asc_study.systems.members import basis_of
from asc_study.systems.rows import outcome_dict
from asc_study.workers.pool import run_parallel

#: Run -> what it is converted to.
_Wanted = Mapping[tuple[str, str], RunRecord]


@dataclass(frozen=True)
class SystemOutcome:
    """How a system of one seed ended; ``waits`` means that what it is made of is not finished.

    ``kilobytes`` is the size of its networks' files, in units of 1,024 bytes.
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


def quantise_candidates(
    tracker: Tracker,
    systems: Sequence[StudySystem],
    seeds: Sequence[int],
    finished: Mapping[tuple[str, int], str],
    data: IdentifiedDataset,
    *,
    jobs: int,
    say: Say,
) -> dict[tuple[str, int], str]:
    """Quantise the rows that systems choose among by the size of their files.

    Parameters and what is told are those of `make_systems`.

    Returns
    -------
    dict
        (name of the quantised row, seed) -> id of its run; what could not be quantised is left out.
    """
    records: dict[tuple[str, int], tuple[RunRecord, str]] = {}
    for system in systems:
        for name, row in system.quantised.items():
            for seed in seeds:
                run_id = finished.get((row, seed))
                if run_id and (record := tracker.run(run_id)):
                    records[name, seed] = record, system.scheme
    wanted = {
        (record.run_id, scheme): record
        for record, scheme in records.values()
        if not find_quantised(tracker, record, scheme)
    }
    _quantise_all(tracker, wanted, data, jobs, say)
    found = {place: find_quantised(tracker, record, scheme) for place, (record, scheme) in records.items()}
    return {place: record.run_id for place, record in found.items() if record}


def make_systems(
    tracker: Tracker,
    study: str,
    systems: Sequence[StudySystem],
    seeds: Sequence[int],
    finished: Mapping[tuple[str, int], str],
    data: IdentifiedDataset,
    *,
    jobs: int,
    say: Say,
) -> list[SystemOutcome]:
    """Make the systems of every seed whose parts are there, and report those that were not there before.

    A bundle that is gone from its folder is written again from its run; one that is larger than allowed is kept, and is
    reported as failed each time.

    Parameters
    ----------
    tracker, study
        The store and the study.
    systems
        Those that are to be made.
    seeds
        The study's seeds.
    finished
        (row or ensemble, seed) -> id of the finished run.
    data
        What the rows were trained on.
    jobs
        Networks that are quantised at the same time.
    say
        Told one line for people at a time.
    """
    failures = _quantise_all(tracker, _members_to_quantise(tracker, study, systems, seeds, finished), data, jobs, say)
    outcomes = []
    for seed in seeds:
        for system in systems:
            folder = bundle_folder(study, system.name, seed if len(seeds) > 1 else None)
            outcome = _make(tracker, study, system, seed, finished.get((system.part, seed)), folder, failures, say)
            if outcome:
                outcomes.append(outcome)
                say(_line(outcome))
    return outcomes


def _members_to_quantise(
    tracker: Tracker,
    study: str,
    systems: Sequence[StudySystem],
    seeds: Sequence[int],
    finished: Mapping[tuple[str, int], str],
) -> dict[tuple[str, str], RunRecord]:
    """The trained runs that are to be converted, by id and scheme; what is converted already is left out."""
    wanted: dict[tuple[str, str], RunRecord] = {}
    for system in systems:
        for seed in seeds:
            run_id = finished.get((system.part, seed))
            record = tracker.run(run_id) if run_id else None
            if record is None or find_derived(tracker, study, system_identity(record, system.scheme)):
                continue
            try:
                networks = _recipe(tracker, record).networks.values()
            except InputError:  # told when the system is made
                continue
            for network in networks:
                if network.tags[Tag.KIND] == Kind.TRAIN and not find_quantised(tracker, network, system.scheme):
                    wanted[network.run_id, system.scheme] = network
    return wanted


def _recipe(tracker: Reader, part: RunRecord) -> Recipe:
    """What a system of that part consists of."""
    alone = part.tags[Tag.KIND] == Kind.TRAIN
    return make_recipe(tracker, [part.run_id] if alone else [], [], "average" if alone else part.run_id)


def _quantise_all(
    tracker: Tracker, wanted: _Wanted, data: IdentifiedDataset, jobs: int, say: Say
) -> dict[tuple[str, str], str]:
    """Quantise runs beside each other; returns why some could not be."""
    failures = {}
    one, calls = partial(_quantise, uri=tracker.uri, data=data, figures=plotlyjs()), list(wanted)
    for number, (run_id, scheme, line, failure) in enumerate(run_parallel(one, calls, jobs=jobs), 1):
        head = f"[{number}/{len(calls)}] {wanted[run_id, scheme].label}, {scheme}"
        say(f"{head}: FAILED: {failure}" if failure else f"{head}: {line}")
        if failure:
            failures[run_id, scheme] = failure
    return failures


def _quantise(
    run_id: str, scheme: str, *, uri: str, data: IdentifiedDataset, figures: str
) -> tuple[str, str, str, str]:
    """Quantise one run: it and the scheme, a line about the result, and why it failed."""
    try:
        with pages_load_plotlyjs(figures):
            made = quantise(Tracker(uri), run_id, scheme, data=data)
    except Exception as error:  # a bad input, TensorFlow's, MLflow's or the disk's: the others are made all the same
        return run_id, scheme, "", scrubbed(failure_reason(error), uri)
    agreed = "".join(f", {100 * share:.1f} % of {split} decided alike" for split, share in made.agreement.items())
    return run_id, scheme, f"{made.file.file_bytes / 1024:,.1f} kB{agreed}", ""


def _make(
    tracker: Tracker,
    study: str,
    system: StudySystem,
    seed: int,
    part_id: str | None,
    folder: Path,
    failures: Mapping[tuple[str, str], str],
    say: Say,
) -> SystemOutcome | None:
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
                say(f"system {system.name} seed {seed}: its bundle was written again, {folder}")
        else:
            built, metrics = _log(tracker, study, system, part, failures)
            kilobytes = built.kilobytes
            for note in built.notes:
                say(f"note: {note}")
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


def _log(
    tracker: Tracker, study: str, system: StudySystem, part: RunRecord, failures: Mapping[tuple[str, str], str]
) -> tuple[BuiltBundle, Mapping[str, float]]:
    """Compose the bundle of a system and log its run."""
    recipe = _recipe(tracker, part)
    networks = {key: _converted(tracker, record, system.scheme, failures) for key, record in recipe.networks.items()}
    built = compose_bundle(tracker, recipe, system.scheme, name=system.name)
    tables = system_tables(tracker, recipe.tree, networks)
    trained = {key: _trained(tracker, record) for key, record in networks.items()}
    before = system_tables(tracker, recipe.tree, trained)
    shared = [split for split in tables if split in before and split not in seen_splits(recipe.tree)]
    agreed = {f"{split}/agreement": agreement(before[split], tables[split]) for split in shared}
    measured = [measure({split: of[split] for split in shared}) for of in (before, tables)]
    costs = {
        name: sum(record.metrics[name] for record in networks.values())
        for name in next(iter(networks.values())).metrics
        if name.startswith("cost/") and all(name in record.metrics for record in networks.values())
    }
    derived = Derived(
        identity=system_identity(part, system.scheme),
        study=study,
        name=system.name,
        task=part.tags[Tag.TASK],
        system=f"{_composition(networks.values())}, {system.scheme}",
        members=[part, *networks.values()],
        tables=tables,
        tags={Tag.BUNDLE: built.digest, Tag.CHANGE_AGAINST: "the same in float32", Tag.BASIS: basis_of(part)},
        metrics={**costs, **agreed, **changes(*measured)},
        files={f"{Artifact.BUNDLE}/{name}": content for name, content in built.files.items()},
    )
    return built, log_derived(tracker, derived).metrics


def _composition(networks: Iterable[RunRecord]) -> str:
    """What a system consists of in a few words."""
    tasks = Counter(record.tags[Tag.TASK] for record in networks)
    if len(tasks) > 1:
        return f"two-stage {'+'.join(str(tasks[task]) for task in sorted(tasks, key=label_column))}"
    return f"{tasks.total()} network{'s' if tasks.total() > 1 else ''}"


def _converted(tracker: Tracker, record: RunRecord, scheme: str, failures: Mapping[tuple[str, str], str]) -> RunRecord:
    """The run of a converted network."""
    if record.tags[Tag.KIND] != Kind.TRAIN:
        return record
    found = find_quantised(tracker, record, scheme)
    if found is None:
        reason = failures.get((record.run_id, scheme), "its run was deleted")
        raise InputError(f"{record.label!r} could not be quantised ({reason}): run the study again when that is mended")
    return found


def _trained(tracker: Tracker, network: RunRecord) -> RunRecord:
    """The run of which a network was converted."""
    (run_id,) = members_of(network)
    found = tracker.run(run_id)
    if found is None:
        raise InputError(f"the run that {network.label!r} was made of was deleted: run the study again")
    return found


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
