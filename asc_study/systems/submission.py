"""The submission package of a system for DCASE 2024 or 2025 Task 1: system outputs and the file of meta information.

What the platform knows is filled in: complexity by the challenge's rules, how a system hears and learned, results on
the development test split overall, by class and by device. What only people know (authors, data from elsewhere) comes
from a file of theirs, or is left as `FILL_IN`. Results are means over the classes, as the challenge ranks; the log loss
is in nats.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import yaml

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError, shown
from asc_study.base.files import write_file
from asc_study.evaluation.scores_out import write_scores
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.routes import GENERAL, routed_devices, running
from asc_study.store.stale import further_down, members_of
from asc_study.store.tracking import Tracker
from asc_study.systems.meta_file import FILL_IN, Complexity, check_meta, left_to_fill_in, meta_information, read_about

#: Form -> parts of train, in per cent, that it takes systems of.
SPLITS: Final[Mapping[str, tuple[int, ...]]] = {"dcase2024": (5, 10, 25, 50, 100), "dcase2025": (25,)}

#: The limits of both years: bytes of all parameters, and multiply-accumulates of a clip.
LARGEST_SIZE: Final = 128_000
MOST_MACS: Final = 30_000_000

_LABEL: Final = re.compile(r"[A-Za-z]+_[A-Za-z0-9]+_task1_[1-4]")
_SPLIT: Final = re.compile(r"split(\d+)")
_FLOAT_BYTES: Final = 4


@dataclass(frozen=True)
class Submission:
    """What was written, and what is to be known of it: limits that are exceeded, and what is left to fill in."""

    folder: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export_submission(
    tracker: Tracker,
    references: Sequence[str],
    out: Path,
    form: str,
    *,
    label: str,
    about: Path | None = None,
    overwrite: bool = False,
) -> Submission:
    """Write the package of a system.

    Parameters
    ----------
    tracker, references
        The store and the runs (see `find_runs`), one for each part of train that the system was trained on.
    out
        The folder that gets a folder of the name ``label``.
    form
        ``dcase2024`` (of the splits 5, 10, 25, 50 and 100) or ``dcase2025`` (split 25).
    label
        ``<Lastname>_<Institute>_task1_<1-4>``.
    about
        A YAML file with what people say: ``submission`` and ``system`` as they stand in the meta file.
    overwrite
        Whether to replace files that are there.

    Raises
    ------
    InputError
        If the label or a run does not fit the form, a run lacks predictions, or files are there already.
    """
    if not _LABEL.fullmatch(label):
        raise InputError(
            f"--label must be LASTNAME_INSTITUTE_task1_N with N in 1 to 4, got {shown(label)}: for example "
            "Smith_MyUni_task1_1"
        )
    said = read_about(about) if about else {}
    runs = _by_split(tracker, references, form)
    tables = {split: tracker.predictions(record.run_id) for split, record in runs.items()}
    for split, known in tables.items():
        if "test" not in known:
            raise InputError(f"results are those of test, {runs[split].label!r} has no test predictions: name another")
    folder = out / label
    outputs = {split: folder / (f"split_{split}" if len(runs) > 1 else "") / "output.csv" for split in runs}
    meta = folder / f"{label}.meta.yaml"
    there = [path for path in (*outputs.values(), meta) if path.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} is there already: name another folder, or replace it with --force")

    complexities = {split: complexities_of(tracker, record) for split, record in runs.items()}
    notes = list(_notes(form, runs, tables, complexities))
    for split, path in outputs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        known = tables[split]
        write_scores(known.get("evaluation", known["test"]), path, form, overwrite=overwrite)
    words = description(tracker, next(reversed(runs.values())))
    tests = {split: known["test"] for split, known in tables.items()}
    content = meta_information(label, list(complexities.values()), tests, words, said)
    check_meta(content)
    write_file(meta, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    left = sorted(left_to_fill_in(content))
    if left:
        notes.append(f"to be filled in: {', '.join(left)}")
    return Submission(folder, (*outputs.values(), meta), tuple(notes))


def description(tracker: Tracker, record: RunRecord) -> dict[str, str]:
    """A system in the words of the meta file, as far as its runs tell."""
    networks, devices = _networks(tracker, record), routed_devices(record, tracker.run)
    source = _source(tracker, networks[0])
    rates = (source.params.get("features.resample_to", ""), source.tags.get(Tag.SAMPLE_RATE, ""))
    rate = next((text for text in rates if text.isdecimal()), "")
    augmentations = sorted({key.split(".")[1] for key in source.params if "_augmentation." in key})
    quantised = any(network.tags.get(Tag.KIND) == Kind.QUANTISED for network in networks)
    return {
        "input_sampling_rate": f"{int(rate) / 1000:g}kHz" if rate else FILL_IN,
        "acoustic_features": "log-mel energies",
        "data_augmentation": ", ".join(augmentations) or "none",
        "machine_learning_method": record.tags.get(Tag.SYSTEM) or source.params.get("architecture", FILL_IN),
        "decision_making": _deciding(len(_networks(tracker, record, device=GENERAL)), devices),
        "complexity_management": "weight quantization" if quantised else "none",
    }


def _deciding(networks: int, devices: Sequence[str]) -> str:
    """How a system that runs so many networks for a clip decides, in words."""
    decided = "maximum likelihood" if networks == 1 else f"fusion of {networks} networks"
    own = [device for device in devices if device]
    return decided + (f", by models of their own for {', '.join(own)}" if own else "")


def complexities_of(tracker: Tracker, record: RunRecord) -> dict[str, Complexity]:
    """Device -> what runs for a clip of it, of a system by device; ``general`` for any other. See `complexity`."""
    devices = routed_devices(record, tracker.run) or [GENERAL]
    return {device or "general": complexity(tracker, record, device) for device in devices}


def complexity(tracker: Tracker, record: RunRecord, device: str = GENERAL) -> Complexity:
    """What a system costs for a clip of a device: the sum over its networks, each at its own precision.

    Running statistics of batch normalisation are no parameters.

    Raises
    ------
    InputError
        If a network is gone, or its multiply-accumulates were not counted.
    """
    from asc_study.models.backend import import_keras

    import_keras()
    from asc_study.models.cost import model_size

    size = parameters = macs = 0
    for network in _networks(tracker, record, device=device):
        source = _source(tracker, network)
        counted = source.metrics.get("cost/torchinfo_macs")
        if counted is None:
            raise InputError(f"the multiply-accumulates of {source.label!r} were not counted: train it again")
        own = model_size(tracker.load_keras_model(source.run_id)).trainable_parameters
        stored = network.metrics.get("cost/stored_kb") if network is not source else None
        parameters += own
        size += own * _FLOAT_BYTES if stored is None else round(stored * 1024)
        macs += round(counted)
    return Complexity(size, parameters, macs)


def _networks(
    tracker: Tracker, record: RunRecord, above: tuple[str, ...] = (), device: str | None = None
) -> list[RunRecord]:
    """The networks of a system, which is a part of those ``above``, each once: all, or those that a device needs."""
    if record.tags.get(Tag.KIND) in (Kind.TRAIN, Kind.QUANTISED):
        return [record]
    above = further_down(record, above)
    found: dict[str, RunRecord] = {}
    for run_id in running(record, device):
        member = tracker.run(run_id)
        if member is None:
            raise InputError(f"{record.label!r} is made of run {run_id}, which was deleted: make it anew")
        found |= {one.run_id: one for one in _networks(tracker, member, above, device)}
    if not found:
        raise InputError(f"the complexity of {record.label!r} is not known, it was not trained here: name another run")
    return list(found.values())


def _source(tracker: Tracker, network: RunRecord) -> RunRecord:
    """The trained run behind a network."""
    if network.tags.get(Tag.KIND) == Kind.TRAIN:
        return network
    source = tracker.run(next(iter(members_of(network)), ""))
    if source is None:
        raise InputError(f"the network that {network.label!r} was made of was deleted: quantise another")
    return source


def _by_split(tracker: Tracker, references: Sequence[str], form: str) -> dict[int, RunRecord]:
    """The run of each part of train, the smallest part first."""
    found: dict[int, RunRecord] = {}
    for reference, records in zip(references, find_each(tracker, references), strict=True):
        if len(records) > 1:
            labels = ", ".join(record.label for record in records[:5])
            raise InputError(f"one run a split is exported, {reference!r} stands for {labels}: write STUDY/ROW@SEED")
        split = _split_of(tracker, records[0])
        if split not in SPLITS[form]:
            known = ", ".join(f"split{one}" for one in SPLITS[form])
            raise InputError(
                f"{form} takes systems of {known}, {records[0].label!r} was trained on {split} %: name one"
            )
        if split in found:
            raise InputError(f"one run a split is exported, got two of split{split}: leave one out")
        found[split] = records[0]
    return dict(sorted(found.items()))


def _split_of(tracker: Tracker, record: RunRecord) -> int:
    """The part of train that a system heard, in per cent; all of it if it names none."""
    subsets = {_source(tracker, one).params.get("training.subset", "None") for one in _networks(tracker, record)}
    if len(subsets) > 1:
        raise InputError(f"the networks of {record.label!r} were trained on several parts of train: {sorted(subsets)}")
    named = _SPLIT.fullmatch(subsets.pop())
    return int(named[1]) if named else 100


def _notes(
    form: str,
    runs: Mapping[int, RunRecord],
    tables: Mapping[int, Mapping[str, pd.DataFrame]],
    complexities: Mapping[int, Mapping[str, Complexity]],
) -> Iterable[str]:
    missing = [split for split in SPLITS[form] if split not in runs]
    if missing:
        yield f"{form} ranks by {', '.join(f'split{one}' for one in SPLITS[form])}, missing: " + ", ".join(
            f"split{one}" for one in missing
        )
    for split, device, cost in ((split, *one) for split, costs in complexities.items() for one in costs.items()):
        of = f"split{split}" + (f", {device}" if len(complexities[split]) > 1 else "")
        if cost.total_model_size > LARGEST_SIZE:
            yield f"{of}: {cost.total_model_size:,} bytes of parameters are over the limit of {LARGEST_SIZE:,}"
        if cost.macs > MOST_MACS:
            yield f"{of}: {cost.macs:,} multiply-accumulates are over the limit of {MOST_MACS:,}"
    for split, known in tables.items():
        if "evaluation" not in known:
            yield f"split{split}: the output is that of test, not of the evaluation set: `asc-study score` that first"
