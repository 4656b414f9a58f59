"""The file of meta information of a submission to DCASE 2024 or 2025 Task 1: its form, and results as it has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import did_you_mean
from asc_study.base.yaml_file import read_yaml
from asc_study.evaluation.metrics import labels_of, losses
from asc_study.evaluation.predictions import classes_of

#: What stands for what is to be filled in.
FILL_IN: Final = "FILL-IN"

#: What people may say, in the order of the file: section -> its keys.
_SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "submission": ("name", "abbreviation", "authors"),
    "system": ("description", "external_datasets", "source_code"),
}

_AUTHOR: Final = {"lastname": FILL_IN, "firstname": FILL_IN, "email": FILL_IN, "affiliation": {"institute": FILL_IN}}


@dataclass(frozen=True)
class Complexity:
    """By the rules of 2024 and 2025: bytes at the precision used, parameters, multiply-accumulates of a clip."""

    total_model_size: int
    total_parameters: int
    macs: int


def meta_information(
    label: str,
    costs: Sequence[Mapping[str, Complexity]],
    tests: Mapping[int, pd.DataFrame],
    words: Mapping[str, str],
    said: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of the meta file.

    Parameters
    ----------
    label
        Of the submission.
    costs
        Of each system, by device. The largest stands for all; those of the models by device stand beside it.
    tests
        Split -> predictions table of the development test split.
    words
        What `description` gives.
    said
        Section -> what people say.
    """
    every = [(device, cost) for known in costs for device, cost in known.items()]
    largest = max((cost for _, cost in every), key=lambda one: (one.total_model_size, one.macs))
    submission: dict[str, Any] = {"label": label, "name": FILL_IN, "abbreviation": FILL_IN, "authors": [_AUTHOR]}
    system: dict[str, Any] = {
        "description": dict(words),
        "complexity": dict(vars(largest)),
        "external_datasets": FILL_IN,
        "source_code": FILL_IN,
    }
    if len(costs) == 1 and len(costs[0]) > 1:
        system["complexity_by_device"] = {device: dict(vars(cost)) for device, cost in every}
    described = system["description"] | dict(said.get("system", {}).get("description", {}))
    return {
        "submission": submission | dict(said.get("submission", {})),
        "system": system | dict(said.get("system", {})) | {"description": described},
        "results": {"development_dataset": {f"split_{split}": results(table) for split, table in tests.items()}},
    }


def results(test: pd.DataFrame) -> dict[str, Any]:
    """Accuracy (per cent) and log loss (nats) overall, by class and by device; means over the classes.

    Parameters
    ----------
    test
        Predictions of the development test split.
    """
    classes = classes_of(test)
    label = labels_of(test, classes)
    probabilities = test[list(classes)].to_numpy(np.float64)
    frame = pd.DataFrame(
        {
            "class": np.asarray(classes)[label],
            "device": test["device"].to_numpy(),
            "accuracy": 100.0 * (probabilities.argmax(axis=1) == label),
            "logloss": losses(probabilities / probabilities.sum(axis=1, keepdims=True), label),
        }
    )
    return {
        "overall": _over_classes(frame),
        "class_wise": {
            name: _plain(frame[frame["class"] == name]) for name in classes if (frame["class"] == name).any()
        },
        "device_wise": {str(name): _over_classes(of_device) for name, of_device in frame.groupby("device")},
    }


def _over_classes(frame: pd.DataFrame) -> dict[str, float]:
    return _rounded(frame.groupby("class")[["accuracy", "logloss"]].mean().mean())


def _plain(frame: pd.DataFrame) -> dict[str, float]:
    return _rounded(frame[["accuracy", "logloss"]].mean())


def _rounded(means: "pd.Series[float]") -> dict[str, float]:
    return {"accuracy": round(float(means["accuracy"]), 2), "logloss": round(float(means["logloss"]), 4)}


def read_about(path: Path) -> dict[str, dict[str, Any]]:
    """What people say, without keys that the meta file does not have."""
    content = read_yaml(path, "settings", "`submission` and `system`").content
    for section, values in content.items():
        if section not in _SAID or not isinstance(values, dict):
            raise InputError(f"{path} may hold the mappings {' and '.join(_SAID)}, got {shown(section)}: correct it")
        for key in values:
            if key not in _SAID[section]:
                raise InputError(
                    f"{path}: unknown key {shown(f'{section}.{key}')}: {did_you_mean(key, list(_SAID[section]))}"
                )
    return content


def check_meta(content: Mapping[str, Any]) -> None:
    """Hold the content of a meta file to the form of the challenge.

    Raises
    ------
    InputError
        At the first rule that it breaks.
    """
    for path in (
        *(("submission", key) for key in ("label", *_SAID["submission"])),
        *(("system", key) for key in (*_SAID["system"], "complexity")),
        *(("system", "complexity", key) for key in ("total_model_size", "total_parameters", "macs")),
        ("results", "development_dataset"),
    ):
        inside: Any = content
        for key in path:
            if not isinstance(inside, Mapping) or key not in inside:
                raise InputError(f"the meta file must have {'.'.join(path)}, which is missing: add it")
            inside = inside[key]
    if not isinstance(content["submission"]["authors"], list) or not content["submission"]["authors"]:
        raise InputError("submission.authors must be a list of people: name at least one")
    for split, found in content["results"]["development_dataset"].items():
        for part in ("overall", "class_wise", "device_wise"):
            values = {"": found[part]} if part == "overall" else found[part]
            for name, pair in values.items():
                if set(pair) != {"accuracy", "logloss"} or not 0 <= pair["accuracy"] <= 100 or pair["logloss"] < 0:
                    raise InputError(
                        f"results of {split} must have an accuracy in per cent and a log loss, got {pair} for {part} "
                        f"{name}".rstrip()
                    )


def left_to_fill_in(content: Any, path: str = "") -> Iterable[str]:
    """Where something is left to fill in."""
    if content == FILL_IN:
        yield path
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from left_to_fill_in(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from left_to_fill_in(value, f"{path}.{number}")
