"""Which recordings the server plays: those that predictions name, inside of the data folder, as what browsers play."""

import io
import shutil

import numpy as np
import pytest
import soundfile

from asc_study.base.errors import InputError
from asc_study.data.layout import read_dataset
from dashboards import recordings
from dashboards.app import create_app
from dashboards.source import Source


@pytest.fixture
def clips(simulated):
    return read_dataset(simulated).clips


@pytest.fixture
def one_clip(clips):
    return clips.query("split == 'test' and device == 'a'").iloc[0]


@pytest.fixture
def client(heard):
    return create_app(heard).server.test_client()


@pytest.fixture
def copied(heard, simulated, tmp_path):
    """The source with a copy of the data set that a test may change."""
    shutil.copytree(simulated, tmp_path / "data")
    return Source(heard.reader, ("s",), tmp_path / "data")


def test_a_clip_of_24_bits_is_played_as_one_of_16(client, one_clip):
    answer = client.get(f"/recording/{one_clip['clip_id']}.wav?study=s")
    assert (answer.status_code, answer.mimetype) == (200, "audio/wav")
    with soundfile.SoundFile(io.BytesIO(answer.data)) as file:
        assert (file.format, file.subtype, file.samplerate) == ("WAV", "PCM_16", 44_100)
        played = file.read()
    np.testing.assert_allclose(played, soundfile.read(one_clip["path"])[0], atol=2**-15)


def test_a_clip_of_16_bits_is_played_as_it_is(copied, one_clip):
    path = copied.data / "audio" / f"{one_clip['clip_id']}.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    answer = create_app(copied).server.test_client().get(f"/recording/{one_clip['clip_id']}.wav")
    assert answer.data == path.read_bytes()


def test_a_player_may_ask_for_a_part(client, one_clip):
    whole = client.get(f"/recording/{one_clip['clip_id']}.wav").data
    part = client.get(f"/recording/{one_clip['clip_id']}.wav", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.data == whole[100:200]
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"


def test_a_clip_that_no_predictions_name_is_not_played(client, clips):
    train = clips.query("split == 'train'").iloc[0]["clip_id"]
    answer = client.get(f"/recording/{train}.wav")
    assert answer.status_code == 404
    assert "name a clip" in answer.text
    assert answer.text.count("\n") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/recording/../meta.csv",
        "/recording/%2e%2e/meta.csv",
        "/recording/..%2fmeta.csv",
        "/recording/meta.csv",
        "/recording/%2fetc%2fpasswd.wav",
        "/recording/x%00.wav",
        "/recording/<b>.wav?study=gone",
    ],
)
def test_nothing_else_is_served(client, path):
    answer = client.get(path)
    assert answer.mimetype in ("text/plain", "text/html")  # the latter is the empty page of dashboards
    assert not any(one in answer.data for one in (b"scene_label", b"root:", b"RIFF"))


def test_a_link_that_leads_out_of_the_data_is_refused(copied, one_clip, tmp_path):
    path = copied.data / "audio" / f"{one_clip['clip_id']}.wav"
    path.rename(tmp_path / "outside.wav")
    path.symlink_to(tmp_path / "outside.wav")
    answer = create_app(copied).server.test_client().get(f"/recording/{one_clip['clip_id']}.wav")
    assert answer.status_code == 404
    assert "lies outside of" in answer.text


def test_a_recording_that_is_missing_or_damaged_is_said(copied, one_clip):
    path = copied.data / "audio" / f"{one_clip['clip_id']}.wav"
    client = create_app(copied).server.test_client()
    path.write_bytes(b"no sound")
    assert "must be readable" in client.get(f"/recording/{one_clip['clip_id']}.wav").text
    path.unlink()
    assert "is missing" in client.get(f"/recording/{one_clip['clip_id']}.wav").text


def test_data_without_the_clip_and_no_data_are_said(source, heard, tmp_path, one_clip):
    name = one_clip["clip_id"]
    with pytest.raises(InputError, match="--data DIR"):
        recordings.recording(Source(heard.reader, ("s",)), (), name)
    with pytest.raises(InputError, match=r"has no clip 'test-00000'"):
        recordings.recording(Source(source.reader, ("s",), heard.data), (), "test-00000")
    with pytest.raises(InputError, match="must be a folder"):
        recordings.recording(Source(heard.reader, ("s",), tmp_path / "none"), (), name)


def test_what_is_louder_than_full_scale_is_softened_and_not_clipped():
    sound = np.float32([[0.0], [2.0], [-4.0]])
    played, rate = soundfile.read(io.BytesIO(recordings.as_wav(sound, 8000)))
    np.testing.assert_allclose(played, [0, 0.5, -1], atol=1e-4)
    assert rate == 8000


def test_decibels_are_those_of_the_features(heard, one_clip):
    from asc_study.features.logmel import LogMelSettings, log_mel

    drawn = recordings.clip_drawn(heard, (), one_clip["clip_id"])
    sound = soundfile.read(one_clip["path"], dtype="float32")[0]
    scaled = log_mel(sound, LogMelSettings(44_100))[:, :, 0]
    again = (drawn.values - drawn.values.min()) / np.ptp(drawn.values)
    np.testing.assert_allclose(again, scaled, atol=1e-5)
    assert drawn.frame_seconds == 1024 / 44_100
    assert recordings.clip_drawn(heard, (), one_clip["clip_id"]) is drawn
