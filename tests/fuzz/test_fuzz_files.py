import os
from pathlib import Path

from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from asc_study.acoustics.recordings import read_sound, sound_info
from asc_study.base.files import INPUT_KINDS, is_recording, read_input, read_input_text

STEPS = [
    ".",
    "..",
    "in",
    "out",
    "a",
    "link",
    "away",
    "loop",
    "pipe",
    "gone",
    "in/a",
    "",
    " ",
    "n\0l",
    "ü",
    "x" * 300,
    "\udcff",
    "\n",
]


def make_places() -> None:
    if Path("in").exists():
        return
    Path("in/in").mkdir(parents=True)
    Path("out").mkdir()
    Path("out/a").write_text("secret")
    for folder in ("in", "in/in"):
        Path(folder, "a").write_bytes(b"mine")
        Path(folder, "link").symlink_to("a")
        Path(folder, "away").symlink_to(Path("out").resolve())
        Path(folder, "loop").symlink_to("loop")
        Path(folder, "zero").symlink_to("/dev/zero")
        os.mkfifo(Path(folder, "pipe"))


@examples(300)
@given(
    st.lists(st.sampled_from([*STEPS, "zero", "/dev/zero", "/proc/self/mem"]), max_size=5),
    st.sampled_from(sorted(INPUT_KINDS)),
)
def test_no_path_leads_out_of_its_folder_or_waits(value_or_line, steps, kind):
    make_places()
    content = value_or_line(read_input, "/".join(["in", *steps]), kind, within=Path("in"))
    assert content in (None, b"mine")
    value_or_line(read_input_text, "/".join(steps), "study")
    is_recording("/".join(steps))


HEADER = (
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data"
)


@examples(200)
@given(
    st.binary(max_size=4),
    st.binary(max_size=64),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
)
def test_any_bytes_are_a_recording_or_one_line(value_or_line, size, sound, changes):
    content = bytearray(HEADER + size.ljust(4, b"\x02") + sound)
    for place, byte in changes:
        content[place % len(content)] = byte
    Path("x.wav").write_bytes(content)
    value_or_line(sound_info, Path("x.wav"))
    if (read := value_or_line(read_sound, Path("x.wav"))) is not None:
        assert read[0].ndim == 2
        assert abs(read[0]).max() < float("inf")
