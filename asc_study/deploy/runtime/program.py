"""The program of a bundle, ``python BUNDLE/classify.py CLIP...``, and how results are written."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from asc_study.base.errors import InputError
from asc_study.deploy.runtime.sound import STANDARD_INPUT, find_clips, window_size
from asc_study.deploy.runtime.system import Scene, System, load_bundle

Form = Literal["text", "json", "csv"]

#: Scenes that are shown of a clip by default.
TOP = 3


def classify_clips(system: System, clips: Sequence[str], device: str = "") -> Iterator[tuple[str, Scene]]:
    """Classify recordings one by one; those that cannot be read are left out, and named in the error at the end.

    ``device`` is what all of them were recorded with, where that is known.

    Raises
    ------
    InputError
        After the last clip, if some could not be read.
    """
    failures = []
    for clip in clips:
        try:
            yield clip, system.classify_file(clip, device)
        except InputError as error:
            failures.append(str(error))
    if failures:
        more = f" (and {len(failures) - 1} more of {len(clips)} clips)" if len(failures) > 1 else ""
        raise InputError(f"{failures[0]}{more}")


def write_results(
    results: Iterator[tuple[str, Scene]],
    system: System,
    form: Form,
    top: int | None,
    write: Callable[[str], None],
    note: Callable[[str], None],
) -> None:
    """Write results as they come, or as one JSON object at the end; what was done to clips is noted last.

    Parameters
    ----------
    results, system
        Those of `classify_clips`, and what made them.
    form
        ``text``: a line a clip; ``json``: one object; ``csv``: file name, scene and all probabilities.
    top
        How many scenes text and JSON show of a clip; by default 3 in text and all in JSON.
    write, note
        Take a line of the results, a line for people.

    Raises
    ------
    InputError
        If ``top`` is below 1, or as ``results``: what was classified is written all the same.
    """
    if top is not None and top < 1:
        raise InputError(f"--top must be at least 1, got {top}: give the number of scenes to show")
    shown: list[dict[str, object]] = []
    try:
        if form == "csv":
            write(_csv_line(["filename", "scene_label", *system.classes]))
        for clip, scene in results:
            if form == "csv":
                write(_csv_line([clip, scene.label, *(f"{value:.6f}" for value in scene.probabilities.values())]))
            elif form == "json":
                best = dict(scene.top(top or len(system.classes)))
                shown.append({"clip": clip, "scene": scene.label, "probabilities": best, "windows": scene.windows})
            else:
                best_text = "  ".join(f"{name} {value:.3f}" for name, value in scene.top(top or TOP))
                write(f"{clip}: {best_text}")
    finally:
        notes = system.notes.lines()
        if form == "json":
            write(json.dumps({"clips": shown, "notes": notes}, indent=2))
        else:
            for line in notes:
                note(f"note: {line}")


def stream(
    system: System, sample_rate: int, channels: int, hop_seconds: float, device: str = ""
) -> Iterator[tuple[str, Scene]]:
    """Classify sliding windows of raw 16-bit samples (little-endian, interleaved) on standard input, as they come.

    Yields
    ------
    The window's end in seconds, and its scene. A rest that fills none is classified if it is all there is.
    """
    if channels < 1 or not 0 < hop_seconds <= system.seconds:
        raise InputError(
            f"--channels must be at least 1 and --hop in (0, {system.seconds:g}], got {channels} and {hop_seconds:g}"
        )
    size, hop = window_size(sample_rate, system.seconds), max(1, round(sample_rate * hop_seconds))
    window = np.zeros((0, channels), np.float32)
    read = classified = 0
    while True:
        block = sys.stdin.buffer.read((size if not read else hop) * 2 * channels)
        samples = np.frombuffer(block[: len(block) // (2 * channels) * 2 * channels], "<i2").reshape(-1, channels)
        window = np.concatenate([window, samples.astype(np.float32) / 32768])[-size:]
        read += len(samples)
        whole = len(samples) == (size if not classified else hop)
        if whole or (not classified and len(window)):
            scene = system.classify(window, sample_rate, device)
            classified += 1
            yield f"{read / sample_rate:.2f} s", scene
        if not whole:
            return


def main(folder: Path) -> None:
    """Classify recordings with the bundle in ``folder``; ends the process with 0, or 2 after one line on bad input."""
    parser = argparse.ArgumentParser(prog="classify.py", description="Name the scene of recordings.")
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="recordings, folders, patterns; - is standard input")
    parser.add_argument("--top", type=int, metavar="K", help="scenes to show of each clip")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--csv", action="store_true", help="all probabilities, a line a clip")
    parser.add_argument("--device", default="", metavar="NAME", help="what recorded them, for a system by device")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each network")
    parser.add_argument("--raw", type=int, metavar="RATE", help="- is raw 16-bit samples at this rate, as they come")
    parser.add_argument("--channels", type=int, default=1, metavar="N", help="of --raw")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="of --raw: step of the window; default: a window")
    options = parser.parse_args()
    try:
        system = load_bundle(folder, threads=options.threads)
        if options.raw is not None:
            if options.clips != [STANDARD_INPUT]:
                raise InputError(f"--raw reads standard input, got {' '.join(options.clips)}: write - for the clip")
            results = stream(system, options.raw, options.channels, options.hop or system.seconds, options.device)
        else:
            results = classify_clips(system, find_clips(options.clips), options.device)
        chosen: Form = "json" if options.json else "csv" if options.csv else "text"
        write_results(results, system, chosen, options.top, lambda line: print(line, flush=True), _note)
    except InputError as error:
        _note(f"classify.py: {' '.join(str(error).split())}")
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _note(line: str) -> None:
    print(line, file=sys.stderr)


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
