"""Rows that need others of their study: the order of trainings, the identities of rows, and what a teacher says."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.data.identified import IdentifiedDataset
from asc_study.settings.identity import run_identity, signature
from asc_study.settings.needs import depths
from asc_study.settings.run_config import RunConfig
from asc_study.settings.study_file import Study
from asc_study.store.queries import Reader
from asc_study.systems.rows import row_combinations
from asc_study.training.run_data import RunData, run_data

if TYPE_CHECKING:
    import pandas as pd


def waves(study: Study) -> list[list[str]]:
    """The trained rows by what must be trained before: first those that need none, then those that need these, ..."""
    depth = depths(study.needs, {row.name: row.config.task for row in study.rows}, _parts(study))
    return [[name for name, own in depth.items() if own == number] for number in range(max(depth.values()) + 1)]


def identities(study: Study, digest: str) -> dict[str, dict[str, Any]]:
    """The identity of each trained row, in the study's order, with the combinations of its teacher and its origin."""
    rows = {row.name: row.config for row in study.rows}
    found: dict[str, dict[str, Any]] = {}
    for number, wave in enumerate(waves(study)):
        known = _combinations(study, found) if number else {}
        for name in wave:
            needed = {setting: known[row] for setting, row in rows[name].needs.items()}
            teacher, origin = needed.get("distillation.teacher", ""), needed.get("continues.row", "")
            found[name] = run_identity(rows[name], digest, teacher=teacher, origin=origin)
    return {name: found[name] for name in rows}


def awaited(study: Study, row: str) -> list[str]:
    """The trained rows that what a row needs is or is made of; none for a row that needs none."""
    parts, names = _parts(study), list(study.needs.get(row, {}).values())
    trained = []
    while names:
        name = names.pop()
        if name in parts:
            names += parts[name]
        else:
            trained.append(name)
    return trained


def heard_before(study: Study, rows: Collection[str]) -> list[str]:
    """A line for each of these rows whose validation flatters it: what it learns from heard clips that it does not.

    Those are clips of its validation locations, where the two are cut differently or by folds, and of devices that it
    holds out. No test clip is among them.
    """
    configs = {row.name: row.config for row in study.rows}
    lines = []
    for name in (row.name for row in study.rows if row.config.needs and row.name in rows):
        config, heard = configs[name], set()
        own = config.validation
        for theirs in (configs[needed].validation for needed in awaited(study, name)):
            alike = (own.share, own.seed) == (theirs.share, theirs.seed) and not own.folds and not theirs.folds
            if config.cuts_validation and not alike:
                heard.add("its locations")
            heard |= set(own.holdout_devices) - set(theirs.holdout_devices)
        if heard:
            lines.append(
                f"note ({name}): {' and '.join(config.needs.values())} heard {', '.join(sorted(heard))}, which it is "
                "validated on: validation flatters it; give both one cut without folds, and hold out the same devices"
            )
    return lines


def teacher_table(
    reader: Reader, run_id: str, config: RunConfig, launch_data: IdentifiedDataset, part: RunData, fold: int
) -> "pd.DataFrame":
    """What a teacher says of a student's training clips, augmented copies included: probabilities, a column a class.

    Parameters
    ----------
    reader, run_id
        The store, and the teacher: a trained run, an ensemble or a fusion.
    config
        The student's settings; its clips are given to the teacher with the features that the teacher was trained on.
    launch_data, part, fold
        The data set, the student's own part of it, and which fold that is.

    Raises
    ------
    InputError
        If the teacher was trained on other splits than the student, was deleted, or has no model.
    """
    from asc_study.evaluation.predictions import predictions_table
    from asc_study.systems.score_fused import fused_table, networks_of
    from asc_study.systems.score_network import config_of

    record = reader.run(run_id)
    if record is None:
        raise InputError(f"the teacher, run {run_id}, was deleted: start the study again to make it anew")
    clips = part.clips[part.clips["split"] == "train"]
    tables = {}
    for network in networks_of(reader, record):
        theirs = config_of(reader, network)
        if theirs.training.data != config.training.data:
            raise InputError(
                f"a teacher must be trained on the same splits as its student, {config.training.data}, got "
                f"{network.label} on {theirs.training.data}: it would tell of clips that the student is tested on"
            )
        heard = config.model_copy(update={"features": theirs.features})
        data = run_data(heard, launch_data.dataset, launch_data.audio_digests, fold=fold)
        tables[network.run_id] = predictions_table(clips, _outputs(reader, network.run_id, data, clips), theirs.task)
    table = fused_table(reader, record, clips, tables).set_index("clip_id")
    return table.loc[clips["clip_id"], list(CLASSES[config.task])].set_axis(clips.index)


def _outputs(reader: Reader, run_id: str, data: RunData, clips: "pd.DataFrame") -> Any:
    from asc_study.training.batches import EvaluationBatches

    return reader.load_keras_model(run_id).predict(EvaluationBatches(data.store, clips.index.to_numpy()), verbose=0)


def _parts(study: Study) -> dict[str, Sequence[str]]:
    return {row.name: row.parts for row in study.ensembles}


def _combinations(study: Study, found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The combinations of rows, and of the ensembles that are made of these alone."""
    trained = {name: signature(identity) for name, identity in found.items()}
    known, whole = set(trained), []
    for ensemble in study.ensembles:
        if known.issuperset(ensemble.parts):
            whole.append(ensemble)
            known.add(ensemble.name)
    return trained | row_combinations(whole, (), trained)
