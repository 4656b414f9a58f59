"""The contract of a data format, checked on its own words and on a tiny data set that is written in it."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import soundfile

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import TAU
from asc_study.data.check import check
from asc_study.data.clips import CLIP_COLUMNS, require_audio
from asc_study.data.formats import DataFormat
from asc_study.data.layout import read_dataset
from asc_study.simulation.write_tau import write_lists
from asc_study.testing.rules import require

_SECONDS = 0.05


def check_data_format(data_format: DataFormat) -> None:
    """Check that a data format keeps its contract; needs no data set, only a temporary folder.

    Parameters
    ----------
    data_format
        What describes one data set.

    Raises
    ------
    AssertionError
        At the first rule that it breaks: the rule, what it has, what to do.
    """
    require(isinstance(data_format, DataFormat), f"a data format must be a DataFormat, got {data_format!r:.80}")
    _check_words(data_format)
    _check_classes(data_format)
    _check_archives(data_format)
    _check_file_name(data_format)
    with tempfile.TemporaryDirectory() as folder:
        _check_reading(data_format, Path(folder) / "data")


def example_clips(data_format: DataFormat) -> list[dict[str, str]]:
    """Give the clips of a tiny data set: every scene at two places in train and one in test, every device in test.

    Returns
    -------
    list of dict
        The parts of each clip's name, its ``filename`` (path inside the data set) and its ``split``.
    """
    names = re.findall(r"<(\w+)>", data_format.file_name)
    clips = []
    for number, scene in enumerate(data_format.scenes):
        for place, split in enumerate(("train", "train", "test")):
            devices = data_format.devices if split == "test" else (data_format.reference_device,)
            for device in devices:
                known = {"scene": scene, "city": ("oslo", "rome")[number % 2], "location": f"{number}{place}"}
                parts = dict.fromkeys(names, f"{3 * number + place}") | known | {"device": device}
                clips.append({**parts, "filename": data_format.path_of(parts), "split": split})
    return clips


def write_example(data_format: DataFormat, root: Path) -> list[dict[str, str]]:
    """Write the clips of `example_clips` to a folder, as noise of a twentieth of a second, with their lists."""
    clips = example_clips(data_format)
    rng = np.random.default_rng(0)
    shape = (round(_SECONDS * data_format.sample_rate), data_format.channels)
    for clip in clips:
        path = root / clip["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(shape), data_format.sample_rate)
    for name in _list_paths(data_format):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    write_lists(root, data_format, clips)
    return clips


def _check_words(data_format: DataFormat) -> None:
    name = data_format.name
    require(
        re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is not None,
        f"`name` must be lower case letters and digits joined by -, got {name!r}: `data download` takes it",
    )
    for attribute in ("title", "licence", "citation"):
        text = getattr(data_format, attribute)
        require(
            isinstance(text, str) and text.strip() == text != "" and text.isprintable(),
            f"`{attribute}` must be one line of text, got {text!r}: say it",
        )
    try:
        data_format.name = name  # type: ignore[misc]
    except FrozenInstanceError:
        pass
    else:
        raise AssertionError("a data format must be frozen: derive no class from DataFormat")
    for attribute in ("sample_rate", "channels"):
        value = getattr(data_format, attribute)
        require(type(value) is int and value > 0, f"`{attribute}` must be a whole number above 0, got {value!r}")
    seconds = data_format.clip_seconds
    require(0 < seconds < float("inf"), f"`clip_seconds` must be above 0, got {seconds!r}")


def _check_classes(data_format: DataFormat) -> None:
    for attribute in ("tasks", "scenes", "devices"):
        values = getattr(data_format, attribute)
        require(
            isinstance(values, tuple) and len(values) > 0 and len(set(values)) == len(values),
            f"`{attribute}` must be a tuple of different names, got {values!r}",
        )
    classes = data_format.taxonomy.classes
    unknown = [task for task in data_format.tasks if task not in classes]
    require(
        not unknown,
        f"`tasks` must be of {', '.join(TAU.classes)}, or one of the scenes and, with groups, one of these, got "
        f"{', '.join(data_format.tasks)}",
    )
    require(
        data_format.label in ("scene", "scene_group"),
        f"`label` must be scene or scene_group, got {data_format.label!r}",
    )
    without = [scene for scene in data_format.scenes if scene not in data_format.group_of_scene]
    require(
        not without or not data_format.group_of_scene,
        f"`group_of_scene` must have every scene, got none for {', '.join(without)}",
    )
    foreign = [label for label in data_format.labels if label not in classes[data_format.task]]
    require(
        not foreign, f"labels must be classes of the first of `tasks`, {data_format.task}, got {', '.join(foreign)}"
    )
    require(
        data_format.reference_device in data_format.devices,
        f"`reference_device` must be one of `devices`, got {data_format.reference_device!r}",
    )
    for name, devices in data_format.device_subsets.items():
        strange = [device for device in devices if device not in data_format.devices]
        require(
            len(devices) > 0 and not strange,
            f"a device subset must hold some of `devices` and no others, got {devices!r} for {name!r}",
        )


def _check_archives(data_format: DataFormat) -> None:
    archives = data_format.archives
    if archives is None:
        return
    require(
        re.match(r"https?://", archives.url) is not None, f"`archives.url` must be a web address, got {archives.url!r}"
    )
    names = [archive.name for archive in archives.zips]
    require(len(names) > 0 and len(set(names)) == len(names), f"`archives.zips` must be different files, got {names!r}")
    for archive in archives.zips:
        plain = archive.name.endswith(".zip") and not re.search(r"[/\\]", archive.name)
        require(plain, f"an archive must be the name of a .zip, got {archive.name!r}")
        require(archive.size > 0, f"{archive.name} must have a size in bytes above 0, got {archive.size!r}")
        require(
            re.fullmatch("[0-9a-f]{32}", archive.md5) is not None,
            f"{archive.name} must have an MD5 sum of 32 hexadecimal digits in lower case, got {archive.md5!r}",
        )
    require(archives.unpacked_size > 0, f"`archives.unpacked_size` must be above 0, got {archives.unpacked_size!r}")


def _check_file_name(data_format: DataFormat) -> None:
    for clip in example_clips(data_format):
        name = clip["filename"]
        parts = {part: text for part, text in clip.items() if part not in ("filename", "split")}
        found = data_format.parse(name)
        require(
            found == parts,
            f"a name must be taken apart into what it was made of, got {found!r} from {name!r}: `file_name` needs "
            "separators that no scene and no device holds",
        )
        require(data_format.path_of(parts) == name, f"the parts of {name!r} must make that name again")


def _check_reading(data_format: DataFormat, root: Path) -> None:
    written = write_example(data_format, root)
    try:
        dataset = read_dataset(root, data_format=data_format)
        require_audio(dataset)
    except InputError as error:
        raise AssertionError(f"a data set that is written as the format says must be read, got: {error}") from error
    clips = dataset.clips
    require(tuple(clips.columns) == CLIP_COLUMNS, f"the clip table must have its columns, got {list(clips.columns)}")
    expected = {
        str(root / clip["filename"]): (
            *(clip[part] for part in ("scene", "city", "location", "device", "split")),
            data_format.group_of_scene.get(clip["scene"], ""),
        )
        for clip in written
    }
    table = clips[["path", "scene", "city", "location", "device", "split", "scene_group"]]
    found = {path: tuple(row) for path, *row in table.itertuples(index=False)}
    for path in sorted({*found, *expected}):
        got, written_as = found.get(path), expected.get(path)
        require(got == written_as, f"the clip table must hold what was written, {written_as}, got {got} for {path}")
    report = check(root, data_format=data_format)
    require(report.ok, f"`data check` must find nothing in a good data set, got:\n{report.render()}")

    victims = [root / written[0]["filename"], root / written[-1]["filename"]]
    victims[0].unlink()
    soundfile.write(victims[1], np.zeros((100, data_format.channels)), data_format.sample_rate * 2)
    rules = {problem.rule for problem in check(root, data_format=data_format).problems}
    require(
        rules >= {"missing file", "sample rate"},
        f"`data check` must find a missing recording and one of another rate, got {sorted(rules)}",
    )


def _list_paths(data_format: DataFormat) -> Iterator[str]:
    lists = data_format.lists
    yield from (lists.meta, *lists.of_split.values())
    if lists.names is not None:
        yield lists.names
