"""Acoustic scene classification studies: device-robust training, tracked as MLflow runs.

What stands in `__all__` is the public interface, with a line each in docs/reference.md; everything else may change with
any version. A name is imported when it is first used, so that ``import asc_study`` takes no time.

The names keep the ``__module__`` of the place where they are defined, although they are offered here: by it the digest
of a part's code finds the source (`asc_study.base.source`), and pickles for other processes find the part.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asc_study.augmentation.batch import BatchAugmentation
    from asc_study.augmentation.waveform import WaveformAugmentation
    from asc_study.base.errors import InputError, TrainingFailure
    from asc_study.data.formats.data_format import DataFormat
    from asc_study.data.identified import identify
    from asc_study.data.layout import read_dataset
    from asc_study.deploy.runtime.system import load_bundle
    from asc_study.ensemble.rules import FusionRule
    from asc_study.evaluation.metrics import evaluate
    from asc_study.evaluation.predictions import predictions_table, read_predictions, write_predictions
    from asc_study.evaluation.significance import compare
    from asc_study.features.logmel import log_mel
    from asc_study.features.settings import LogMelSettings
    from asc_study.models import Architecture, build_model
    from asc_study.models.options import ModelOptions
    from asc_study.search.file import load_search
    from asc_study.search.run_search import run_search
    from asc_study.settings.study_file import load_study
    from asc_study.simulation.simulate import simulate
    from asc_study.store.references import find_runs
    from asc_study.store.tracking import Tracker
    from asc_study.study.leaderboard import study_leaderboard
    from asc_study.study.plan import make_plan
    from asc_study.study.run_study import run_study
    from asc_study.systems.compare import compare_runs

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "BatchAugmentation",
    "DataFormat",
    "FusionRule",
    "InputError",
    "LogMelSettings",
    "ModelOptions",
    "Tracker",
    "TrainingFailure",
    "WaveformAugmentation",
    "__version__",
    "build_model",
    "compare",
    "compare_runs",
    "evaluate",
    "find_runs",
    "identify",
    "load_bundle",
    "load_search",
    "load_study",
    "log_mel",
    "make_plan",
    "predictions_table",
    "read_dataset",
    "read_predictions",
    "run_search",
    "run_study",
    "simulate",
    "study_leaderboard",
    "write_predictions",
]

#: Where each public name is defined.
_HOMES: Final = {
    "Architecture": "models",
    "BatchAugmentation": "augmentation.batch",
    "DataFormat": "data.formats.data_format",
    "FusionRule": "ensemble.rules",
    "InputError": "base.errors",
    "LogMelSettings": "features.settings",
    "ModelOptions": "models.options",
    "Tracker": "store.tracking",
    "TrainingFailure": "base.errors",
    "WaveformAugmentation": "augmentation.waveform",
    "build_model": "models",
    "compare": "evaluation.significance",
    "compare_runs": "systems.compare",
    "evaluate": "evaluation.metrics",
    "find_runs": "store.references",
    "identify": "data.identified",
    "load_bundle": "deploy.runtime.system",
    "load_search": "search.file",
    "load_study": "settings.study_file",
    "log_mel": "features.logmel",
    "make_plan": "study.plan",
    "predictions_table": "evaluation.predictions",
    "read_dataset": "data.layout",
    "read_predictions": "evaluation.predictions",
    "run_search": "search.run_search",
    "run_study": "study.run_study",
    "simulate": "simulation.simulate",
    "study_leaderboard": "study.leaderboard",
    "write_predictions": "evaluation.predictions",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    """All names, those included that nobody has used yet."""
    return sorted({*globals(), *__all__})
