"""Predictions tables become files for others.

The form ``dcase2020`` is that of the challenge's system outputs: tabs, a header, ``filename``, ``scene_label`` (the
decision), then one probability column a class in alphabetical order. In ``dcase2024`` and ``dcase2025`` file names have
no folder.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.files import writing
from asc_study.evaluation.predictions import CONTEXT_COLUMNS, as_float32, check_predictions, classes_of

#: Forms in which predictions are written.
FORMS: Final = ("dcase2020", "dcase2024", "dcase2025", "csv", "parquet")

#: Those with tabs and file names, and what these begin with.
_FOLDERS: Final = {"dcase2020": "audio/", "dcase2024": "", "dcase2025": ""}

#: Significant digits that keep every float32 apart from its neighbours.
_DIGITS: Final = "%.9g"


def write_scores(predictions: pd.DataFrame, path: Path, form: str, *, overwrite: bool = False) -> None:
    """Write a predictions table for others; the file appears when it is whole.

    Parameters
    ----------
    predictions
        A predictions table; clips of the split ``evaluation`` may lack the label (``scene`` is empty).
    path
        The file; its folder must be there.
    form
        One of `FORMS`: ``dcase2020``, ``dcase2024``, ``dcase2025`` (the challenge's system outputs), ``csv`` or
        ``parquet`` (the whole table). Text keeps float32 probabilities to the last bit.
    overwrite
        Whether to replace the file if it is there.

    Raises
    ------
    InputError
        If the form is unknown, the table breaks its contract, the file exists or it cannot be written.
    """
    if form not in FORMS:
        raise InputError(f"the form must be one of {', '.join(FORMS)}, got {form!r}")
    check_predictions(predictions)
    if os.path.isdir(path):  # unlike Path's, these take a name that is too long as one that is not there
        raise InputError(f"{path} is a folder: name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is no regular file: name one that is, or a new one")
    if os.path.exists(path) and not overwrite:
        raise InputError(f"{path} exists: name another file or overwrite it with --force")
    folder = Path(os.path.realpath(path)).parent if os.path.islink(path) else path.parent  # a link stays a link
    if not os.path.isdir(folder):
        raise InputError(f"the folder {folder} does not exist: create it or name another file than {path}")
    table = predictions if form == "parquet" else _as_text_table(predictions, form)
    separator = "\t" if form in _FOLDERS else ","
    with writing(path) as file:
        if form == "parquet":
            table.to_parquet(file, index=False)
        else:
            table.to_csv(file, sep=separator, index=False, float_format=_DIGITS, lineterminator="\n")


def _as_text_table(predictions: pd.DataFrame, form: str) -> pd.DataFrame:
    """The columns of a text form, with float32 probabilities."""
    classes = classes_of(predictions)
    values = predictions[list(classes)].to_numpy(np.float64)
    decisions = values.argmax(axis=1)
    probabilities = pd.DataFrame(as_float32(values, decisions), columns=list(classes))
    if form == "csv":
        front = predictions[list(CONTEXT_COLUMNS)].reset_index(drop=True)
    else:
        front = pd.DataFrame(
            {
                "filename": [f"{_FOLDERS[form]}{clip_id}.wav" for clip_id in predictions["clip_id"]],
                "scene_label": np.asarray(classes)[decisions],
            }
        )
    return pd.concat([front, probabilities], axis=1)
