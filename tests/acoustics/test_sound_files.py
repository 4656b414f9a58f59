import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.acoustics.recordings import (
    LONGEST,
    UnreadableRecording,
    is_lossy,
    read_sound,
    sound_info,
    usual_info,
)
from asc_study.base.errors import InputError

RATE = 8000


def write(path: str, seconds: float = 0.5, **options) -> str:
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(RATE * seconds))
    soundfile.write(path, noise, RATE, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"subtype": "FLOAT"}, {"format": "FLAC"}, {"format": "MP3"}])
def test_a_recording_is_read_whole_and_tells_whether_it_lost_something(options):
    write("a.wav", **options)
    waveform, rate = read_sound("a.wav")
    assert (waveform.shape, waveform.dtype, rate) == ((4000, 1), np.float32, RATE)
    assert sound_info("a.wav").frames == 4000
    assert is_lossy(sound_info("a.wav")) == ("MP3" in options.values())


@pytest.mark.parametrize("subtype", ["G721_32", "NMS_ADPCM_16"])
def test_a_recording_in_which_one_cannot_go_back_is_read(subtype):
    write("a.wav")
    whole = read_sound("a.wav")[0]
    write("a.wav", subtype=subtype)
    waveform = read_sound("a.wav")[0]
    assert len(waveform) == sound_info("a.wav").frames
    assert np.corrcoef(waveform[:4000, 0], whole[:, 0])[0, 1] > 0.9


def test_a_sparse_file_that_announces_gigabytes_is_not_read():
    content = bytearray(Path(write("a.wav", subtype="PCM_16")).read_bytes())
    size = 2**30 - 1024
    start = content.index(b"data") + 4
    content[start : start + 4] = struct.pack("<I", size)
    Path("a.wav").write_bytes(content)
    with Path("a.wav").open("r+b") as file:
        file.truncate(start + 4 + size)
    for read in (sound_info, read_sound):
        with pytest.raises(InputError, match=rf"a recording may have {LONGEST:,} samples, it announces 536,870,400"):
            read("a.wav")


def test_what_ends_early_is_no_recording():
    content = Path(write("a.mp3", 2, format="MP3")).read_bytes()
    Path("a.mp3").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableRecording, match=r"a\.mp3 \(it ends after [\d,]+ of the 16,000 samples"):
        read_sound("a.mp3")
    write("empty.wav", 0)
    with pytest.raises(UnreadableRecording, match="it holds no samples"):
        read_sound("empty.wav")


def test_the_reason_survives_the_way_between_processes():
    again = pickle.loads(pickle.dumps(UnreadableRecording("a.wav", "why")))
    assert (again.reason, str(again)) == ("why", str(UnreadableRecording("a.wav", "why")))


def test_most_recordings_say_what_is_usual_and_the_odd_one_is_named():
    paths = [write(f"{number}.wav") for number in range(40)]
    assert usual_info(paths).frames == 4000
    write("0.wav", 0.25)
    with pytest.raises(InputError, match=r"got 0\.wav of 0\.25 s where most have 0\.5 s: run asc-study data check"):
        usual_info(paths)
    assert usual_info(paths[:1]).frames == 2000


def test_what_is_no_sound_is_named_without_the_name_of_an_open_file():
    Path("a.wav").write_bytes(b"RIFF no sound")
    with pytest.raises(UnreadableRecording, match=r"got a\.wav \(Format not recognised\.\): run asc-study data check"):
        sound_info("a.wav")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(100), RATE, format="WAV")
    Path("a.wav").write_bytes(buffer.getvalue()[:20])
    with pytest.raises(UnreadableRecording):
        read_sound("a.wav")
