"""Every built-in batch augmentation keeps the contract."""

import numpy as np
import pytest

from asc_study.augmentation import AUGMENTATIONS
from asc_study.base.compiled import loops_left_out
from asc_study.testing import check_batch_augmentation

#: Settings for those whose defaults do not fit clips as short as the suite's.
SETTINGS = {"random_crop": {"frames": 20}}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_batch_augmentation(name: str) -> None:
    check_batch_augmentation(AUGMENTATIONS[name](**SETTINGS.get(name, {})))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shapes_are_known_without_compiled_loops(name: str) -> None:
    augmentation = AUGMENTATIONS[name](**SETTINGS.get(name, {}))

    def shapes() -> list[tuple[int, ...]]:
        clips = 2 * augmentation.clips_per_sample
        one_hot = np.eye(10, dtype=np.float32)[[0] * clips]
        made = augmentation(np.zeros((clips, 16, 40, 6), np.float32), one_hot, np.random.default_rng(0))
        return [array.shape for array in made]

    with loops_left_out():
        found = shapes()
    assert found == shapes()
