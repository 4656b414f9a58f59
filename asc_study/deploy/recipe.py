"""Which networks a system is made of and how they are fused: from names on the command line, or from a fusion's run."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES, taxonomy_of_task
from asc_study.deploy.runtime.fusion import FusionTree, require_built_in
from asc_study.deploy.sources import one_run
from asc_study.ensemble.fuse import FUSIONS
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.stack import Stack
from asc_study.ensemble.two_stage import FittedTwoStage, ProductJoin
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.stale import further_down, members_of

#: Ways to fuse networks that need no run: they learn nothing.
PLAIN_RULES = tuple(name for name, rule in FUSIONS.items() if not rule.learns)

#: Kinds of runs that are one network.
NETWORKS = (Kind.TRAIN, Kind.QUANTISED)

#: Key of a fusion that is no run's.
_OWN = "own"


@dataclass(frozen=True)
class Recipe:
    """A fusion, and the run behind each of its networks by key; ``run`` is that of the fusion itself, if it has one."""

    tree: FusionTree
    networks: dict[str, RunRecord]
    run: RunRecord | None = None

    @property
    def cross_fitted(self) -> bool:
        """Whether labels of the test clips had a part in it."""
        return any(fusion.basis == "cross-fitted" for fusion in self.tree.fusions.values())


def make_recipe(tracker: Reader, fine: Sequence[str], coarse: Sequence[str], fusion: str) -> Recipe:
    """Find the networks that a user named.

    Parameters
    ----------
    tracker
        The store.
    fine, coarse
        Trained or quantised runs of either stage. With a fusion's run they are known, and may be left out.
    fusion
        ``average`` or ``product`` (of the networks of a stage; stages are joined by the paper's product), or a run of
        kind ensemble or fusion, which says all.

    Raises
    ------
    InputError
        If a name stands for nothing, a run is no network, or the fusion cannot be carried by a bundle.
    """
    named = [_networks(tracker, names) for names in (fine, coarse)]
    ids = [_trained(record) for records in named for record in records]
    if len(set(ids)) < len(ids):
        twice = next(record for records in named for record in records if ids.count(_trained(record)) > 1)
        raise InputError(f"each network can be named once, got {twice.label!r} twice: name it once")
    if fusion in PLAIN_RULES:
        return _of_names(named[0], named[1], fusion)
    recipe = _of_run(tracker, one_run(tracker, fusion, (Kind.ENSEMBLE, Kind.FUSION)))
    if not ids:
        return recipe
    trained = {_trained(record): key for key, record in recipe.networks.items()}
    if set(trained) != set(ids):
        raise InputError(
            f"--fine and --coarse must name the networks of {fusion!r}, "
            f"{', '.join(record.label for record in recipe.networks.values())}, got "
            f"{', '.join(record.label for records in named for record in records)}: leave them out, they are known"
        )
    chosen = {trained[_trained(record)]: record for records in named for record in records}
    return Recipe(recipe.tree, {key: chosen[key] for key in recipe.networks}, recipe.run)


def _networks(tracker: Reader, names: Sequence[str]) -> list[RunRecord]:
    """The runs that names stand for, each a network."""
    records = [record for found in find_each(tracker, names) for record in found]
    for record in records:
        if record.tags.get(Tag.KIND) not in NETWORKS:
            raise InputError(
                f"a member of a bundle is a trained or quantised run, {record.label!r} is of kind "
                f"{record.tags.get(Tag.KIND)}: bundle it with --fusion, or name its members"
            )
    return records


def _trained(record: RunRecord) -> str:
    """Id of the trained run behind a network."""
    return members_of(record)[0] if record.tags.get(Tag.KIND) == Kind.QUANTISED else record.run_id


def _of_names(fine: Sequence[RunRecord], coarse: Sequence[RunRecord], rule: str) -> Recipe:
    if not fine:
        raise InputError("a bundle needs networks, got none: name runs with --fine, or a fusion's run with --fusion")
    taxonomy = taxonomy_of_task(fine[0].tags[Tag.TASK])
    scenes, groups = taxonomy.tasks[0][0], taxonomy.tasks[-1][0]
    for stage, records, wanted in (
        ("--fine", fine, scenes if coarse else fine[0].tags[Tag.TASK]),
        ("--coarse", coarse, groups),
    ):
        for record in records:
            if record.tags[Tag.TASK] != wanted or (coarse and scenes == groups):
                raise InputError(
                    f"the {stage} networks must be of the task {wanted}, got {record.tags[Tag.TASK]} of "
                    f"{record.label!r}: runs of scene groups (three-class) are --coarse beside those of scenes "
                    "(ten-class)"
                )
    records = [*fine, *coarse]
    systems = tuple(
        System(_name(record), record.tags[Tag.TASK], record.tags[Tag.KIND], record.run_id, record.signature)
        for record in records
    )
    first = _plain(rule, [_name(record) for record in fine])
    whole: FusionRule | FittedTwoStage = first
    if coarse:
        whole = FittedTwoStage(
            first, _plain(rule, [_name(record) for record in coarse]), ProductJoin(1.0, taxonomy.group_columns)
        )
    classes = {system.task: CLASSES[system.task] for system in systems}
    tree = FusionTree(_OWN, {_OWN: FusionFile("fixed", classes, systems, whole)})
    return Recipe(tree, {record.run_id: record for record in records})


def _plain(rule: str, names: Sequence[str]) -> FusionRule:
    """A rule that learns nothing, which looks at the names alone."""
    import numpy as np
    import pandas as pd

    return FUSIONS[rule].fit(Stack(tuple(names), pd.DataFrame(), (), np.zeros((len(names), 0, 0))))


def _name(record: RunRecord) -> str:
    return f"{record.label} [{record.run_id[:6]}]"


def _of_run(tracker: Reader, run: RunRecord) -> Recipe:
    """The recipe of an ensemble or a fusion, and of those that it is made of."""
    found = _Found(tracker)
    found.add(run)
    return Recipe(FusionTree(run.run_id, found.fusions), found.networks, run)


@dataclass
class _Found:
    """The fusions and networks below a run, as they are found."""

    tracker: Reader
    fusions: dict[str, FusionFile] = field(default_factory=dict)
    networks: dict[str, RunRecord] = field(default_factory=dict)

    def add(self, run: RunRecord, above: tuple[str, ...] = ()) -> None:
        """Read the fusion of a run, which is a part of those ``above``, and what is below it."""
        above = further_down(run, above)
        raw = self.tracker.json_artifact(run.run_id, Artifact.FUSION)
        if not raw:
            raise InputError(
                f"{run.label!r} has no {Artifact.FUSION}, an earlier version made it: delete the run and make it again"
            )
        file = FusionFile.from_dict(raw, f"{Artifact.FUSION} of {run.label!r}")
        require_built_in(file, run.label)
        self.fusions[run.run_id] = file
        for system in file.systems:
            part = self.tracker.run(system.run_id)
            if part is None:
                raise InputError(
                    f"{system.name!r}, a member of {run.label!r}, was deleted from the store: make it again"
                )
            if system.kind in NETWORKS:
                self.networks[part.run_id] = part
            elif system.kind in (Kind.ENSEMBLE, Kind.FUSION):
                self.add(part, above)
            else:
                raise InputError(f"{run.label!r} holds {system.name!r}, of kind {system.kind}, which has no network")
