"""A bundle as an MLflow model, from code: MLflow runs this file where the model is loaded.

There it needs MLflow, the bundle and the bundle's four packages, and not this one.

A request holds a column ``wav`` (the bytes of a recording; base64 over HTTP), or ``samples`` (floats, full scale is 1)
with ``sample_rate`` (Hz). It may hold ``device``, what recorded each clip, or the parameter of that name, what recorded
those of which the column says nothing: a system by device goes by it as `asc-study classify --device` does. The answer
has the columns ``scene`` and one probability a class. What is no clip is refused with status 400 and one line.
"""

import sys
import threading
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

#: Most bytes of one recording, 32 MB: three minutes of stereo at 48 kHz and 16 bits.
LIMIT = 32 * 1024**2

#: What WAV, FLAC, OGG and MP3 files begin with: base64 is decoded leniently, and any text is base64 of something.
_BEGINNINGS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")


class ServedBundle(PythonModel):  # type: ignore[misc]
    """The bundle that is the model's artifact ``bundle``."""

    def load_context(self, context: Any) -> None:
        """Load the bundle with its own runtime, unless asc-study is installed."""
        folder = Path(context.artifacts["bundle"])
        sys.path.append(str(folder / "runtime"))
        from asc_study.deploy.runtime.system import load_bundle

        self._system = load_bundle(folder)
        self._lock = threading.Lock()  # LiteRT computes one clip at a time

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow would read types
        """Name the scene of each row's clip."""
        import pandas as pd

        from asc_study.base.errors import InputError

        rows: list[dict[str, Any]] = []
        if not {"wav", "samples"} & set(model_input.columns):
            line = f"a request must hold the column wav, or samples with sample_rate, got {list(model_input.columns)}"
            raise MlflowException(line, error_code=INVALID_PARAMETER_VALUE)
        for number, row in enumerate(model_input.to_dict("records")):
            try:
                with self._lock:
                    scene = self._scene(row, _device(row, params or {}))
            except InputError as error:
                line = f"row {number}: {' '.join(str(error).split())}"
                raise MlflowException(line, error_code=INVALID_PARAMETER_VALUE) from None
            rows.append({"scene": scene.label, **scene.probabilities})
        return pd.DataFrame(rows)

    def _scene(self, row: dict[str, Any], device: str) -> Any:
        from asc_study.base.errors import InputError

        wav = row.get("wav")
        if isinstance(wav, bytes):
            if len(wav) > LIMIT:
                raise InputError(f"a recording may have at most {LIMIT:,} bytes, got {len(wav):,}: cut it")
            if not wav.startswith(_BEGINNINGS):
                raise InputError(f"`wav` must be a WAV, FLAC, OGG or MP3 file in base64, got {len(wav):,} other bytes")
            return self._system.classify_file(wav, device)
        samples, rate = row.get("samples"), row.get("sample_rate")
        if not isinstance(samples, list | np.ndarray) or not isinstance(rate, int | float) or not rate > 0:
            raise InputError("a row must hold `wav`, or `samples` with `sample_rate`, got neither: see the signature")
        if 8 * len(samples) > 8 * LIMIT:
            raise InputError(f"a clip may have at most {LIMIT:,} samples, got {len(samples):,}: cut it")
        return self._system.classify(np.asarray(samples, np.float64), int(rate), device)


def _device(row: dict[str, Any], params: dict[str, Any]) -> str:
    """What recorded the clip of a row; empty where neither the row nor the request says."""
    said = row.get("device")  # NaN or None where other rows say it
    return said if isinstance(said, str) and said else str(params.get("device") or "")


mlflow.models.set_model(ServedBundle())
