"""What makes a quantised network, and a system of such networks, the same run: known before any is made."""

from typing import Any, Final

from asc_study.base.contract import Kind
from asc_study.store.records import RunRecord
from asc_study.systems.derived import Identity

#: Metric: size of the files of the networks, in units of 1,024 bytes.
FILE_KB: Final = "cost/file_kb"

#: Part of both identities: raise it when a change of `asc_study.deploy.tflite` changes what its files compute.
CONVERSION: Final = 1

#: Training clips that the ranges of activations are measured on.
CALIBRATION_CLIPS: Final = 200


def quantised_identity(trained: RunRecord, scheme: str) -> Identity:
    """What makes a quantised network the same: the trained run, and how it is converted."""
    return Identity(Kind.QUANTISED, _conversion(scheme), [trained])


def system_identity(part: RunRecord, scheme: str) -> Identity:
    """What makes a system the same: the run that says its networks and their fusion, and how they are converted."""
    return Identity(Kind.SYSTEM, _conversion(scheme), [part])


def _conversion(scheme: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"scheme": scheme, "conversion": CONVERSION}
    return settings | ({"calibration_clips": CALIBRATION_CLIPS} if scheme == "int8" else {})
