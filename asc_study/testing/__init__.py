"""Contract suites for authors of own parts: each raises an AssertionError that says what to correct.

Each is imported when it is first used: that of architectures needs Keras, the others do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asc_study.testing.architectures import check_architecture
    from asc_study.testing.batch_augmentations import check_batch_augmentation
    from asc_study.testing.data_formats import check_data_format
    from asc_study.testing.fusion import check_fusion
    from asc_study.testing.waveform_augmentations import check_waveform_augmentation
    from asc_study.testing.worker_backends import check_worker_backend

__all__ = [
    "check_architecture",
    "check_batch_augmentation",
    "check_data_format",
    "check_fusion",
    "check_waveform_augmentation",
    "check_worker_backend",
]

#: Where each suite is.
_HOMES: Final = {
    "check_architecture": "architectures",
    "check_batch_augmentation": "batch_augmentations",
    "check_data_format": "data_formats",
    "check_fusion": "fusion",
    "check_waveform_augmentation": "waveform_augmentations",
    "check_worker_backend": "worker_backends",
}


def __getattr__(name: str) -> Any:
    """Import a suite at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
