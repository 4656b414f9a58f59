import errno
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.base.errors import InputError
from asc_study.features import packs as packs_module
from asc_study.features import store as store_module
from asc_study.features.audio import Recording, read_audio
from asc_study.features.logmel import LogMelSettings, log_mel
from asc_study.features.pack_index import INDEX_NAME
from asc_study.features.store import FeatureStore, entry_key, extract

SETTINGS = LogMelSettings(8000, n_fft=256, hop_length=128, n_mels=16)
SAMPLES = 4000


def recordings(paths: list[Path], digests: list[str]) -> list[Recording]:
    return [Recording(path, digest) for path, digest in zip(paths, digests, strict=True)]


def write_clips(folder: Path, count: int) -> tuple[list[Path], list[str]]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"clip-{index}.wav" for index in range(count)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(SAMPLES), 8000, subtype="PCM_24")
    return paths, [f"digest of {path.name}" for path in paths]


def expected(path: Path, settings: LogMelSettings = SETTINGS) -> np.ndarray:
    waveform, _ = soundfile.read(path, dtype="float32")
    return log_mel(waveform, settings)


def packs(cache: Path) -> dict[str, int]:
    """Those that are whole: the list of what stands in a pack is written last."""
    listed = (file.with_suffix(".npy") for file in cache.glob("[0-9a-f]*.json"))
    return {file.name: file.stat().st_mtime_ns for file in listed}


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "_CLIPS_PER_PACK", 2)


@pytest.mark.usefixtures("small_packs")
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_clip_is_read_back_in_the_callers_order(tmp_path: Path, jobs: int) -> None:
    paths, digests = write_clips(tmp_path / "audio", 12)
    store = extract(recordings(paths, digests), SETTINGS, tmp_path / "features", jobs=jobs, progress=False)
    assert len(store) == 12
    assert store.shape == (16, 32, 1)
    assert store.dtype == np.float16
    assert 2 <= len(packs(tmp_path / "features")) <= 12
    for index, path in enumerate(paths):
        np.testing.assert_allclose(store[index], expected(path), atol=2.5e-4)
    assert store.input_shape == (16, 24, 3)
    np.testing.assert_array_equal(store.network_input(3)[..., 0], store[3][:, 4:-4, 0].astype(np.float32))
    with pytest.raises(ValueError, match="read-only"):
        store[0][...] = 0


def test_float32_features_are_kept_exactly(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 1)
    exact = replace(SETTINGS, dtype="float32")
    store = extract(recordings(paths, digests), exact, tmp_path / "features", progress=False)
    np.testing.assert_array_equal(store[0], expected(paths[0]))


def test_nothing_is_computed_twice_and_the_audio_is_not_even_opened(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    first = extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    for path in paths:
        path.unlink()
    again = extract(recordings(paths[::-1], digests[::-1]), SETTINGS, tmp_path / "features", progress=False)
    np.testing.assert_array_equal(again[0], first[2])


def test_equal_audio_is_stored_once(tmp_path: Path) -> None:
    paths, _ = write_clips(tmp_path / "audio", 2)
    store = extract(
        recordings([paths[0], paths[1], paths[0]], ["a", "b", "a"]), SETTINGS, tmp_path / "features", progress=False
    )
    (file,) = (tmp_path / "features").glob("*.npy")
    assert np.load(file).shape == (2, 16, 32, 1)
    np.testing.assert_array_equal(store[0], store[2])


def test_changed_content_or_settings_never_read_a_stale_feature(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 1)
    old = np.array(extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)[0])
    plain = replace(SETTINGS, scale="none")
    np.testing.assert_allclose(
        extract(recordings(paths, digests), plain, tmp_path / "features", progress=False)[0],
        expected(paths[0], plain),
        atol=8e-3,
    )
    soundfile.write(paths[0], np.linspace(-1, 1, SAMPLES), 8000)
    new = extract(recordings(paths, ["new digest"]), SETTINGS, tmp_path / "features", progress=False)[0]
    np.testing.assert_allclose(new, expected(paths[0]), atol=2.5e-4)
    assert np.abs(new - old).max() > 0.1


def test_every_part_of_the_identity_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = [
        SETTINGS,
        replace(SETTINGS, sample_rate=16_000),
        replace(SETTINGS, n_fft=512),
        replace(SETTINGS, hop_length=64),
        replace(SETTINGS, n_mels=17),
        replace(SETTINGS, scale="none"),
        replace(SETTINGS, dtype="float32"),
    ]
    keys = [entry_key("a", settings) for settings in variants]
    keys += [entry_key("b", SETTINGS), entry_key("a", SETTINGS, "noise"), entry_key("a", SETTINGS, "noise 1")]
    monkeypatch.setattr(store_module, "FEATURE_VERSION", store_module.FEATURE_VERSION + 1)
    keys.append(entry_key("a", SETTINGS))
    assert len(set(keys)) == len(keys) == 11


@pytest.mark.usefixtures("small_packs")
def test_clips_are_found_among_other_clips_too(tmp_path: Path) -> None:
    cache = tmp_path / "features"
    paths, digests = write_clips(tmp_path / "audio", 12)
    clips = recordings(paths, digests)
    extract(clips[:9], SETTINGS, cache, progress=False)
    before = packs(cache)
    store = extract(clips[4:], SETTINGS, cache, progress=False)
    after = packs(cache)
    assert {name: after[name] for name in before} == before
    assert sum(len(np.load(cache / name)) for name in after) == 12
    for index, path in enumerate(paths[4:]):
        np.testing.assert_allclose(store[index], expected(path), atol=2.5e-4)


@dataclass(frozen=True)
class Quieter:
    """A treated copy, which fails where its file's name says so."""

    path: Path
    digest: str
    treatment: str = "quieter"

    def load(self, sample_rate: int, channels: int) -> np.ndarray:
        if "-1" in self.path.name:
            raise InputError("no such\nlevel")
        return read_audio(self.path, sample_rate, channels) * np.float32(0.5)


def test_a_broken_sound_is_left_out_and_reported_if_that_is_asked_for(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    sounds = [Quieter(path, digest) for path, digest in zip(paths, digests, strict=True)]
    for _ in range(2):  # the second one reads what the first one wrote
        store = extract(sounds, SETTINGS, tmp_path / "features", progress=False, leave_out_broken=True)
        assert store.broken == {1: r"no such\nlevel"}
        assert not store[1].any()
        np.testing.assert_allclose(store[2], expected(paths[2]), atol=2.5e-4)
    with pytest.raises(ValueError, match="no such"):
        extract(sounds, SETTINGS, tmp_path / "other", progress=False)


def test_stores_are_joined(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 5)
    clips = recordings(paths, digests)
    first = extract(clips[:3], SETTINGS, tmp_path / "features", progress=False)
    sounds = [Quieter(clip.path, clip.digest) for clip in clips[:2]]
    second = extract(sounds, SETTINGS, tmp_path / "features", progress=False, leave_out_broken=True)
    both = first + second
    assert len(both) == 5
    assert both.broken == {4: r"no such\nlevel"}
    np.testing.assert_array_equal(both[2], first[2])
    np.testing.assert_array_equal(both[3], second[0])
    wider = extract(clips[:1], replace(SETTINGS, dtype="float32"), tmp_path / "features", progress=False)
    with pytest.raises(InputError, match="extract both with the same settings"):
        first + wider


@dataclass(frozen=True)
class Unlucky(Quieter):
    """A copy that cannot be made while there is too little memory."""

    def load(self, sample_rate: int, channels: int) -> np.ndarray:
        if not (self.path.parent / "enough").exists() and "-2" not in self.path.name:
            raise MemoryError
        return read_audio(self.path, sample_rate, channels) * np.float32(0.5)


def test_what_may_not_happen_again_is_not_remembered(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    sounds = [Unlucky(path, digest) for path, digest in zip(paths, digests, strict=True)]
    first = extract(sounds, SETTINGS, tmp_path / "features", progress=False, leave_out_broken=True)
    assert first.broken == {0: "MemoryError", 1: "MemoryError"}
    assert not first[1].any()
    np.testing.assert_allclose(first[2], expected(paths[2]), atol=2.5e-4)
    (paths[0].parent / "enough").touch()
    again = extract(sounds, SETTINGS, tmp_path / "features", progress=False, leave_out_broken=True)
    assert again.broken == {}
    for index, path in enumerate(paths):
        np.testing.assert_allclose(again[index], expected(path), atol=2.5e-4)


@pytest.mark.parametrize("place", ["data", "header", "listing"])
def test_no_bit_that_a_disk_changed_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    paths, digests = write_clips(tmp_path / "audio", 2)
    cache = tmp_path / "features"
    extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    (file,) = cache.glob("*.npy")
    content = file.read_bytes()
    for offset in {"data": (200, len(content) - 1), "header": range(0, 128, 5), "listing": (1, 30, 80)}[place]:
        victim = file.with_suffix(".json") if place == "listing" else file
        changed = bytearray(victim.read_bytes())
        changed[offset] ^= 1
        victim.write_bytes(changed)
        store = extract(recordings(paths, digests), SETTINGS, cache, progress=False)
        for index, path in enumerate(paths):
            np.testing.assert_allclose(store[index], expected(path), atol=2.5e-4)
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"note: 1 file of features, such as {file}, are damaged or of an earlier version: computed" in said
        assert file.read_bytes() == content


def test_a_folder_in_the_place_of_a_pack_makes_room(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 2)
    cache = tmp_path / "features"
    extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    (file,) = cache.glob("*.npy")
    for victim in (file, file.with_suffix(".json")):
        victim.unlink()
        (victim / "inner").mkdir(parents=True)
        store = extract(recordings(paths, digests), SETTINGS, cache, progress=False)
        np.testing.assert_allclose(store[1], expected(paths[1]), atol=2.5e-4)
        assert {entry.name for entry in cache.iterdir()} == {file.name, f"{file.stem}.json", INDEX_NAME}


@pytest.mark.usefixtures("small_packs")
@pytest.mark.parametrize("damage", ["cut short", "empty", "not an array", "missing"])
def test_a_damaged_pack_is_rebuilt_and_the_others_are_kept(tmp_path: Path, damage: str) -> None:
    paths, digests = write_clips(tmp_path / "audio", 10)
    cache = tmp_path / "features"
    extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    before = packs(cache)
    victim = cache / min(before)
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes({"cut short": content[:-1], "empty": b"", "not an array": b"x" * len(content)}[damage])
    store = extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    after = packs(cache)
    assert {name for name in after if after[name] != before[name]} == {victim.name}
    assert victim.read_bytes() == content
    for index, path in enumerate(paths):
        np.testing.assert_allclose(store[index], expected(path), atol=2.5e-4)


@pytest.mark.usefixtures("small_packs")
def test_what_a_killed_extraction_left_behind_is_tidied_up(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 1)
    cache = tmp_path / "features"
    extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    (file,) = cache.glob("*.npy")
    left = cache / ".asc-tmp-0123-x.npy"
    file.rename(left)
    os.utime(left, (0, 0))
    extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    assert {entry.name for entry in cache.iterdir()} == {f"{file.stem}.json", file.name, INDEX_NAME}


EXTRACT = """
import sys
from pathlib import Path
import asc_study.features.packs as packs
import asc_study.features.store as store
from asc_study.features.audio import Recording
from asc_study.features.logmel import LogMelSettings

packs._CLIPS_PER_PACK = 2
audio, cache = map(Path, sys.argv[1:3])
log_mel = packs.log_mel
def counted(*args):
    with (audio / "computed.txt").open("a") as file:
        file.write("x")
    return log_mel(*args)
packs.log_mel = counted
paths = sorted(audio.glob("*.wav"))
settings = LogMelSettings(8000, n_fft=256, hop_length=128, n_mels=16)
sounds = [Recording(path, path.name) for path in paths]
found = store.extract(sounds, settings, cache, progress=False)
print(len(found), float(sum(found[index].sum(dtype="float64") for index in range(len(found)))))
"""


def start_extraction(audio: Path, cache: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", EXTRACT, str(audio), str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_that_extract_the_same_compute_it_once(tmp_path: Path) -> None:
    write_clips(tmp_path / "audio", 40)
    processes = [start_extraction(tmp_path / "audio", tmp_path / "features") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert outputs[0][0].startswith("40 ")
    assert (tmp_path / "audio" / "computed.txt").read_text() == "x" * 40
    assert not list((tmp_path / "features").glob(".asc-tmp-*"))


@pytest.mark.slow
def test_a_killed_extraction_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_clips(tmp_path / "audio", 400)
    cache = tmp_path / "features"
    process = start_extraction(tmp_path / "audio", cache)
    while process.poll() is None and len(packs(cache)) < 5:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = packs(cache)
    assert len(kept) >= 5
    second = start_extraction(tmp_path / "audio", cache)
    output, errors = second.communicate(timeout=120)
    assert output.startswith("400 "), errors
    after = packs(cache)
    assert {name: after[name] for name in kept} == kept
    assert len(after) > len(kept)


def test_a_wrong_sample_rate_names_the_file(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    soundfile.write(paths[1], np.zeros(SAMPLES), 16_000)
    with pytest.raises(
        InputError, match=r"8000 Hz and 1 channel.*, got 16000 Hz and 1 .* in .*clip-1\.wav: convert it"
    ):
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    assert [entry.name for entry in (tmp_path / "features").iterdir()] == [INDEX_NAME]


@pytest.mark.parametrize("content", [None, b"", b"RIFF no sound in here"])
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, victim: int) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    paths[victim].unlink()
    if content is not None:
        paths[victim].write_bytes(content)
    with pytest.raises(InputError, match=rf"(recording|readable).*clip-{victim}\.wav.*asc-study data check") as caught:
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (SAMPLES - 500, r"equally long, got .*clip-2\.wav of 0\.4375 s where most have 0\.5 s"),
        ((SAMPLES, 2), r"8000 Hz and 1 channel.*, got 8000 Hz and 2 channel.* in .*clip-2\.wav: convert it"),
    ],
)
def test_a_clip_unlike_its_neighbours_is_refused(tmp_path: Path, samples: int | tuple[int, int], message: str) -> None:
    paths, digests = write_clips(tmp_path / "audio", 4)
    soundfile.write(paths[2], np.zeros(samples), 8000)
    with pytest.raises(InputError, match=message):
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)


@pytest.mark.parametrize("stored", [False, True])
def test_recordings_of_other_channels_than_expected_are_refused_also_where_their_features_are_stored(
    tmp_path: Path, stored: bool
) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    if stored:
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    expected_sound = (
        r"must have 8000 Hz and 2 channel\(s\), got 8000 Hz and 1 channel\(s\) in .*clip-0\.wav: convert it"
    )
    with pytest.raises(InputError, match=expected_sound) as caught:
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", channels=2, progress=False)
    assert "\n" not in str(caught.value)
    assert len(extract(recordings(paths, digests), SETTINGS, tmp_path / "features", channels=1, progress=False)) == 3


def test_a_first_recording_of_another_rate_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 2)
    faster = replace(SETTINGS, sample_rate=44_100)
    with pytest.raises(InputError, match=r"must have 44100 Hz and 1 channel\(s\), got 8000 Hz .*clip-0\.wav"):
        extract(recordings(paths, digests), faster, tmp_path / "features", channels=1, progress=False)
    with pytest.raises(InputError, match=r"must have 44100 Hz, got 8000 Hz .*clip-1\.wav"):
        read_audio(paths[1], 44_100)


def test_features_of_another_length_from_an_earlier_extraction_are_refused(tmp_path: Path) -> None:
    cache = tmp_path / "features"
    paths, digests = write_clips(tmp_path / "audio", 8)
    soundfile.write(paths[5], np.zeros(SAMPLES + 500), 8000)
    extract(recordings(paths[5:6], digests[5:6]), SETTINGS, cache, progress=False)
    with pytest.raises(InputError, match=r"clip-5\.wav of 0\.5625 s where most have 0\.5 s"):
        extract(recordings(paths, digests), SETTINGS, cache, progress=False)


@pytest.mark.parametrize("victim", [0, 1, 3])
def test_the_clip_that_is_unlike_most_is_named_wherever_it_stands(tmp_path: Path, victim: int) -> None:
    paths, digests = write_clips(tmp_path / "audio", 4)
    soundfile.write(paths[victim], np.zeros(SAMPLES // 2), 8000)
    with pytest.raises(InputError, match=rf"got .*clip-{victim}\.wav of 0\.25 s where most have 0\.5 s: run asc-study"):
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    for index in range(4):  # stored one by one, so that only what was made of them tells
        extract(recordings(paths, digests)[index : index + 1], SETTINGS, tmp_path / "features", progress=False)
    with pytest.raises(InputError, match=rf"got .*clip-{victim}\.wav with 16 frames .* where most have 32 x 1"):
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)


def test_the_clip_whose_samples_are_no_numbers_is_named(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    samples = np.zeros(SAMPLES)
    samples[80] = np.nan
    soundfile.write(paths[1], samples, 8000, subtype="FLOAT")
    message = (
        r"clip-1\.wav \(1 samples are NaN or infinite, the first after 0\.010 s\): run asc-study data check DIR --deep"
    )
    for jobs in (1, 2):
        with pytest.raises(InputError, match=message):
            extract(recordings(paths, digests), SETTINGS, tmp_path / "features", jobs=jobs, progress=False)


def test_no_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one clip"):
        extract([], SETTINGS, tmp_path, progress=False)


def test_a_big_data_set_needs_no_more_than_256_files(tmp_path: Path) -> None:
    sound = Recording(tmp_path / "clip.wav", "")
    plan = packs_module.plan_packs({entry_key(str(index), SETTINGS): sound for index in range(40_000)}, tmp_path)
    assert len(plan) == 256
    assert sum(len(pack.keys) for pack in plan) == 40_000
    assert max(len(pack.keys) for pack in plan) < 2 * 40_000 / 256


def test_progress_is_counted_in_clips_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    extract(recordings(paths, digests), SETTINGS, tmp_path / "features")
    output = capsys.readouterr()
    assert output.out == ""
    assert "3/3" in output.err
    assert "clip" in output.err


def test_a_store_can_be_made_of_arrays_in_memory() -> None:
    arrays = [np.zeros((2, 3, 4, 1), np.float16), np.ones((1, 3, 4, 1), np.float16)]
    store = FeatureStore(arrays, [(1, 0), (0, 1)])
    assert store[0].all()
    assert not store[1].any()


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_features_can_be_read_by_whom_the_umask_lets(tmp_path: Path, umask: int) -> None:
    paths, digests = write_clips(tmp_path / "audio", 2)
    before = os.umask(umask)
    try:
        extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "features").iterdir()} == {0o666 & ~umask}


def test_features_are_on_the_disk_before_they_have_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, str]] = []
    synchronise, rename = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert path.stat().st_size > 0, "there is nothing in it yet"
        done.append(("fsync", path.name))
        synchronise(descriptor)

    def replace_(path: Path, target: Path) -> Path:
        done.append(("rename", path.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace_)
    paths, digests = write_clips(tmp_path / "audio", 2)
    extract(recordings(paths, digests), SETTINGS, tmp_path / "features", progress=False)
    assert [step for step, _ in done] == ["fsync", "rename"] * 2  # the features, then their listing
    assert [name[-4:] for _, name in done] == [".npy", ".npy", "json", "json"]
    assert done[0][1] == done[1][1]


@pytest.mark.parametrize("full_at", [1, 2])
def test_a_full_disk_is_one_line_and_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: int
) -> None:
    calls, synchronise = itertools.count(1), os.fsync

    def fsync(descriptor: int) -> None:
        if next(calls) == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    paths, digests = write_clips(tmp_path / "audio", 2)
    cache = tmp_path / "features"
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\): make room"):
        extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    assert not list(cache.glob(".asc-tmp-*"))
    assert packs(cache) == {}
    store = extract(recordings(paths, digests), SETTINGS, cache, progress=False)
    np.testing.assert_allclose(store[1], expected(paths[1]), atol=2.5e-4)


def test_a_pipe_or_a_recording_without_end_is_not_read(tmp_path: Path) -> None:
    paths, digests = write_clips(tmp_path / "audio", 3)
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse.wav").open("wb") as file:
        file.truncate(2**32)
    for path, message in ((tmp_path / "pipe", "got a pipe"), (tmp_path / "sparse.wav", "at most 1 GB, got 4 GB")):
        with pytest.raises(InputError, match=message):
            extract(recordings([*paths, path], [*digests, "x"]), SETTINGS, tmp_path / "features", progress=False)
