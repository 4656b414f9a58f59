"""What lies in the cache is shown by whose it is, and nothing that is needed is removed."""

import json
import os
import pickle
import sys
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.base.locks import file_lock
from asc_study.base.paths import cache_dir, checkpoints_dir
from asc_study.features.audio import Recording
from asc_study.features.logmel import LogMelSettings
from asc_study.features.store import FeatureStore, extract
from asc_study.store.tracking import Tracker

FINE = LogMelSettings(8000, n_fft=256, hop_length=128, n_mels=16)
COARSE = LogMelSettings(8000, n_fft=256, hop_length=128, n_mels=8, fmin=50)
DAY = 86_400


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(2000), 8000)
    return Recording(path, "digest")


def features(recording: Recording, settings: LogMelSettings, study: str, **about: str) -> FeatureStore:
    return extract([recording], settings, cache_dir() / "features", progress=False, data="tau", study=study, **about)


def packs() -> int:
    return len(list((cache_dir() / "features").glob("*.npy")))


def make_old(days: float, pattern: str = "features/*") -> None:
    for file in cache_dir().glob(pattern):
        os.utime(file, (time.time() - days * DAY,) * 2)


def checkpoint(run_id: str, *more: str) -> None:
    for name in (f"{run_id}.npz", *(f"{run_id}{part}.npz" for part in more)):
        (checkpoints_dir() / name).write_bytes(b"x" * 1000)


def run(tracker: Tracker, status: str) -> str:
    run_id = tracker.create_run("s", "one seed 0", {"asc.study": "s", "asc.kind": "train"}, {})
    if status == "DELETED":
        tracker.client.delete_run(run_id)
    elif status != "RUNNING":
        tracker.finish(run_id, status)
    return run_id


def test_features_are_shown_by_data_and_settings_with_who_used_them(asc, recording: Recording) -> None:
    for study in ("b", "a"):
        features(recording, FINE, study)
    features(recording, COARSE, "c", label="noise")
    code, out, _ = asc("cache", "show", "--json")
    shown = json.loads(out)
    assert code == 0
    one, two = sorted(shown["features"], key=lambda group: group["label"])
    today = time.time()
    assert one["made"] == pytest.approx(today, abs=600)
    assert one["used"] == pytest.approx(today, abs=600)
    sizes = [file.stat().st_size for file in (cache_dir() / "features").iterdir() if file.suffix != ".sqlite"]
    assert one["bytes"] + two["bytes"] == sum(sizes)
    for group in (one, two):
        for name in ("made", "used", "bytes"):
            del group[name]
    rest = {"data": "tau", "clips": 1, "packs": 1, "in_use": False}
    assert one == {**rest, "settings": FINE.canonical_json(), "label": "features", "studies": ["a", "b"]}
    assert two == {**rest, "settings": COARSE.canonical_json(), "label": "noise", "studies": ["c"]}
    lines = asc("cache", "show")[1].splitlines()
    assert lines[0].startswith(f"{cache_dir() / 'features'}: 2 clips, ")
    words = "tau   features  8000 Hz, 256/128, 16 mel, min_max, float16 "
    (line,) = [line for line in lines if line.startswith(words)]
    assert line.endswith("  a, b")
    assert any("8 mel, min_max, float16, fmin 50" in line for line in lines)


def test_an_empty_cache_is_shown_too(asc) -> None:
    code, out, err = asc("cache", "show")
    assert (code, err) == (0, "")
    assert "0 clips, 0 bytes; 0 checkpoints, 0 bytes" in out
    assert asc("cache", "prune")[0] == 0


def test_features_go_by_age_and_study_and_are_computed_again(asc, recording: Recording) -> None:
    before = features(recording, FINE, "old")[0].copy()
    make_old(40)
    features(recording, COARSE, "new")
    features(recording, FINE, "unknown", label="noise")  # found, not used anew: it is of the same sound
    make_old(40, "features/*.json")
    features(recording, COARSE, "new")
    for options in (["--older-than", "60d"], ["--keep-study", "old", "--keep-study", "new"]):
        out = asc("cache", "prune", "--yes", *options)[1]
        assert "would go: " not in "".join(line for line in out.splitlines() if "lock" not in line)
        assert packs() == 2
    code, out, _ = asc("cache", "prune", "--older-than", "30d")
    assert code == 0
    assert packs() == 2  # it was not asked
    assert "would go: features of tau, 8000 Hz, 256/128, 16 mel, min_max, float16: 1 clips, " in out
    assert "(used since)" in out
    assert "would go with --yes" in out
    code, out, _ = asc("cache", "prune", "--older-than", "30d", "--yes", "--json")
    gone = json.loads(out)
    assert gone["removed"]
    assert [group["studies"] for group in gone["features"]] == [["old", "unknown"]]
    assert gone["freed_bytes"] >= gone["features"][0]["bytes"] > 0
    assert packs() == 1
    np.testing.assert_array_equal(features(recording, FINE, "old")[0], before)
    assert packs() == 2


def test_features_of_unknown_users_stay_where_studies_are_to_be_kept(asc, recording: Recording) -> None:
    features(recording, FINE, "")
    assert "(it is not known who used them)" in asc("cache", "prune", "--keep-study", "a", "--yes")[1]
    assert packs() == 1


def test_what_a_process_has_open_stays(asc, recording: Recording) -> None:
    store = features(recording, FINE, "s")
    joined = store + features(recording, FINE, "s")
    assert len(pickle.loads(pickle.dumps(joined))) == 2  # as it goes to other processes
    features(recording, COARSE, "s")
    del store
    out = asc("cache", "prune", "--yes")[1]
    assert "16 mel, min_max, float16: 1 clips" in out
    assert "(a process uses them)" in out
    assert packs() == 1
    assert json.loads(asc("cache", "show", "--json")[1])["features"][0]["in_use"]
    del joined
    asc("cache", "prune", "--yes")
    assert packs() == 0


def test_packs_that_do_not_say_their_settings_stay_while_anything_is_open(asc, recording: Recording) -> None:
    features(recording, FINE, "s")
    (file,) = (cache_dir() / "features").glob("*.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps({name: content[name] for name in ("keys", "broken", "checksum")}))
    (cache_dir() / "features" / "index.sqlite").unlink()
    store = features(recording, FINE, "s")
    assert "of an earlier version: 1 clips" in asc("cache", "prune", "--yes")[1]
    assert packs() == 1
    del store
    asc("cache", "prune", "--yes")
    assert packs() == 0


def test_checkpoints_of_unfinished_runs_stay_and_others_go(asc, tracker: Tracker) -> None:
    ids = {status: run(tracker, status) for status in ("RUNNING", "KILLED", "FAILED", "FINISHED", "DELETED")}
    for run_id in ids.values():
        checkpoint(run_id, ".kept-1-00000000", ".fold0")
    checkpoint("elsewhere")
    shown = {one["run_id"]: one for one in json.loads(asc("cache", "show", "--json")[1])["checkpoints"]}
    states = {status: shown[run_id]["state"] for status, run_id in ids.items()}
    unfinished = dict.fromkeys(("RUNNING", "KILLED", "FAILED"), "unfinished")
    assert states == {**unfinished, "FINISHED": "finished", "DELETED": "deleted"}
    assert shown["elsewhere"]["state"] == "unknown"
    assert (shown[ids["KILLED"]]["files"], shown[ids["KILLED"]]["bytes"]) == (3, 3000)
    assert shown[ids["KILLED"]]["run"] == "s/one seed 0"
    out = asc("cache", "prune", "--yes")[1]
    assert "stays: checkpoint of run elsewhere, 1,000 bytes (its run is not in this store: --older-than removes" in out
    left = {file.name.partition(".")[0] for file in checkpoints_dir().iterdir()}
    assert left == {ids["RUNNING"], ids["KILLED"], ids["FAILED"], "elsewhere"}
    make_old(40, "checkpoints/*")
    asc("cache", "prune", "--yes", "--older-than", "30d")
    left = {file.name.partition(".")[0] for file in checkpoints_dir().iterdir()}
    assert left == {ids["RUNNING"], ids["KILLED"], ids["FAILED"]}


def test_without_a_store_no_checkpoint_goes(asc) -> None:
    checkpoint("a" * 32)
    asc("cache", "prune", "--yes")
    assert len(list(checkpoints_dir().iterdir())) == 1


def test_lock_files_that_nobody_holds_go(asc) -> None:
    for name in ("free", "held"):
        with file_lock(name):
            pass
    with file_lock("held"):
        shown = json.loads(asc("cache", "show", "--json")[1])["locks"]
        assert shown["held"] == 1
        assert shown["files"] >= 2
        asc("cache", "prune", "--yes")
        assert json.loads(asc("cache", "show", "--json")[1])["locks"] == {"files": 1, "held": 1, "bytes": 0}


def test_what_killed_processes_left_goes_when_it_is_old(asc, recording: Recording) -> None:
    features(recording, FINE, "s")
    folder = cache_dir() / "features"
    for file in (folder / f"{'0' * 64}.npy", folder / ".asc-tmp-1-x.npy", checkpoints_dir() / ".asc-tmp-2-y.npz"):
        file.write_bytes(b"x" * 500)
    assert json.loads(asc("cache", "show", "--json")[1])["left_over"] == {"files": 0, "bytes": 0}
    make_old(1)
    make_old(1, "checkpoints/*")
    assert json.loads(asc("cache", "show", "--json")[1])["left_over"] == {"files": 3, "bytes": 1500}
    asc("cache", "prune", "--yes", "--older-than", "9d")
    assert {file.suffix for file in folder.iterdir()} == {".npy", ".json", ".sqlite"}
    assert packs() == 1
    assert not list(checkpoints_dir().iterdir())


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1)])
def test_a_person_is_asked(asc, recording: Recording, monkeypatch: pytest.MonkeyPatch, answer: str, left: int) -> None:
    features(recording, FINE, "s")
    terminal = StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    assert "Remove " in asc("cache", "prune")[1]
    assert packs() == left


@pytest.mark.parametrize("age", ["30", "d", "-3d", "3 years", "1.5d", ""])
def test_an_age_that_is_none_is_one_line(asc, age: str) -> None:
    code, _, err = asc("cache", "prune", "--older-than", age)
    assert code == 2
    assert err == f"asc-study: --older-than must be a number of hours, days or weeks such as 30d, got {age!r}\n"
