"""The clip table: everything that is known about the clips of a data set, one row a clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

#: Columns of the clip table; ``path`` is absolute, ``split`` is train, validation or test.
CLIP_COLUMNS: Final = ("clip_id", "path", "scene", "scene_group", "city", "location", "device", "split")


@dataclass(frozen=True)
class Dataset:
    """A data set on disk.

    Attributes
    ----------
    root
        The folder that holds ``meta.csv``, ``audio/`` and ``evaluation_setup/``.
    task
        The task that its labels are made for: ``ten_class`` (Mobile, Task 1a) or ``three_class`` (3Class, Task 1b).
    sample_rate
        In Hz: 44,100 for Mobile, 48,000 for 3Class.
    channels
        1 for Mobile, 2 for 3Class.
    clips
        The clip table with the columns `CLIP_COLUMNS`, sorted by ``clip_id``; ``split`` is train or test here.
        ``scene`` is always one of the ten scenes, ``scene_group`` its group.
    """

    root: Path
    task: str
    sample_rate: int
    channels: int
    clips: "pd.DataFrame"
