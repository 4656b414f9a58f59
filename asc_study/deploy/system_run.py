"""The run of a system: its bundle composed of its quantised networks, measured beside the same in float32, logged."""

from collections import Counter
from collections.abc import Iterable, Mapping

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import label_column
from asc_study.deploy.bundle import BuiltBundle, compose_bundle
from asc_study.deploy.measured import seen_splits, system_tables
from asc_study.deploy.networks import recipe_of
from asc_study.deploy.proof import agreement, changes
from asc_study.deploy.quantise import find_quantised
from asc_study.evaluation.measure import measure
from asc_study.settings.system_rows import StudySystem
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import system_identity
from asc_study.systems.derived import Derived, log_derived
from asc_study.systems.members import basis_of


def log_system(
    tracker: Tracker, study: str, system: StudySystem, part: RunRecord, failures: Mapping[tuple[str, str], str]
) -> tuple[BuiltBundle, Mapping[str, float]]:
    """Compose the bundle of a system and log its run; returns the bundle and the run's metrics.

    Parameters
    ----------
    tracker, study, system
        The store, the study and the system.
    part
        The run that the system is of.
    failures
        Why networks could not be quantised, by run and scheme.

    Raises
    ------
    InputError
        If a network could not be quantised, or a run was deleted.
    """
    recipe = recipe_of(tracker, part)
    networks = {key: _converted(tracker, record, system.scheme, failures) for key, record in recipe.networks.items()}
    built = compose_bundle(tracker, recipe, system.scheme, name=system.name)
    tables = system_tables(tracker, recipe.tree, networks)
    trained = {key: _trained(tracker, record) for key, record in networks.items()}
    before = system_tables(tracker, recipe.tree, trained)
    shared = [split for split in tables if split in before and split not in seen_splits(recipe.tree)]
    agreed = {f"{split}/agreement": agreement(before[split], tables[split]) for split in shared}
    measured = [measure({split: of[split] for split in shared}) for of in (before, tables)]
    costs = {
        name: recipe.tree.most({key: record.metrics[name] for key, record in networks.items()})
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
