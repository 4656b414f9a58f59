"""Marks of the systems of a study in the store: found from their test predictions, kept as tags."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import pandas as pd

from asc_study.base.contract import Kind, Tag, predictions_path
from asc_study.base.errors import InputError
from asc_study.evaluation.marks import MARKS, UNMARKED, Mark, find_mark
from asc_study.evaluation.predictions import read_predictions
from asc_study.store.records import RunRecord
from asc_study.store.references import finished_systems
from asc_study.store.tracking import Tracker


def find_baseline(baselines: Sequence[RunRecord], task: str, dataset_digest: str | None) -> RunRecord | None:
    """The newest finished baseline of a task and of a data set (None: of any); ``baselines`` are the newest first."""
    for baseline in baselines:
        same = dataset_digest in (None, baseline.tags.get(Tag.DATASET_DIGEST))
        if baseline.status == "FINISHED" and same and baseline.tags.get(Tag.TASK) == task:
            return baseline
    return None


class Marker:
    """Marks systems of one study against its newest statistics baselines."""

    def __init__(self, tracker: Tracker, study: str) -> None:
        self._tracker, self._study = tracker, study
        self._baselines = tracker.runs(study, kind=Kind.BASELINE)
        # Those of the baselines alone: a launch that marks 200 rows would hold the tables of all at its end.
        self._rival_table = lru_cache(self._read)

    def mark(self, record: RunRecord) -> Mark | None:
        """Mark a finished system; one without test predictions gets no mark, and nothing fails because of that."""
        table = self._read(record.run_id)
        if table is None:
            return None
        rival = self._baseline_of(record)
        found = find_mark(table, self._rival_table(rival.run_id) if rival else None)
        tags = {Tag.MARK: found.name if found else UNMARKED, Tag.BASELINE: rival.run_id if rival else ""}
        self._tracker.set_tags(record.run_id, tags | {Tag.MARK_REASON: found.reason if found else ""})
        return found

    def mark_all(self) -> None:
        """Mark every finished system that was not yet, or against another baseline, or as only earlier versions did."""
        for record in finished_systems(self._tracker, self._study):
            rival = self._baseline_of(record)
            known = record.tags.get(Tag.MARK) in (*MARKS, UNMARKED)
            if not known or record.tags.get(Tag.BASELINE, "") != (rival.run_id if rival else ""):
                self.mark(record)

    def _baseline_of(self, record: RunRecord) -> RunRecord | None:
        """The newest finished baseline of the task and the data of a system; a baseline has none."""
        if record.tags.get(Tag.KIND) == Kind.BASELINE:
            return None
        return find_baseline(self._baselines, record.tags.get(Tag.TASK, ""), record.tags.get(Tag.DATASET_DIGEST))

    def _read(self, run_id: str) -> pd.DataFrame | None:
        with suppress(InputError):  # trained on all development data, or deleted
            return read_predictions(self._tracker.artifact(run_id, predictions_path("test")), "test")
        return None
