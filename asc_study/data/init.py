"""A first ``dataset.yaml`` for a folder of recordings with a metadata file, by looking at both.

What can be seen is filled in; what only a person can know (which devices are unseen, which subsets to report) is left
as a comment. Columns are told by what they are called and by what they hold.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from asc_study.acoustics.recordings import usual_info
from asc_study.base.errors import InputError
from asc_study.base.files import is_recording, read_input_text, write_file
from asc_study.data.description import FILE_NAME, word
from asc_study.data.list_file import SEPARATORS

#: Part of a clip -> what its column may be called, the likeliest first.
_CALLED: Final = {
    "label": ("scene_label", "scene", "label", "class", "category", "target", "room"),
    "device": ("device", "source_label", "recorder", "microphone", "mic", "phone", "device_id"),
    "location": ("location", "place", "site", "identifier", "location_id", "session", "recording"),
    "city": ("city", "town"),
    "split": ("split", "fold", "set", "subset", "partition"),
}

_TRAIN: Final = ("train", "training", "dev", "development")
_TEST: Final = ("test", "testing", "evaluate", "evaluation", "eval")

#: A column of more different values names no class and no device.
_MOST_VALUES: Final = 90


@dataclass(frozen=True)
class _Metadata:
    """A metadata file: its name, what separates its columns, and the columns with their values."""

    name: str
    separator: str
    columns: dict[str, list[str]]
    file_column: str


def init(root: Path, *, metadata: str | None = None) -> Path:
    """Write a first ``dataset.yaml`` into a folder.

    Parameters
    ----------
    root
        The folder that holds recordings and their metadata file.
    metadata
        The metadata file inside of it; by default the one of its text files that names recordings.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the folder has a ``dataset.yaml``, or no metadata file that names recordings which are there.
    """
    if not root.is_dir():
        raise InputError(f"a data set must be a folder, got {root}: name the folder of the recordings")
    path = root / FILE_NAME
    if path.exists():
        raise InputError(f"{path} is there already, and nothing is overwritten: edit it, or move it away")
    found = _find(root, metadata)
    write_file(path, _text(root, found))
    return path


def _find(root: Path, metadata: str | None) -> _Metadata:
    """The metadata file: the one named, or the first that names recordings of the folder."""
    names = [metadata] if metadata else sorted(
        file.relative_to(root).as_posix()
        for pattern in ("*", "*/*")
        for file in root.glob(pattern)
        if file.suffix.lower() in (".csv", ".tsv", ".txt") and file.is_file()
    )  # fmt: skip
    readable = [found for name in names if (found := _read(root, name))]
    if not readable:
        tried = ", ".join(names) or "no .csv, .tsv or .txt file"
        raise InputError(
            f"a data set needs a metadata file with a line a clip, one of whose columns names recordings in {root}, "
            f"found {tried}: write one with columns such as file;label;device;location, or name it with --metadata"
        )
    return max(readable, key=lambda one: (len(one.columns[one.file_column]), len(one.columns)))


def _read(root: Path, name: str) -> _Metadata | None:
    """The columns of a file as the separator splits it that gives most; None if none names recordings."""
    lines = read_input_text(root / name, "list").lstrip("\ufeff").splitlines()
    lines = [line for line in lines if line.strip()]
    if len(lines) < 2:
        return None
    separator = max(SEPARATORS, key=lines[0].count)
    header, *rows = csv.reader(lines, delimiter=separator)
    rows = [row for row in rows if len(row) == len(header)]
    if not rows or len(set(header)) != len(header):
        return None
    columns = {column: [row[number].strip() for row in rows] for number, column in enumerate(header)}
    files = next((name for name, values in columns.items() if _names_recordings(root, values)), None)
    return _Metadata(name, separator, columns, files) if files else None


def _names_recordings(root: Path, values: Sequence[str]) -> bool:
    looked_at = values[:: max(1, len(values) // 20)]
    return any(is_recording(value) and (root / value).is_file() for value in looked_at)


def _text(root: Path, found: _Metadata) -> str:
    columns = {part: _column(found, part) for part in _CALLED}
    files = [root / name for name in found.columns[found.file_column] if is_recording(name)]
    files = [file for file in files if file.is_file()]
    audio = usual_info([str(file) for file in files])
    classes = _values(found, columns["label"])
    devices = _values(found, columns["device"])
    name = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in root.resolve().name.lower()).split())
    said = found.columns[columns["split"]] if columns["split"] else []
    train, test = ([one for one in dict.fromkeys(said) if one.lower() in words] for words in (_TRAIN, _TEST))
    heard = _seen(found, columns["device"], columns["split"], train)
    unseen = [device for device in devices if heard and device not in heard]
    lines = [
        "# What is true of these recordings; `asc-study data check DIR` holds them to it. Look at every line.",
        f"name: {name or 'my-recordings'}  # tables and tasks call it so",
        f"title: {_plain(root.resolve().name)}",
        f"classes: {_list(classes)}  # {_seen_in(columns['label'], 'name the column of the classes below')}",
        "# groups:  # for two-stage systems: every class in one group",
        f"#   first: {_list(classes[:1])}",
        f"#   second: {_list(classes[1:])}",
        f"devices: {_list(devices)}  # {_seen_in(columns['device'], 'name the column of the devices below')}",
        f"reference_device: {_plain(_most_heard(found, columns['device'], heard or devices))}"
        "  # the one that training hears most",
    ]
    if unseen:
        lines.append(f"seen: {_list([one for one in devices if one in heard])}  # the others are heard in test only")
    else:
        lines.append(f"# seen: {_list(devices)}  # devices that training hears: leave out those that are to be unseen")
    lines += [
        "# subsets:  # what accuracies are reported on; each device by default",
        f"#   all: {_list(devices)}",
        f"sample_rate: {audio.samplerate}",
        f"channels: {audio.channels}",
        f"clip_seconds: {audio.frames / audio.samplerate:.6g}",
        "metadata:",
        f"  file: {_plain(found.name)}",
        f"  separator: {_quoted(found.separator)}",
        "  columns:",
        f"    file: {_plain(found.file_column)}",
        *_column_lines(columns),
        "split:  # which clips test: a column, two lists (train_list, test_list), or a share of the locations",
    ]
    if train and test:
        lines += [f"  column: {_plain(str(columns['split']))}", f"  train: {_list(train)}", f"  test: {_list(test)}"]
    else:
        lines.append("  test_share: 0.25")
    return "\n".join([*lines, "licence: private", "citation: none"]) + "\n"


def _column_lines(columns: dict[str, str | None]) -> Iterable[str]:
    why = {
        "location": "the place of the recording: clips of one place are kept on one side; without, each is a place",
        "city": "if there are several",
    }
    for part in ("label", "device", "location", "city"):
        column = columns[part]
        if column:
            yield f"    {part}: {_plain(column)}"
        elif part in why:
            yield f"    # {part}:  # {why[part]}"
        else:
            yield f"    {part}: FILL-IN  # no column is called like one"


def _column(found: _Metadata, part: str) -> str | None:
    """The column that is called like a part of a clip; None if none is."""
    named = {column.strip().lower().replace(" ", "_"): column for column in found.columns}
    for wanted in _CALLED[part]:
        column = named.get(wanted)
        if column and column != found.file_column:
            return column
    return None


def _values(found: _Metadata, column: str | None) -> list[str]:
    values = sorted({word(value) for value in found.columns[column]}) if column else []
    return values if 0 < len(values) <= _MOST_VALUES else ["FILL-IN"]


def _seen(found: _Metadata, device: str | None, split: str | None, train: Sequence[str]) -> set[str]:
    """The devices of the clips of train, as far as columns tell."""
    if not device or not split or not train:
        return set()
    pairs = zip(found.columns[device], found.columns[split], strict=True)
    return {word(one) for one, of in pairs if of in train}


def _most_heard(found: _Metadata, column: str | None, among: Iterable[str]) -> str:
    values = [word(value) for value in found.columns[column]] if column else []
    return max(sorted(among), key=values.count)


def _seen_in(column: str | None, otherwise: str) -> str:
    return f"as in the column {column}" if column else otherwise


def _plain(text: str) -> str:
    """A text as YAML writes it on one line, quoted where it must be."""
    return yaml.safe_dump(text, allow_unicode=True, width=10**6).removesuffix("...\n").strip()


def _quoted(text: str) -> str:
    return '"\\t"' if text == "\t" else f'"{text}"'


def _list(values: Sequence[str]) -> str:
    return yaml.safe_dump(list(values), default_flow_style=True, allow_unicode=True, width=10**6).strip()
