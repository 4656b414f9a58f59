"""Every built-in waveform augmentation keeps the contract."""

from typing import Any

import pytest

from asc_study.augmentation import WAVEFORM_AUGMENTATIONS
from asc_study.testing import check_waveform_augmentation

#: Settings that make preparing quicker.
SETTINGS: dict[str, dict[str, Any]] = {"reverb_drc": {"rooms": 3}, "device_impulse_response": {"microphones": 3}}

#: Those that draw nothing: all copies of a clip are alike.
WITHOUT_DRAWS = {"spectrum_correction"}

#: Those whose channels differ although the clip's are alike.
INDEPENDENT_CHANNELS = {"noise"}


@pytest.mark.parametrize("name", WAVEFORM_AUGMENTATIONS)
def test_waveform_augmentation(name: str) -> None:
    augmentation = WAVEFORM_AUGMENTATIONS[name](**SETTINGS.get(name, {}))
    check_waveform_augmentation(
        augmentation, draws=name not in WITHOUT_DRAWS, channels_alike=name not in INDEPENDENT_CHANNELS
    )


@pytest.mark.parametrize("name", WAVEFORM_AUGMENTATIONS)
def test_the_defaults_are_complete_and_shared(name: str) -> None:
    made = WAVEFORM_AUGMENTATIONS[name]()
    assert (made.seed, made.copies) == (0, 1)


def test_all_six_of_the_paper_are_there() -> None:
    paper = {"spectrum_correction", "reverb_drc", "pitch_shift", "speed_change", "noise", "mix"}
    assert paper <= set(WAVEFORM_AUGMENTATIONS)
