"""Predictions of runs for clips whose labels nobody knows, such as those of the challenge's evaluation set."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.acoustics.recordings import is_lossy, sound_info
from asc_study.base.contract import Artifact, Tag, evaluation_path, predictions_path
from asc_study.base.errors import InputError
from asc_study.base.files import is_recording, shown_path
from asc_study.base.paths import cache_dir
from asc_study.base.progress import Say
from asc_study.base.taxonomy import CLASSES
from asc_study.base.text_table import text_table
from asc_study.data.evaluation import device_ids
from asc_study.data.identity import audio_digests
from asc_study.evaluation.predictions import write_predictions
from asc_study.features.audio import Recording
from asc_study.store.records import RunRecord
from asc_study.store.references import find_each
from asc_study.store.tracking import Tracker
from asc_study.systems.score_fused import fused_table, networks_of
from asc_study.systems.score_network import Listener
from asc_study.workers.pool import require_jobs

if TYPE_CHECKING:
    import pandas as pd


#: Clips of a run that `render` shows.
_SHOWN: Final = 10


@dataclass(frozen=True)
class Scored:
    """A run and its predictions table of the clips."""

    record: RunRecord
    predictions: "pd.DataFrame"

    def top(self) -> list[dict[str, Any]]:
        """For each clip its likeliest class and its probability, in the types of JSON."""
        probabilities = self.predictions[list(CLASSES[self.record.tags[Tag.TASK]])]
        best = zip(self.predictions["clip_id"], probabilities.idxmax(axis=1), probabilities.max(axis=1), strict=True)
        return [{"clip_id": str(clip), "scene": str(scene), "probability": float(p)} for clip, scene, p in best]

    def to_dict(self) -> dict[str, Any]:
        """The run and what it says of every clip, in the types of JSON."""
        return {"run_id": self.record.run_id, "run": self.record.label, "clips": self.top()}

    def render(self) -> str:
        """What the run says of the first clips, a line each."""
        found = self.top()
        lines = [[one["clip_id"], one["scene"], f"{one['probability']:.2f}"] for one in found[:_SHOWN]]
        table = text_table([[self.record.label, "Scene", "Probability"], *lines], left=(0, 1))
        more = len(found) - _SHOWN
        return table + (f"\n... and {more:,} more clips: --json, or `asc-study export`" if more > 0 else "")


def score_runs(
    tracker: Tracker,
    references: Sequence[str],
    paths: Sequence[Path],
    *,
    jobs: int,
    say: Say,
    embeddings: Path | None = None,
) -> list[Scored]:
    """Add ``predictions/evaluation-<digest of the clips>.parquet`` to runs: their probabilities for every clip.

    What was scored before stays; what was scored last is what `fuse` and `export` take. An ensemble or a fusion is
    scored by the trained runs that it is made of, which are given theirs, too.

    Parameters
    ----------
    tracker, references
        The store and the runs (see `find_runs`).
    paths
        Recordings, and folders with recordings in ``audio/`` or themselves; labels are neither needed nor looked at.
    jobs
        Processes for the features.
    say
        Told one line a run.
    embeddings
        The file of the clips' embeddings, for runs on these; by default the one that a run was trained on.

    Raises
    ------
    InputError
        If a run is of another kind, a model or a part of it is gone, or the audio is missing or of another format.
    """
    require_jobs(jobs, "processes for the features")
    named = [record for found in find_each(tracker, references) for record in found]
    records = list({record.run_id: record for record in named}.values())
    networks = {network.run_id: network for record in records for network in networks_of(tracker, record)}
    clips = _clips(paths, say)
    files = [Path(path) for path in clips["path"]]
    digests = audio_digests(files, cache=cache_dir(), progress=True)
    digest = hashlib.sha256("\n".join([*clips["clip_id"], *digests]).encode()).hexdigest()
    recordings = [Recording(path, own) for path, own in zip(files, digests, strict=True)]
    listener = Listener(tracker, clips, lambda rate, channels: recordings, jobs=jobs, embeddings=embeddings)
    about = {Tag.EVALUATION_DIGEST: digest, Tag.EVALUATION: ", ".join(path.absolute().name for path in paths)[:500]}
    tables: dict[str, pd.DataFrame] = {}
    for record in networks.values():
        if _scored_before(tracker, record, digest):
            say(f"{record.label}: has scored these {len(clips)} clips before")
            tracker.set_tags(record.run_id, about)
            tables[record.run_id] = tracker.predictions(record.run_id)["evaluation"]
        else:
            tables[record.run_id] = listener.predict(record)
            _keep(tracker, record, tables[record.run_id], about, say)
    scored = []
    for record in records:
        table = fused_table(tracker, record, clips, tables)
        if record.run_id not in networks:
            _keep(tracker, record, table, about, say)
        scored.append(Scored(record, table))
    return scored


def _keep(tracker: Tracker, record: RunRecord, table: "pd.DataFrame", about: Mapping[str, str], say: Say) -> None:
    """Give a run its predictions of the clips, beside those of other clips."""
    with tracker.artifacts(record.run_id) as folder:
        write_predictions(table, folder / evaluation_path(about[Tag.EVALUATION_DIGEST]))
    tracker.set_tags(record.run_id, about)
    say(f"{record.label}: {len(table)} clips scored")


def _scored_before(tracker: Tracker, record: RunRecord, digest: str) -> bool:
    """Whether a run holds its predictions of these clips; earlier versions kept those of the last clips alone."""
    names = {Path(file.path).name for file in tracker.client.list_artifacts(record.run_id, Artifact.PREDICTIONS)}
    last = record.tags.get(Tag.EVALUATION_DIGEST) == digest
    return Path(evaluation_path(digest)).name in names or (last and Path(predictions_path("evaluation")).name in names)


def _clips(paths: Sequence[Path], say: Say) -> "pd.DataFrame":
    """The clip table of recordings without labels, those of a folder in the natural order of their names.

    The device is known where the list of a folder's evaluation clips tells it (`device_ids`).
    """
    import pandas as pd

    files = [file for path in paths for file in (_of_folder(path) if path.is_dir() else [path])]
    names = Counter(file.stem for file in files)
    repeated = next((name for name, count in names.items() if count > 1), None)
    if repeated is not None:
        raise InputError(f"clips must have names of their own, got {repeated!r} twice: rename one, or score them apart")
    lossy = [file for file in files if is_lossy(sound_info(file))]
    if lossy:
        say(f"note: {len(lossy):,} recordings are of a format that loses sound, such as {shown_path(lossy[0])}")
    unknown = dict.fromkeys(("scene", "scene_group", "city", "location"), "")
    device_of = {clip: device for path in paths if path.is_dir() for clip, device in device_ids(path).items()}
    table = pd.DataFrame({"clip_id": [file.stem for file in files], "path": [str(file) for file in files]})
    devices = [device_of.get(file.stem, "") for file in files]
    return table.assign(split="evaluation", device=devices, **unknown)


def _of_folder(folder: Path) -> list[Path]:
    """The recordings of a folder, 2.wav before 10.wav."""
    inside = ([file for file in place.glob("*") if is_recording(file)] for place in (folder / "audio", folder))
    found = next(filter(None, inside), [])
    if not found:
        raise InputError(
            f"a folder to score must hold audio/*.wav or *.wav, found none under {folder}: name the data set"
        )
    return sorted(found, key=lambda file: [part.zfill(12) for part in re.split(r"(\d+)", file.stem)])
