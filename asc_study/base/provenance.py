"""Which code, libraries and machine made a result: the commit, the execution fingerprint and the whole environment.

The *fingerprint* is what computes: back end, kind of device, versions of the libraries whose arithmetic is in a result.
Runs of one signature under two fingerprints are the same experiment, but need not give the same figures. Everything
here is found out without importing a back end, so that a plan can tell in no time.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from asc_study import __version__
from asc_study.base.contract import Tag

#: Libraries whose arithmetic is in every result, besides the back end's own.
_COMPUTING: Final = ("keras", "numpy", "scipy", "librosa", "soxr", "numba", "pyroomacoustics", "scikit-learn")

#: Back end -> the packages that are it.
_BACKENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tensorflow": ("tensorflow",),
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
}

#: What else is recorded: they read, store or describe, but do not compute.
_RECORDED: Final = ("asc-study", "mlflow", "optuna", "pandas", "pyarrow", "soundfile", "h5py", "llvmlite", "joblib")

#: Environment variables by these prefixes switch what libraries compute with.
_SWITCHES: Final = ("KERAS_", "TF_", "XLA_", "JAX_", "CUDA_", "NVIDIA_TF32", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_")

#: Packages that give a back end its GPU code.
_GPU_CODE: Final[Mapping[str, tuple[str, ...]]] = {
    "tensorflow": ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
    "jax": ("jax-cuda12-plugin", "jax-cuda13-plugin"),
    "torch": ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
}

#: The fingerprint of a run that was interrupted and went on under another one.
MIXED: Final = "mixed"

_DRIVER: Final = Path("/proc/driver/nvidia")


def git_commit() -> str:
    """The commit of the code in use (``-dirty`` if it was changed since), or the package's version outside git."""
    folder = Path(__file__).resolve().parent
    with suppress(OSError, subprocess.CalledProcessError):
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
        )
        if tracked.returncode == 0:  # else the package is installed inside somebody else's repository
            return described.stdout.strip()
    return f"asc-study {__version__}"


def backend_name() -> str:
    """Keras' back end in this process, or the one that it would start with."""
    if "keras" in sys.modules:
        return str(sys.modules["keras"].backend.backend())
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    home = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser())
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow"))
    return "tensorflow"


def device_kind(backend: str) -> str:
    """``cpu``, or the model of the GPU that the back end would compute on."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    if hidden or (backend == "jax" and os.environ.get("JAX_PLATFORMS") == "cpu"):
        return "cpu"
    if not any(_version(package) for package in _GPU_CODE.get(backend, ())):
        return "cpu"
    return next(_gpus(), "cpu")


def fingerprint() -> dict[str, str]:
    """The facts of what computes here: back end, device, processor architecture and versions."""
    backend = backend_name()
    packages = [*_BACKENDS.get(backend, (backend,)), *_COMPUTING]
    versions = {package: _version(package) for package in packages}
    facts = {"backend": backend, "device": device_kind(backend), "machine": platform.machine()}
    return facts | {package: found for package, found in versions.items() if found}


def short_digest(facts: Mapping[str, str]) -> str:
    """The display form of a fingerprint: 10 hex digits."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:10]


def fact_tags(facts: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run that say what computes it."""
    return {
        Tag.FINGERPRINT: short_digest(facts),
        Tag.FINGERPRINT_FACTS: json.dumps(dict(facts), sort_keys=True),
        Tag.BACKEND: f"{facts['backend']} {facts.get(facts['backend'], '')}".strip(),
        Tag.DEVICE: facts["device"],
    }


def other_facts(tags: Mapping[str, str], here: Mapping[str, str]) -> str:
    """What tells the fingerprint in a run's tags from this one, in words: ``backend jax, here tensorflow``."""
    if tags.get(Tag.FINGERPRINT) == MIXED:
        return "mixed, it was interrupted and went on elsewhere"
    try:
        facts = dict(json.loads(tags.get(Tag.FINGERPRINT_FACTS, "")))
    except (ValueError, TypeError):
        return "not recorded"
    keys = [key for key in {**here, **facts} if facts.get(key) != here.get(key)]
    return ", ".join(f"{key} {facts.get(key, '-')}, here {here.get(key, '-')}" for key in keys)


def environment() -> dict[str, Any]:
    """Everything besides the settings that can change a result, in the types of JSON."""
    facts = fingerprint()
    versions = {name: _version(name) for name in sorted({*facts, *_COMPUTING, *_RECORDED, "tensorflow", "jax"})}
    return {
        "commit": git_commit(),
        "fingerprint": facts,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": list(_gpus()),
        "gpu_driver": _driver(),
        "versions": {name: found for name, found in versions.items() if found},
        "switches": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_SWITCHES)},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _gpus() -> Iterator[str]:
    """The models of the GPUs that the driver knows."""
    for file in sorted(_DRIVER.glob("gpus/*/information")):
        with suppress(OSError):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("Model:"):
                    yield line.partition(":")[2].strip()


def _driver() -> str:
    with suppress(OSError):
        return (_DRIVER / "version").read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    return ""


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
