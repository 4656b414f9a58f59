"""A loaded bundle on recordings whose scenes are known: the device table."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asc_study.base.errors import InputError
from asc_study.base.progress import progress_bar
from asc_study.base.taxonomy import label_column, task_of_classes
from asc_study.data.layout import read_labelled_list
from asc_study.deploy.runtime.system import System
from asc_study.evaluation.accuracy_table import accuracy_table
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import predictions_table


def judge(system: System, clips: Sequence[str], labels: Path, *, name: str, as_json: bool) -> str:
    """Classify the listed ones among recordings, each as one of its device, and lay out the accuracy by device subset.

    Parameters
    ----------
    system
        A loaded bundle.
    clips
        Paths of recordings; those that the list does not name are left out.
    labels
        A list with labels, see `read_labelled_list`.
    name
        What the table calls the system.
    as_json
        Give all metrics as JSON instead of the table.

    Raises
    ------
    InputError
        If the list names none of the recordings or one twice, is of another task, or a recording cannot be read.
    """
    labelled_as, listed = read_labelled_list(labels)
    task = task_of_classes(system.classes)
    if task is None or (label_column(task) == "scene" and label_column(labelled_as) != "scene"):
        raise InputError(
            f"the labels must be of the system's classes ({', '.join(system.classes)}), got scene groups in {labels}: "
            "name a ten-class list"
        )
    path_of = {Path(clip).stem: clip for clip in clips}
    chosen = listed[listed["clip_id"].isin(list(path_of))].reset_index(drop=True)
    if chosen.empty:
        raise InputError(
            f"{labels} must name some of the {len(clips)} recordings, got none of them: name its audio folder"
        )
    outputs = []
    with progress_bar(len(chosen), "classified", "clip", keep=False, delay_seconds=2) as bar:
        for clip_id, device in zip(chosen["clip_id"], chosen["device"], strict=True):
            heard_by = device if system.devices else ""
            outputs.append(list(system.classify_file(path_of[clip_id], heard_by).probabilities.values()))
            bar.update()
    metrics = evaluate(predictions_table(chosen.assign(split="test"), np.array(outputs), task))
    if as_json:
        return json.dumps({"clips": len(chosen), "metrics": metrics, "notes": system.notes.lines()}, indent=2)
    notes = [f"note: {line}" for line in system.notes.lines()]
    return "\n".join([accuracy_table({name: metrics}), f"{len(chosen)} clips; accuracy in %, log loss in nats", *notes])
