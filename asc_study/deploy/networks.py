"""The networks of a study's systems, quantised beside each other: those that are members, or may become some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError, failure_reason
from asc_study.base.progress import Say
from asc_study.data.identified import IdentifiedDataset
from asc_study.deploy.quantise import find_quantised, quantise
from asc_study.deploy.recipe import Recipe, make_recipe
from asc_study.figures.loading import pages_load_plotlyjs, plotlyjs
from asc_study.settings.system_rows import StudySystem
from asc_study.store.addresses import scrubbed
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.tracking import Tracker
from asc_study.systems.deployed import system_identity
from asc_study.systems.derived import find_derived
from asc_study.workers.pool import run_parallel

#: Run -> what it is converted to.
_Wanted = Mapping[tuple[str, str], RunRecord]


@dataclass(frozen=True)
class SystemsWork:
    """The systems of a study that are to be made, and what they are made of.

    Attributes
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

    tracker: Tracker
    study: str
    systems: Sequence[StudySystem]
    seeds: Sequence[int]
    finished: Mapping[tuple[str, int], str]
    data: IdentifiedDataset
    jobs: int
    say: Say


def quantise_candidates(work: SystemsWork) -> dict[tuple[str, int], str]:
    """Quantise the rows that systems choose among by the size of their files.

    Returns
    -------
    dict
        (name of the quantised row, seed) -> id of its run; what could not be quantised is left out.
    """
    tracker, records = work.tracker, dict[tuple[str, int], tuple[RunRecord, str]]()
    for system in work.systems:
        for name, row in system.quantised.items():
            for seed in work.seeds:
                run_id = work.finished.get((row, seed))
                if run_id and (record := tracker.run(run_id)):
                    records[name, seed] = record, system.scheme
    wanted = {
        (record.run_id, scheme): record
        for record, scheme in records.values()
        if not find_quantised(tracker, record, scheme)
    }
    _quantise_all(work, wanted)
    found = {place: find_quantised(tracker, record, scheme) for place, (record, scheme) in records.items()}
    return {place: record.run_id for place, record in found.items() if record}


def quantise_members(work: SystemsWork) -> dict[tuple[str, str], str]:
    """Quantise the networks that systems consist of; returns why some could not be, by run and scheme."""
    return _quantise_all(work, _members(work))


def _members(work: SystemsWork) -> dict[tuple[str, str], RunRecord]:
    """The trained runs that are to be converted, by id and scheme; what is converted already is left out."""
    tracker, wanted = work.tracker, dict[tuple[str, str], RunRecord]()
    for system in work.systems:
        for seed in work.seeds:
            run_id = work.finished.get((system.part, seed))
            record = tracker.run(run_id) if run_id else None
            if record is None or find_derived(tracker, work.study, system_identity(record, system.scheme)):
                continue
            try:
                networks = recipe_of(tracker, record).networks.values()
            except InputError:  # told when the system is made
                continue
            for network in networks:
                if network.tags[Tag.KIND] == Kind.TRAIN and not find_quantised(tracker, network, system.scheme):
                    wanted[network.run_id, system.scheme] = network
    return wanted


def recipe_of(tracker: Reader, part: RunRecord) -> Recipe:
    """What a system of that part consists of."""
    alone = part.tags[Tag.KIND] == Kind.TRAIN
    return make_recipe(tracker, [part.run_id] if alone else [], [], "average" if alone else part.run_id)


def _quantise_all(work: SystemsWork, wanted: _Wanted) -> dict[tuple[str, str], str]:
    """Quantise runs beside each other; returns why some could not be."""
    failures = {}
    one, calls = partial(_quantise, uri=work.tracker.uri, data=work.data, figures=plotlyjs()), list(wanted)
    for number, (run_id, scheme, line, failure) in enumerate(run_parallel(one, calls, jobs=work.jobs), 1):
        head = f"[{number}/{len(calls)}] {wanted[run_id, scheme].label}, {scheme}"
        work.say(f"{head}: FAILED: {failure}" if failure else f"{head}: {line}")
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
