"""A bundle as a system: sound in, probabilities of the scenes out."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError, shown
from asc_study.base.files import shown_path
from asc_study.deploy.runtime.fusion import FusionTree
from asc_study.deploy.runtime.network import Network
from asc_study.deploy.runtime.sound import Notes, cut_windows, file_windows, open_recording, shown_clip, window_size
from asc_study.deploy.runtime.stored import StoredBundle, open_bundle
from asc_study.features.front_end import FrontEnd
from asc_study.features.settings import LogMelSettings

Floats = npt.NDArray[np.floating[Any]]
Probabilities = npt.NDArray[np.float64]

#: Longest clip that a network may have been trained on, in seconds: a bundle of a longer one is damaged.
_LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Scene:
    """What a system says of one clip: the scene's name, the probability of each, and of how many windows they are."""

    label: str
    probabilities: dict[str, float]
    windows: int

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable scenes, the first first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]


@dataclass(frozen=True)
class Member:
    """A network of a system, and which front end it hears through."""

    network: Network
    front_end: int


class System:
    """A loaded bundle; made by `load_bundle`.

    Attributes
    ----------
    classes
        The names of the scenes.
    seconds
        Length of the windows that are classified.
    devices
        Those that have networks of their own; none, unless it is a system by device.
    notes
        What was done to recordings that are not like those of the training.
    """

    def __init__(self, front_ends: Sequence[FrontEnd], members: Mapping[str, Member], fusion: FusionTree) -> None:
        self.classes = fusion.classes
        self.devices = fusion.devices
        self.seconds = front_ends[0].seconds
        self.notes = Notes()
        self._front_ends = tuple(front_ends)
        self._members = dict(members)
        self._fusion = fusion

    def classify(self, samples: npt.ArrayLike, sample_rate: int, device: str = "") -> Scene:
        """Name the scene of one clip.

        Parameters
        ----------
        samples
            (samples,) or (samples, channels), full scale is 1. Another rate is resampled, other channels are mixed down
            or duplicated, a longer clip is cut into windows whose probabilities are averaged, a shorter one is
            repeated.
        sample_rate
            In Hz.
        device
            What it was recorded with, as the data set of the training calls it: a system by device goes by it, and
            hears one that is not known, or not among `devices`, by its general network.

        Raises
        ------
        InputError
            If there are no samples, or some are not finite.
        """
        values = np.asarray(samples)
        if values.dtype.kind != "f" or values.ndim not in (1, 2) or not values.size:
            raise InputError(
                "samples must be floats of shape (samples,) or (samples, channels) and not empty, got "
                f"{values.dtype} {values.shape}: scale integers so that full scale is 1"
            )
        waveform = values[:, np.newaxis] if values.ndim == 1 else values
        size = window_size(sample_rate, self.seconds)
        blocks = (waveform[start : start + size] for start in range(0, len(waveform) + 1, size))
        return self._scene(cut_windows(blocks, size), sample_rate, "", device)

    def classify_batch(self, clips: Sequence[npt.ArrayLike], sample_rate: int, device: str = "") -> list[Scene]:
        """Name the scenes of several clips; see `classify`."""
        return [self.classify(clip, sample_rate, device) for clip in clips]

    def classify_file(self, clip: str | Path | bytes, device: str = "") -> Scene:
        """Name the scene of a recording by its path (``-``: standard input) or its bytes, read window by window.

        ``device`` is that of `classify`.

        Raises
        ------
        InputError
            If it cannot be read, is empty, or holds samples that are not finite.
        """
        with open_recording(clip if isinstance(clip, bytes) else str(clip)) as recording:
            try:
                windows = file_windows(recording, self.seconds)
                return self._scene(windows, recording.samplerate, shown_clip(clip), device)
            except InputError as error:
                raise InputError(f"{shown_clip(clip)}: {error}") from None

    def window_probabilities(self, window: Floats, sample_rate: int, device: str = "") -> Probabilities:
        """Probabilities (classes,) of one window (samples, channels); ``device`` is that of `classify`."""
        members = {key: self._members[key] for key in sorted(self._fusion.running(device))}
        heard = {member.front_end for member in members.values()}
        features = {number: self._front_ends[number].features(window, sample_rate) for number in sorted(heard)}
        outputs = {key: member.network(features[member.front_end])[np.newaxis] for key, member in members.items()}
        fused: Probabilities = self._fusion.apply(outputs, [device])[0]
        return fused

    def _scene(self, windows: Iterator[Floats], sample_rate: int, clip: str, device: str) -> Scene:
        total, count = np.zeros(len(self.classes)), 0
        shape = (0, 0)
        for window in windows:
            total += self.window_probabilities(window, sample_rate, device)
            shape, count = window.shape, count + 1
        if not count:
            raise InputError("a clip must hold sound, got no samples: record it again")
        self._note(*shape, sample_rate, clip)
        if device and device not in self.devices:
            self.notes.add("heard by what is for any device", clip, f"no network of its own for {shown(device)}")
        if count > 1:
            self.notes.add("cut into windows whose probabilities are averaged", clip, f"{count} windows")
        mean = total / count
        named = dict(zip(self.classes, mean.tolist(), strict=True))
        return Scene(self.classes[int(mean.argmax())], named, count)

    def _note(self, samples: int, channels: int, sample_rate: int, clip: str) -> None:
        """Note what was done to a clip, of which one window has that many samples and channels."""
        for front_end in self._front_ends:
            if sample_rate != front_end.settings.sample_rate:
                self.notes.add("resampled", clip, f"{sample_rate} Hz to {front_end.settings.sample_rate} Hz")
            if channels > front_end.channels or channels not in (1, front_end.channels):
                self.notes.add("mixed down", clip, f"{channels} channels to {front_end.channels}")
            elif channels < front_end.channels:
                self.notes.add("duplicated", clip, f"1 channel to {front_end.channels}")
        if samples < window_size(sample_rate, self.seconds):
            seconds = f"{samples / sample_rate:.3g} s to {self.seconds:.3g} s"
            self.notes.add("repeated from the beginning", clip, seconds)


def load_bundle(folder: str | Path, *, threads: int = 1) -> System:
    """Load a bundle; every file is held to its digest, and no code in it is run.

    Parameters
    ----------
    folder
        The bundle.
    threads
        That each network computes with.

    Raises
    ------
    InputError
        If it is no bundle, is of a newer version, or was damaged.
    """
    if threads < 1:
        raise InputError(f"`threads` must be at least 1, got {threads}: give a positive whole number")
    stored = open_bundle(Path(folder))
    try:
        return _system(stored, threads)
    except InputError as error:
        raise InputError(f"bundle {shown_path(folder)}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, EOFError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"bundle {shown_path(folder)} is not as this version writes it ({reason:.200}): build it again"
        ) from None


def _system(stored: StoredBundle, threads: int) -> System:
    fusion = FusionTree.from_dict(stored.read_json(Artifact.FUSION))
    classes = {task: names for file in fusion.fusions.values() for task, names in file.classes.items()}
    front_ends = [_front_end(stored, entry) for entry in stored.read_json("front_end.json")["front_ends"]]
    entries = {entry["key"]: entry for entry in stored.manifest["members"]}
    tasks = fusion.networks()
    if entries.keys() != tasks.keys():
        raise InputError(f"the fusion takes {len(tasks)} networks, the manifest has {len(entries)}, or others")
    members = {}
    for key, entry in entries.items():
        member = Member(Network(stored.read(entry["file"]), threads=threads), int(entry["front_end"]))
        expected = (front_ends[member.front_end].shape, len(classes[tasks[key]]))
        got = (member.network.input_shape, member.network.classes)
        if got != expected:
            raise InputError(f"{entry['file']} must take and give {expected}, got {got}: another network was put there")
        members[key] = member
    if list(fusion.classes) != stored.read_json("labels.json")["classes"]:
        raise InputError("labels.json must have the classes of the fusion, got others: build the bundle again")
    return System(front_ends, members, fusion)


def _front_end(stored: StoredBundle, entry: dict[str, Any]) -> FrontEnd:
    filters = np.load(io.BytesIO(stored.read(entry["mel_filters"])), allow_pickle=False)
    settings = LogMelSettings(**entry["settings"])
    samples = int(entry["samples"])
    if samples > _LONGEST_SECONDS * settings.sample_rate:
        raise InputError(f"windows may be {_LONGEST_SECONDS} s long at most, got {samples} samples")
    return FrontEnd(settings, int(entry["channels"]), samples, filters)
