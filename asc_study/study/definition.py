"""What a study file says that its rows are: name -> combination, on a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.base.yaml_file import read_yaml
from asc_study.settings.identity import signature
from asc_study.settings.study_file import Study, load_study
from asc_study.store.queries import Reader
from asc_study.store.references import Definition, combination_of
from asc_study.study.baseline import baseline_identity
from asc_study.study.teachers import identities
from asc_study.systems.rows import row_combinations


@dataclass(frozen=True)
class DefinedStudy:
    """A study file and what its rows are on the data set that it was run on last."""

    study: Study
    definition: Definition


def define(study: Study, digest: str) -> Definition:
    """The combinations of all rows of a study, made ones too, on the data set of a digest, and its seeds."""
    rows = {name: signature(identity) for name, identity in identities(study, digest).items()}
    made = row_combinations(study.ensembles, study.systems, rows)
    baselines = {row.name: baseline_identity(row.config, digest).signature(with_seeds=False) for row in study.baselines}
    return Definition(rows | made | baselines, {str(seed) for seed in study.seeds})


def meet_runs(path: Path, tracker: Reader | None) -> None:
    """Know the words of the data that a study file was run on before it is read: it may name its tasks and devices."""
    name = read_yaml(path).content.get("study")
    if tracker and isinstance(name, str):
        tracker.runs(name, kind=Kind.TRAIN)


def define_file(
    path: Path, tracker: Reader | None, *, overrides: Sequence[str] = (), profile: str | None = None
) -> DefinedStudy:
    """Read a study file as it is now; its rows are on the data set of the newest run that is one of them.

    Parameters
    ----------
    path
        A YAML file.
    tracker
        The store, or None if there is none yet.
    overrides, profile
        As they were given to `run`; see `load_study`.

    Raises
    ------
    InputError
        If the file is wrong.
    """
    meet_runs(path, tracker)
    study = load_study(path, overrides=overrides, profile=profile)
    trained = tracker.runs(study.name, kind=Kind.TRAIN) if tracker else []
    combinations = {combination_of(record) for record in trained}
    best = DefinedStudy(study, define(study, ""))
    for digest in dict.fromkeys(record.tags.get(Tag.DATASET_DIGEST, "") for record in trained):
        most = 0
        for task in CLASSES:  # that of the data set: what a row is of that names none
            try:
                found = load_study(path, overrides=overrides, profile=profile, default_task=task)
            except InputError:  # of this task two rows would be the same
                continue
            definition = define(found, digest)
            matches = len(combinations.intersection(definition.rows.values()))
            if matches > most:
                best, most = DefinedStudy(found, definition), matches
        if most:
            break
    return best
