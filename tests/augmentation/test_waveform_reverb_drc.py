"""Reverberation + DRC: which responses it takes; its sound is held against SoX in tests/acoustics/test_sox.py."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from asc_study.acoustics.rooms import simulate_rooms
from asc_study.augmentation.waveform import TrainingSound
from asc_study.augmentation.waveform.reverb_drc import ReverbDRC
from asc_study.base.errors import InputError

SAMPLE_RATE = 16_000


def training_sound(devices: str, sample_rate: int = SAMPLE_RATE) -> TrainingSound:
    clips = pd.DataFrame({"device": list(devices), "scene": "bus"})
    return TrainingSound(clips, [str(row) for row in range(len(devices))], sample_rate, Path("unused"))


def test_device_a_is_copied() -> None:
    assert ReverbDRC().rows(training_sound("abaca")).tolist() == [0, 2, 4]
    with pytest.raises(InputError, match="reverb_drc needs training clips of device 'a', got none: leave reverb_drc"):
        ReverbDRC(rooms=1).prepare(training_sound("bc"))


def test_rooms_are_simulated_by_default() -> None:
    made = ReverbDRC(rooms=2, seed=5).prepare(training_sound("a"))
    for response, expected in zip(made.value, simulate_rooms(2, 5, SAMPLE_RATE), strict=True):
        np.testing.assert_array_equal(response, expected)
    assert len(ReverbDRC().prepare(training_sound("a")).value) == 20
    others = [
        ReverbDRC(rooms=3, seed=5).prepare(training_sound("a")),
        ReverbDRC(rooms=2, seed=6).prepare(training_sound("a")),
        ReverbDRC(rooms=2, seed=5).prepare(training_sound("a", 8_000)),
    ]
    assert len({made.digest, *(other.digest for other in others)}) == 4


def test_a_folder_replaces_them_and_its_content_is_the_identity(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    responses = {name: rng.uniform(-1, 1, 500).astype(np.float32) for name in ("hall", "tunnel")}
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
        for name, response in responses.items():
            soundfile.write(folder / f"{name}.wav", response, SAMPLE_RATE, subtype="FLOAT")
    here, there = (ReverbDRC(impulse_responses=str(folder)).prepare(training_sound("a")) for folder in folders)
    for response, expected in zip(here.value, responses.values(), strict=True):
        np.testing.assert_array_equal(response, expected)
    assert here.digest == there.digest
    soundfile.write(folders[1] / "hall.wav", responses["hall"] / 2, SAMPLE_RATE, subtype="FLOAT")
    assert ReverbDRC(impulse_responses=str(folders[1])).prepare(training_sound("a")).digest != here.digest


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="impulse responses must be a folder with WAV files, got .*nowhere"):
        ReverbDRC(impulse_responses=str(tmp_path / "nowhere")).prepare(training_sound("a"))


def test_it_clips_as_sox_does() -> None:
    loud = np.random.default_rng(0).uniform(-1, 1, (SAMPLE_RATE, 1)).astype(np.float32)
    impulse = (np.eye(1, 8, dtype=np.float32)[0],)
    rng = np.random.default_rng(0)
    copies = [ReverbDRC()(loud, SAMPLE_RATE, rng, ingredients=impulse) for _ in range(10)]
    assert max(np.abs(copy).max() for copy in copies) == 1
