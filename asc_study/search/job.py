"""What all workers of a search are given, wherever they are, and how a search ends before there are enough trials."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from asc_study.search.file import Search
from asc_study.search.fold import Trainer, begin_training
from asc_study.search.trial import Setting, TrialOutcome
from asc_study.store.addresses import masked
from asc_study.store.tracking import Tracker
from asc_study.study.launch import Launch

Tell = Callable[[TrialOutcome], None]

#: Workers that may die one after the other without ending a trial.
DEATHS: Final = 3

#: Trials that may fail one after the other in a worker: what fails them all is not their points.
FAILURES: Final = 5


class SearchEnded(Exception):
    """A search ended before there were enough trials, and what was asked for is not the reason."""


@dataclass(frozen=True)
class Job:
    """What every worker does: trials of ``search`` until there are ``total`` (None: no limit) or it is ``deadline``.

    ``deadline`` is in seconds since the epoch; infinity for none. ``train`` begins the training of one fold;
    ``teachers`` are the runs of each teacher and fold.
    """

    search: Search
    launch: Launch
    url: str
    total: int | None
    deadline: float
    train: Trainer = begin_training
    teachers: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def setting(self, tracker: Tracker, worker: str) -> Setting:
        """What the trials of one worker share."""
        return Setting(self.search, self.launch, tracker, self.train, masked(self.url), worker, teachers=self.teachers)


def all_failed(last: TrialOutcome) -> SearchEnded:
    """What ends a search in which trial after trial fails."""
    return SearchEnded(f"{FAILURES} trials failed one after the other, the last: {last.reason}")
