"""A small folder in the layout of TAU Urban Acoustic Scenes 2020, made by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.base.taxonomy import GROUP_OF_SCENE

#: (file stem, split); three clips of ``meta.csv`` are in neither list, as in TAU.
MOBILE = (
    ("airport-lisbon-1000-40000-a", "train"),
    ("airport-lisbon-1000-40000-b", "train"),
    ("airport-lyon-1001-40001-a", "train"),
    ("airport-milan-1002-40002-a", "test"),
    ("airport-milan-1002-40002-s4", "test"),
    ("metro_station-lisbon-1010-40010-a", "train"),
    ("metro_station-lyon-1011-40011-s1", "train"),
    ("metro_station-milan-1012-40012-a", "test"),
    ("tram-lyon-1020-40020-a", ""),
)

WriteLayout = Callable[..., Path]


def write_list(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a list as published: tabs, and no newline at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in (header, *rows)), encoding="utf-8")


def write_clip(path: Path, *, seconds: float = 0.1, rate: int = 44_100, channels: int = 1, seed: int = 0) -> None:
    """Write noise as a 24-bit WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, noise, rate, subtype="PCM_24")


@pytest.fixture
def write_layout(tmp_path: Path) -> WriteLayout:
    def write(
        clips: Sequence[tuple[str, str]] = MOBILE, *, task: str = "ten_class", audio: bool = True, name: str = "tau"
    ) -> Path:
        root = tmp_path / name
        rows: list[tuple[str, str, str, str, str]] = []
        for number, (stem, split) in enumerate(clips):
            scene, city, location, _, device = stem.split("-")
            label = scene if task == "ten_class" else GROUP_OF_SCENE[scene]
            rows.append((f"audio/{stem}.wav", label, f"{city}-{location}", device, split))
            if audio and split:
                rate, channels = (44_100, 1) if task == "ten_class" else (48_000, 2)
                write_clip(root / f"audio/{stem}.wav", rate=rate, channels=channels, seed=number)
        setup = root / "evaluation_setup"
        write_list(
            root / "meta.csv", ("filename", "scene_label", "identifier", "source_label"), [row[:4] for row in rows]
        )
        train = [row[:2] for row in rows if row[4] == "train"]
        test = [row[:2] for row in rows if row[4] == "test"]
        write_list(setup / "fold1_train.csv", ("filename", "scene_label"), train)
        write_list(setup / "fold1_evaluate.csv", ("filename", "scene_label"), test)
        write_list(setup / "fold1_test.csv", ("filename",), [row[:1] for row in test])
        return root

    return write


def replace_in(path: Path, old: str, new: str) -> None:
    """Change the only occurrence of a text in a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    return replace_in


@pytest.fixture
def clip_writer() -> Callable[..., None]:
    return write_clip
