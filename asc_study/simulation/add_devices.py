"""More devices for recordings that exist on device a only: a device-robustness benchmark from one's own data."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from asc_study import __version__
from asc_study.acoustics.impulse_responses import load_impulse_responses
from asc_study.acoustics.recordings import read_sound, sound_info
from asc_study.base.errors import InputError
from asc_study.base.paths import cache_dir
from asc_study.data.clips import Dataset
from asc_study.data.identity import audio_digests
from asc_study.data.layout import read_dataset
from asc_study.simulation.write_tau import (
    DeviceSet,
    Segment,
    Written,
    check_seed_and_jobs,
    choose_devices,
    copy_file,
    open_folder,
    write_audio,
    write_data_set,
)

_README = """# Recordings with simulated devices

The clips of device a are copies of those in the folder `{source}`. The clips of the eight other devices are made from
them by simulation: b and c have a frequency response, noise and clipping of their own, s1 to s6 an impulse response
followed by dynamic range compression. Layout: TAU Urban Acoustic Scenes 2020.

Made by: `asc-study data add-devices IN OUT{option} --seed {seed}` (asc-study {version}).
`made-by.json` holds the settings.
"""


def add_devices(
    source: Path, target: Path, *, impulse_responses: Path | None = None, seed: int = 0, jobs: int = 1
) -> Written:
    """Write a copy of a data set that has device a only, with the eight other devices added.

    The clips of device a are copied unchanged. In train, b, c and s1-s3 record a few clips each; in test, all devices
    record every clip. New clips keep the rate, length and channels of their source and are 24-bit PCM; a clip in floats
    that goes beyond full scale is first scaled to it.

    Parameters
    ----------
    source
        A folder in the TAU layout.
    target
        An empty or new folder outside ``source``, or one that the same call has begun.
    impulse_responses
        A folder of WAV files that s1-s6 take their impulse responses from, in the order of the names.
    seed
        Gives the devices, their noise and which clips they record.
    jobs
        Processes to use.

    Raises
    ------
    InputError
        If ``source`` holds no clips, other devices than a, or clips that cannot be read; if ``target`` is not empty or
        lies in ``source``; if there are no usable impulse responses.
    """
    check_seed_and_jobs(seed, jobs)
    source, target = source.resolve(), target.resolve()
    if target == source or source in target.parents:
        raise InputError(f"the output folder must lie outside the input folder, got {target}: name another")
    dataset = read_dataset(source)
    recordings = choose_devices(_segments(dataset), seed)
    device_set = DeviceSet(seed, _sample_rate(dataset), impulse_responses)
    if impulse_responses is not None:
        load_impulse_responses(impulse_responses, device_set.sample_rate)
    settings = {
        "command": "data add-devices",
        "seed": seed,
        "input_digest": _digest(dataset.clips["path"]),
        "impulse_responses_digest": _digest(impulse_responses.glob("*")) if impulse_responses is not None else None,
    }
    readme = _README.format(
        source=source.name,
        option="" if impulse_responses is None else f" --impulse-responses {impulse_responses.name}",
        seed=seed,
        version=__version__,
    )
    with open_folder(target, settings, readme):
        return write_data_set(target, dataset.format, recordings, _write_segment, (device_set, source), jobs=jobs)


def _segments(dataset: Dataset) -> list[Segment]:
    clips = dataset.clips
    if clips.empty:
        raise InputError(f"the input must hold clips of device a, got {dataset.root} without any: name another folder")
    if others := sorted(set(clips["device"]) - {"a"}):
        raise InputError(f"the input must hold clips of device a only, got also {', '.join(others)}: leave these out")
    columns = clips[["clip_id", "scene", "city", "location", "split"]]
    return [Segment(clip_id.removesuffix("-a"), *place) for clip_id, *place in columns.itertuples(index=False)]


def _sample_rate(dataset: Dataset) -> int:
    """Return the sample rate of the task, after a look at every header."""
    formats, bad = set(), []
    for path in map(Path, dataset.clips["path"]):
        try:
            audio = sound_info(path)
            formats.add((audio.samplerate, audio.channels))
        except InputError:
            bad.append(path.name)
    if bad:
        raise InputError(
            f"the input's clips must be WAV files that can be read, got {len(bad)} that cannot, such as {bad[0]}:"
            " see `asc-study data check`"
        )
    if wrong := sorted(formats - {(dataset.sample_rate, dataset.channels)}):
        rate, channels = wrong[0]
        raise InputError(
            f"the input's clips must have {dataset.sample_rate:,} Hz and {dataset.channels} channel(s), got some of "
            f"{rate:,} Hz and {channels}: convert these"
        )
    return dataset.sample_rate


def _digest(paths: Iterable[str | Path]) -> str:
    """Tell folders apart by the names and contents of their files."""
    files = sorted(map(str, paths))
    digests = audio_digests(files, cache=cache_dir())
    named = sorted(f"{Path(file).name} {digest}" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]


def _write_segment(root: Path, segment: Segment, devices: tuple[str, ...], device_set: DeviceSet, source: Path) -> int:
    original = source / segment.filename("a")
    signal, _ = read_sound(original)
    signal = signal[:, 0] if signal.shape[1] == 1 else signal
    if (peak := float(np.abs(signal).max(initial=0.0))) > 1:  # floats may go beyond: only a device may clip
        signal = signal / np.float32(peak)
    for device in devices:
        path = root / segment.filename(device)
        if device == "a":
            copy_file(original, path)
        else:
            write_audio(path, device_set.record(signal, segment, device), device_set.sample_rate)
    return len(devices)
