from pathlib import Path

import pytest

from asc_study.base.errors import InputError
from asc_study.data.evaluation import EVALUATION_LIST, device_ids


def write(root: Path, text: str) -> Path:
    (root / EVALUATION_LIST).parent.mkdir(exist_ok=True)
    (root / EVALUATION_LIST).write_text(text)
    return root


def test_the_list_of_2025_tells_devices(tmp_path: Path):
    assert device_ids(write(tmp_path, "filename\tdevice_id\naudio/0.wav\ta\n1.wav\tunknown\n")) == {
        "0": "a",
        "1": "unknown",
    }


def test_the_list_of_2024_does_not(tmp_path: Path):
    assert device_ids(tmp_path) == {}
    assert device_ids(write(tmp_path, "filename\naudio/0.wav\n")) == {}


def test_another_list_is_told(tmp_path: Path):
    with pytest.raises(InputError, match="line 1 must name the columns filename with tabs, got 'file'"):
        device_ids(write(tmp_path, "file\n0.wav\n"))
