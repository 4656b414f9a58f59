"""Every built-in batch augmentation keeps the contract."""

import pytest

from asc_study.augmentation import AUGMENTATIONS
from asc_study.testing import check_batch_augmentation

#: Settings for those whose defaults do not fit clips as short as the suite's.
SETTINGS = {"random_crop": {"frames": 20}}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_batch_augmentation(name: str) -> None:
    check_batch_augmentation(AUGMENTATIONS[name](**SETTINGS.get(name, {})))
