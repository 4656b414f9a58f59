"""Broken and strange recordings and bundles, to both programs: a clear line and exit code 2, or the right answer."""

import hashlib
import io
import json
import os
import re
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_runtime import RATE, noise, run, write

from asc_study.base.taxonomy import SCENES
from asc_study.deploy.runtime import program as own_program
from asc_study.deploy.runtime.system import System, load_bundle

#: Bundle and clips to what was printed: exit code, standard output, standard error.
Classify = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["asc-study classify", "classify.py"])
def classify(request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Classify:
    """A function that classifies clips by a bundle: by this package's command, or as the bundle's own program does."""

    def by_command(bundle: Path, *clips: str) -> tuple[int, str, str]:
        return run(monkeypatch, capsys, "classify", str(bundle), *clips)

    def by_itself(bundle: Path, *clips: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["classify.py", *clips])
        code = 0
        try:
            own_program.main(bundle)
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return by_itself if request.param == "classify.py" else by_command


def not_a_number() -> str:
    samples = noise(1)
    samples[77] = np.nan
    return write("nan.wav", samples)


def cut_off() -> str:
    write("whole.wav", noise(1))
    Path("cut.wav").write_bytes(Path("whole.wav").read_bytes()[:20])
    return "cut.wav"


def text_file() -> str:
    Path("text.wav").write_text("this is no sound\n" * 100)
    return "text.wav"


def folder_without_clips() -> str:
    Path("empty").mkdir()
    return "empty"


def pipe() -> str:
    os.mkfifo("pipe.wav")
    return "pipe.wav"


BROKEN = {
    "a text file": (text_file, "text.wav"),
    "a thousand channels": (lambda: write("wide.wav", noise(0.1, channels=1024)), "at most 64 channels, got 1024"),
    "an empty WAV": (lambda: write("none.wav", noise(0)), "none.wav: a clip must hold sound"),
    "an empty file": (lambda: (Path("zero.wav").touch(), "zero.wav")[1], "zero.wav"),
    "a header cut off": (cut_off, "cut.wav"),
    "NaN": (not_a_number, "nan.wav: a recording must hold finite samples"),
    "samples beyond all measure": (lambda: write("loud.wav", noise(1) * 1e30), "loud.wav: .*finite"),
    "no file": (lambda: "missing.wav", "missing.wav does not exist: name a sound file"),
    "a pipe": (pipe, "must be a regular file"),
    "a folder of nothing": (folder_without_clips, "holds no recordings"),
    "a rate of nothing": (lambda: write("slow.wav", noise(1, rate=100), 100), r"slow.wav: .*in \[1000, 768000\] Hz"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_recording_is_one_line_and_exit_code_2(name, classify, untrained_bundle, isolated) -> None:
    make, message = BROKEN[name]
    code, out, err = classify(untrained_bundle, make())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(message, err)


def test_one_broken_clip_does_not_keep_the_others_from_being_classified(classify, untrained_bundle, isolated) -> None:
    clips = [write("a.wav", noise(1)), text_file(), write("b.wav", noise(1)), "missing.wav"]
    code, out, err = classify(untrained_bundle, *clips)
    assert code == 2
    assert [line.split(":")[0] for line in out.splitlines()] == ["a.wav", "b.wav"]
    assert "text.wav" in err
    assert "(and 1 more of 4 clips)" in err


def one_sound(name: str, rate: int = RATE, channels: int = 1) -> str:
    """The same second of a few tones, whatever the file."""
    seconds = np.arange(rate) / rate
    tones = sum(0.1 * np.sin(2 * np.pi * hertz * seconds) for hertz in (110, 440, 1300, 3100))
    return write(name, np.repeat(tones[:, np.newaxis].astype(np.float32), channels, axis=1), rate)


#: What is as good a recording as any: its file, and how far its probabilities may be off.
STRANGE = {
    "192 kHz": (lambda: one_sound("fast.wav", rate=192_000), 0.02),
    "8 channels": (lambda: one_sound("many.wav", channels=8), 1e-5),
    # Of 16 bits, whose noise lies above that of silent bands.
    "FLAC": (lambda: one_sound("clip.flac"), 0.1),
    "MP3": (lambda: one_sound("clip.mp3"), 0.2),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_a_strange_recording_is_classified_all_the_same(name, classify, untrained_bundle, isolated) -> None:
    make, tolerance = STRANGE[name]
    found = []
    for clip in (one_sound("plain.wav"), make()):
        code, out, _ = classify(untrained_bundle, clip, "--json")
        assert code == 0
        found.append(json.loads(out)["clips"][0]["probabilities"])
    plain, strange = ([probabilities[scene] for scene in SCENES] for probabilities in found)
    np.testing.assert_allclose(strange, plain, atol=tolerance)


def silence(name: str, hours: float, rate: int) -> str:
    """A mono WAV of float64 that takes no room on the disk."""
    size = round(hours * 3600 * rate) * 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, rate, rate * 8, 8, 64)
    with open(name, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + form + b"data" + struct.pack("<I", size))
        file.truncate(44 + size)
    return name


def test_three_hours_take_the_memory_of_a_few_windows(classify, untrained_bundle, isolated, monkeypatch) -> None:
    """Here in more than 1 GB. What the networks say of so many windows would take minutes, and is left out."""
    chances = np.full(len(SCENES), 1 / len(SCENES))
    heard: list[tuple[int, ...]] = []

    def listen(self: System, window: np.ndarray, sample_rate: int, device: str | None) -> np.ndarray:
        heard.append(window.shape)
        return chances

    monkeypatch.setattr(System, "window_probabilities", listen)
    clip = silence("long.wav", 3, 12_500)
    load_bundle(untrained_bundle)  # what imports take is not of the recording
    tracemalloc.start()
    try:
        code, out, err = classify(untrained_bundle, clip)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert code == 0, err
    assert out.startswith("long.wav: ")
    assert set(heard) == {(12_500, 1)}
    assert len(heard) == 3 * 3600
    assert "10800 windows in long.wav" in err
    assert peak < 32 * 1024**2  # 16 of them are where the manifest is read into


def change_manifest(folder: Path, change) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def flip(folder: Path, name: str, place: int = -3) -> None:
    content = bytearray((folder / name).read_bytes())
    content[place] ^= 1
    (folder / name).write_bytes(content)


def exchange(folder: Path, name: str, content: bytes) -> None:
    """Put another file in a bundle together with its digest, as somebody with bad intent would."""
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    change_manifest(folder, lambda manifest: manifest["files"][name].update(sha256=digest))


def link_out(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_bytes((folder / "fusion.json").read_bytes())
    (folder / "fusion.json").unlink()
    (folder / "fusion.json").symlink_to(outside)


def refuse(folder: Path, **parts: dict) -> None:
    """Change parts of the two-stage fusion, together with its digest."""
    written = json.loads((folder / "fusion.json").read_text())
    for part, changed in parts.items():
        written["fusions"]["top"]["fusion"][part] |= changed
    exchange(folder, "fusion.json", json.dumps(written).encode())


def hold_itself(folder: Path) -> None:
    written = json.loads((folder / "fusion.json").read_text())
    written["fusions"]["top"]["systems"][0]["run_id"] = "top"
    exchange(folder, "fusion.json", json.dumps(written).encode())


def rename_network(folder: Path) -> None:
    written = json.loads((folder / "fusion.json").read_text())
    written["fusions"]["top"]["systems"][0]["run_id"] = "9"
    exchange(folder, "fusion.json", json.dumps(written).encode())


def named(name: str):
    return lambda manifest: manifest["files"].update({name: manifest["files"]["fusion.json"]})


DAMAGE = {
    "a flipped bit in a network": (
        lambda f: flip(f, "members/ten_class-2.tflite"),
        "2.tflite is not the file",
    ),
    "a flipped bit in the filters": (lambda f: flip(f, "mel-16000-1024-24.npy"), "npy is not the file"),
    "a missing network": (lambda f: (f / "members/ten_class-1.tflite").unlink(), "ten_class-1.tflite does not exist"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json does not exist"),
    "a manifest of text": (lambda f: (f / "manifest.json").write_text("[1]"), "is not a JSON object"),
    "a deep manifest": (lambda f: (f / "manifest.json").write_text("[" * 100_000), "is not a JSON object"),
    "a newer schema": (lambda f: change_manifest(f, lambda m: m.update(schema=2)), "schema 1 to 1, got 2"),
    "a path out of it": (
        lambda f: change_manifest(f, named("../secret.json")),
        "must lie in it, got '../",
    ),
    "an absolute path": (lambda f: change_manifest(f, named("/etc/passwd")), "must lie in it"),
    "a link out of it": (link_out, "must lie in the folder"),
    "a member that is not listed": (
        lambda f: change_manifest(f, lambda m: m["members"][0].update(file="members/../../x.tflite")),
        "lists no file",
    ),
    "members of another kind": (lambda f: change_manifest(f, lambda m: m.update(members=7)), "is not as this version"),
    "too few members": (
        lambda f: change_manifest(f, lambda m: m["members"].pop()),
        "takes 3 networks, the",
    ),
    "a network of noise": (
        lambda f: exchange(f, "members/ten_class-1.tflite", b"TFL3" * 300),
        "must be TFLite that LiteRT runs",
    ),
    "filters with a pickle": (
        lambda f: exchange(f, "mel-16000-1024-24.npy", pickled()),
        "is not as this version writes it",
    ),
    "weights of one half": (lambda f: refuse(f, fine={"rule": "weighted", "weights": [0.5, 0]}), "sum to 1"),
    "a rule of its own": (lambda f: refuse(f, fine={"rule": "antigravity:Fly"}), "got 'antigravity:Fly'"),
    "an exponent below 0": (lambda f: refuse(f, join={"exponent": -1}), "at least 0"),
    "a fusion that holds itself": (hold_itself, "one holds itself"),
    "a fusion of networks that are not there": (rename_network, "takes 3 networks"),
    "labels of other scenes": (
        lambda f: exchange(f, "labels.json", b'{"classes": ["bus"]}'),
        "labels.json must have the classes of the fusion",
    ),
}


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_one_line_and_exit_code_2(name, classify, own_bundle, isolated) -> None:
    damage, message = DAMAGE[name]
    damage(own_bundle)
    code, out, err = classify(own_bundle, write("clip.wav", noise(1)))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_not_verified(name, own_bundle, monkeypatch, capsys) -> None:
    damage, message = DAMAGE[name]
    damage(own_bundle)
    code, out, err = run(monkeypatch, capsys, "bundle", "verify", "scenes")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
