"""Systems trained elsewhere become runs, and the predictions of runs become files."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.schema import require_row_name
from asc_study.evaluation.scores_in import Imported, read_scores
from asc_study.evaluation.scores_out import write_scores
from asc_study.settings.settings_file import require_name
from asc_study.store.records import RunRecord
from asc_study.store.references import find_runs, finished_systems
from asc_study.store.stale import all_below, members_of
from asc_study.store.tracking import Tracker
from asc_study.systems.derived import Derived, Identity, Logged, log_derived


def import_system(
    tracker: Tracker,
    study: str,
    name: str,
    scores: Path,
    labels: Path,
    *,
    task: str | None = None,
    validation: tuple[Path, Path] | None = None,
) -> tuple[Imported, Logged]:
    """Make a run of kind ``imported`` of the scores of a system trained elsewhere.

    Parameters
    ----------
    tracker, study, name
        Where the run goes, and the row's name.
    scores, labels
        Its scores for the test clips, and the list that holds their labels; see `read_scores`.
    task
        ``ten_class`` or ``three_class``; told by the columns by default.
    validation
        Scores and labels of validation clips, if there are any: ensembles are then chosen on them.

    Raises
    ------
    InputError
        If a file is wrong; nothing is logged then.
    """
    require_name("study", study)
    require_row_name(name, "an imported system")
    test = read_scores(scores, labels, task=task)
    tables, notes = {"test": test.predictions}, list(test.notes)
    if validation:
        more = read_scores(*validation, task=test.task, split="validation")
        both = set(more.predictions["clip_id"]) & set(test.predictions["clip_id"])
        if both:
            raise InputError(
                f"validation and test must be different clips, got {len(both)} in both, such as {min(both)!r}: name "
                "the validation scores and their own list"
            )
        tables["validation"] = more.predictions
        notes += [f"validation: {note}" for note in more.notes]
    derived = Derived(
        identity=Identity(Kind.IMPORTED, {"task": test.task, "digest": _digest(tables)}),
        study=study,
        name=name,
        task=test.task,
        system="imported",
        members=[],
        tables=tables,
        tags=_dataset_tags(tracker, study, tables["test"], labels) | {Tag.SCORES: scores.name, Tag.LABELS: labels.name},
    )
    return Imported(test.predictions, test.task, tuple(notes)), log_derived(tracker, derived)


def export_predictions(
    tracker: Tracker, reference: str, path: Path, form: str, *, split: str | None = None, overwrite: bool = False
) -> tuple[str, int]:
    """Write the predictions of one run to a file.

    Parameters
    ----------
    tracker, reference
        The store and the run (see `find_runs`).
    path, form, overwrite
        See `write_scores`.
    split
        ``test``, ``validation`` or ``evaluation``; by default evaluation if the run has it, else test.

    Returns
    -------
    (split, clips)

    Raises
    ------
    InputError
        If several runs are named, the run lacks the split, or the file cannot be written.
    """
    records = find_runs(tracker, reference)
    if len(records) > 1:
        rows = sorted({record.tags.get(Tag.ROW, "") for record in records})
        if len(rows) > 1:
            raise InputError(f"one run is exported at a time, {reference!r} has the rows {', '.join(rows)}: name one")
        seeds = ", ".join(record.seed for record in records)
        raise InputError(f"one run is exported at a time, {reference!r} has the seeds {seeds}: write {reference}@SEED")
    tables = tracker.predictions(records[0].run_id)
    if split is None:
        _require_current(tracker, records[0])
    split = split or next((known for known in ("evaluation", "test") if known in tables), "test")
    if split not in tables:
        raise InputError(f"{records[0].label!r} has no predictions of the split {split!r}, only {sorted(tables)}")
    write_scores(tables[split], path, form, overwrite=overwrite)
    return split, len(tables[split])


def _require_current(tracker: Tracker, record: RunRecord) -> None:
    """Refuse what was made of runs that have predicted other unlabelled clips since.

    An ensemble between says what its members had predicted when it was made: those that are made of nothing count.
    """
    below = (member for _, member in all_below(tracker, record) if member and not members_of(member))
    digests = {member.tags.get(Tag.EVALUATION_DIGEST, "") for member in below}
    if len(digests) == 1 and digests != {record.tags.get(Tag.EVALUATION_DIGEST, "")}:
        raise InputError(
            f"the members of {record.label!r} have predicted other clips since it was made: make it again (run its "
            "study, or fuse), or name --split"
        )


def _digest(tables: Mapping[str, pd.DataFrame]) -> str:
    digest = hashlib.sha256()
    for split in sorted(tables):
        digest.update(tables[split].to_csv(index=False).encode())
    return digest.hexdigest()


def _dataset_tags(tracker: Tracker, study: str, test: pd.DataFrame, labels: Path) -> dict[str, str]:
    """Name the data set: that of the study's runs if they were tested on the same clips, else the list's own digest."""
    known = test[["clip_id", "scene"]].astype(str)
    seen = set()
    for record in finished_systems(tracker, study):
        digest = record.tags.get(Tag.DATASET_DIGEST, "")
        if digest in seen or record.tags.get(Tag.TASK) is None:
            continue
        with suppress(InputError):
            own = tracker.predictions(record.run_id).get("test")
            if own is None:
                continue
            if set(own["clip_id"].astype(str)) == set(known["clip_id"]):
                return {tag: record.tags[tag] for tag in (Tag.DATASET, Tag.DATASET_DIGEST) if tag in record.tags}
        seen.add(digest)
    listed = hashlib.sha256(known.sort_values("clip_id").to_csv(index=False).encode()).hexdigest()
    return {Tag.DATASET: labels.name, Tag.DATASET_DIGEST: listed}
