"""Keras as this program needs it, whatever a user's ``keras.json`` says."""

import importlib.util
import os
from typing import Any

from asc_study.base.errors import InputError
from asc_study.base.provenance import backend_name
from asc_study.base.quiet import quiet
from asc_study.models.unequal_strides import allow_unequal_strides

_REMEDY = "set KERAS_BACKEND or the `backend` of keras.json to tensorflow, or to jax if it is installed"


def require_backend() -> None:
    """Raise `InputError` if Keras' back end is not installed, without importing Keras."""
    name = backend_name()
    if not name.isidentifier() or importlib.util.find_spec(name) is None:
        raise InputError(f"the back end of Keras must be installed, got {name!r:.80}: {_REMEDY}")


def import_keras() -> Any:
    """Keras, quietly, with channels last, float32 and its own epsilon, which are part of what a model computes.

    Raises
    ------
    InputError
        If its back end cannot be imported.
    """
    require_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with quiet():
            import keras
    except (ImportError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"Keras cannot start with the back end {backend_name()!r} ({reason:.200}): {_REMEDY}"
        ) from None
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    if keras.backend.backend() == "tensorflow":
        allow_unequal_strides()
    return keras
