"""The recordings behind predictions: which clips may be heard, as what a browser plays, and their log-mel features.

A server reads no file but those that the lists of its data folder name, and plays none but those of them whose clip
stands in the predictions of a study that is looked at; a path that leads out of the folder, by a link too, is refused.
"""

import io
import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import flask
import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile
from dash import dcc, html

from asc_study.acoustics.recordings import sound_info
from asc_study.base.errors import InputError
from asc_study.data.clips import Dataset
from asc_study.data.identified import identify
from asc_study.data.layout import read_dataset
from asc_study.features.audio import read_audio
from asc_study.features.logmel import LogMelSettings, band_centres, log_mel
from asc_study.figures.sounds import Drawn
from dashboards.blocks import Live, Note
from dashboards.links import link
from dashboards.show import player
from dashboards.source import Board, Source
from dashboards.state import State, decode

Waveform = npt.NDArray[np.float32]

#: What browsers play as it is.
_PLAYABLE: Final = ("WAV", "PCM_16")

#: Digits of a data set's digest, as the head of each page has them.
_DIGITS: Final = 7


def dataset(source: Source) -> Dataset:
    """The data set whose recordings a source has.

    Raises
    ------
    InputError
        If there is none, or its lists cannot be read.
    """
    data = source.data
    if data is None:
        raise InputError("no recordings: start the dashboards with --data DIR, the folder of the data set")
    return source.kept(("data set", data), lambda: read_dataset(data))


def clips_of(source: Source) -> pd.DataFrame:
    """The clip table of the data set, by ``clip_id``."""
    return source.kept(("clips", source.data), lambda: dataset(source).clips.set_index("clip_id", drop=False))


def predicted_clips(source: Source, studies: Sequence[str], split: str = "test") -> frozenset[str]:
    """The clips that stand in the predictions of studies, of one split."""
    board = source.board(studies)
    runs = tuple(record.run_id for records in board.records.values() for record in records)

    def gather() -> frozenset[str]:
        found: set[str] = set()
        for name in board.records:
            for table in source.tables(board, name, split)[:1]:  # seeds of a row have the same clips
                found.update(table["clip_id"].astype(str))
        return frozenset(found)

    return source.kept(("predicted clips", runs, split), gather)


def may_be_heard(source: Source, studies: Sequence[str]) -> pd.DataFrame:
    """The clips of the data set that stand in the predictions of studies, with the ``sound`` that each is one of.

    Raises
    ------
    InputError
        If there are none.
    """
    named = predicted_clips(source, studies) | predicted_clips(source, studies, "validation")

    def gather() -> pd.DataFrame:
        clips = clips_of(source)
        found = clips[clips.index.isin(named)]
        return found.assign(sound=list(map(sound_of, found["clip_id"], found["device"])))

    found = source.kept(("may be heard", source.data, named), gather)
    if found.empty:
        who = ", ".join(source.chosen(studies))
        root = dataset(source).root
        raise InputError(f"the data in {root} have no clip that predictions of {who} name: start with the study's own")
    return found


def sound_of(clip: str, device: str) -> str:
    """The sound that a clip is a recording of: its name without the device at its end."""
    return clip.removesuffix(f"-{device}")


def same_sound(source: Source, studies: Sequence[str], clip: str) -> list[str]:
    """The recordings of the sound of a clip that may be heard, itself included, in the order of the devices."""
    clips = may_be_heard(source, studies)
    if clip not in clips.index:
        return []
    device_of = clips["device"][clips["sound"] == clips["sound"][clip]].to_dict()
    order = [*dataset(source).format.devices, *sorted(set(device_of.values()))]
    return sorted(device_of, key=lambda name: order.index(device_of[name]))


def recording(source: Source, studies: Sequence[str], clip: str) -> Path:
    """The file of a clip that may be heard.

    Raises
    ------
    InputError
        If no predictions of the studies name the clip, the data set does not, or its file is missing or lies outside
        of the data folder.
    """
    if not any(clip in predicted_clips(source, studies, split) for split in ("test", "validation")):
        raise InputError(f"no predictions of {', '.join(source.chosen(studies))} name a clip {clip!r}")
    root, clips = dataset(source).root.resolve(), clips_of(source)
    if clip not in clips.index:
        raise InputError(f"the data in {root} has no clip {clip!r}: start with the data set of the study")
    path = Path(str(clips["path"][clip]))
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InputError(f"the recording of {clip!r} is missing: `asc-study data check {root}` lists all") from None
    if not found.is_relative_to(root) or not found.is_file():
        raise InputError(f"the recording of {clip!r} lies outside of {root}: name the folder that holds it by --data")
    return found


def address(clip: str, state: State) -> str:
    """Where the server plays a clip."""
    return link(f"/recording/{clip}.wav", study=state.study)


def read(source: Source, studies: Sequence[str], clip: str) -> Waveform:
    """The samples of a clip that may be heard, (samples, channels).

    Raises
    ------
    InputError
        As `recording`, or if it cannot be read.
    """
    known = dataset(source)
    return read_audio(recording(source, studies, clip), known.sample_rate, known.channels)


def as_wav(waveform: Waveform, sample_rate: int) -> bytes:
    """A sound as a WAV file of 16 bits; one above full scale is made softer, not clipped."""
    file = io.BytesIO()
    peak = max(1.0, float(np.abs(waveform).max(initial=0)))
    soundfile.write(file, waveform / peak, sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def drawn(waveform: Waveform, settings: LogMelSettings) -> Drawn:
    """The log-mel spectrogram of the first channel of a sound in dB: the features before they are scaled."""
    unscaled = replace(settings, scale="none")
    values = np.float32(10 / np.log(10)) * log_mel(np.ascontiguousarray(waveform[:, :1]), unscaled)[:, :, 0]
    return Drawn(values, band_centres(settings), settings.seconds_per_frame)


def clip_drawn(source: Source, studies: Sequence[str], clip: str, settings: LogMelSettings | None = None) -> Drawn:
    """`drawn` of a clip that may be heard, by default with the default features."""
    path, chosen = recording(source, studies, clip), settings or LogMelSettings(dataset(source).sample_rate)
    return source.kept(("log-mel", path, chosen), lambda: drawn(read(source, studies, clip), chosen))


class _Identity:
    """The digest of a data set, worked out beside: the sound of a big one takes minutes to read, once."""

    def __init__(self, root: Path) -> None:
        self.digest, self.why = "", ""
        self._root = root
        self._thread = threading.Thread(target=self._find, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Give it so much time."""
        self._thread.join(seconds)

    def _find(self) -> None:
        try:
            self.digest = identify(self._root).digest
        except InputError as error:
            self.why = str(error)


def other_data(source: Source, board: Board) -> list[Note]:
    """A line if the recordings are not those that the board's runs were made with, or nobody can tell; else none."""
    if source.data is None:
        return []
    made_with = board.frame[["dataset", "dataset_digest"]].dropna().drop_duplicates().to_numpy(str)
    wanted = {digest: name for name, digest in made_with if digest}
    root = dataset(source).root
    own = source.kept(("identity", root), lambda: _Identity(root))
    own.wait(source.patience)
    if own.why:
        return [Note(f"Whether {root} is the data set of the study cannot be told: {own.why}.")]
    if not wanted or not own.digest or own.digest in wanted:
        return []
    names = ", ".join(f"{name} {digest[:_DIGITS]}" for digest, name in wanted.items())
    line = f"{root} ({own.digest[:_DIGITS]}) is not the data set that the runs were made with ({names})"
    return [Note(f"{line}: clips of one name may sound different. Start with --data and the folder of the study.")]


def silent(source: Source, error: InputError) -> Note:
    """Why nothing can be heard, and what to do."""
    if source.data is None:
        studies = " ".join(shlex.quote(name) for name in source.chosen(()))
        command = f"asc-study dashboard {studies} --data DIR"
        return Note("To hear and see the clips, start with the folder of the recordings:", command)
    return Note(f"Nothing can be heard: {error}.")


def players(sounds: Mapping[str, str], *more: Any, links: Mapping[str, str] = {}, name: str = "players") -> Live:
    """Players beside each other.

    Parameters
    ----------
    sounds
        What each is called -> the address of its recording.
    more
        What stands behind them.
    links
        What some are called -> where that leads.
    name
        Class of what holds them.
    """
    parts = []
    for called, where in sounds.items():
        caption = dcc.Link(called, href=links[called]) if called in links else called
        parts.append(html.Figure([html.Figcaption(caption), player(where, called)]))
    return Live(html.Div([*parts, *more], className=name))


def add_recordings(server: flask.Flask, source: Source) -> None:
    """Let a server play what may be heard."""

    @server.get("/recording/<clip>.wav")
    def played(clip: str) -> flask.Response:
        state = decode(State, flask.request.query_string.decode("ascii", "replace"))
        try:
            path = recording(source, state.study, clip)
            known = sound_info(path)
            if (known.format, known.subtype) == _PLAYABLE:
                return flask.send_file(path, mimetype="audio/wav", conditional=True)
            content = as_wav(read_audio(path, known.samplerate), known.samplerate)
        except InputError as error:
            return refused(error, source)
        return sent(content)


def sent(content: bytes) -> flask.Response:
    """A WAV file of memory as an answer, of which a player may ask for a part."""
    return flask.send_file(io.BytesIO(content), mimetype="audio/wav", conditional=True)


def refused(error: InputError, source: Source) -> flask.Response:
    """Why there is nothing to hear, in one line."""
    from asc_study.store.addresses import scrubbed

    line = scrubbed(" ".join(str(error).split()), source.reader.uri)
    return flask.Response(f"{line}\n", 404, mimetype="text/plain")
