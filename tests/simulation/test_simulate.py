"""The simulated data set: its layout, its sound's format, that it repeats bit by bit and can be taken up again."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asc_study.simulation.simulate as simulation
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import DEVICES, SCENES, SEEN_DEVICES
from asc_study.data.formats import TAU2022_MOBILE
from asc_study.data.layout import read_dataset
from asc_study.simulation import write_tau
from asc_study.simulation.canvas import Canvas, birds, bursts
from asc_study.simulation.scenes import make_place, render
from asc_study.simulation.simulate import lay_out, simulate
from asc_study.simulation.write_tau import Segment, choose_devices

SETTINGS = {"clips_per_scene": 3, "seconds": 1.0, "seed": 5}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "sim"
    simulate(root, **SETTINGS)
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_reads_as_a_data_set_with_tau_s_share_of_devices(whole):
    clips = read_dataset(whole).clips
    counts = clips.groupby(["split", "device"]).size()
    assert counts["train"].to_dict() == {"a": 30} | dict.fromkeys(SEEN_DEVICES[1:], 10)  # at least one a scene
    assert counts["test"].to_dict() == dict.fromkeys(DEVICES, 20)
    assert set(clips["scene"]) == set(SCENES)
    assert all(Path(path).is_file() for path in clips["path"])
    assert len(list((whole / "audio").iterdir())) == len(clips)


def test_a_location_belongs_to_one_scene_and_split_and_train_has_three(whole):
    clips = read_dataset(whole).clips
    assert (clips.groupby("location")[["scene", "split", "city"]].nunique() == 1).all(axis=None)
    assert (clips[clips["split"] == "train"].groupby("scene")["location"].nunique() >= 3).all()


def test_sound_is_24_bit_mono_neither_silent_nor_clipped_on_device_a(whole):
    for path in (whole / "audio").glob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (44_100, 1, 44_100, "PCM_24")
    for path in (whole / "audio").glob("*-a.wav"):
        signal, _ = soundfile.read(path)
        assert 0.003 < signal.std() < 0.3
        assert np.mean(np.abs(signal) > 0.999) < 0.01


def test_three_class_is_stereo_at_48_khz_with_group_labels(tmp_path):
    simulate(tmp_path / "sim", task="three_class", **SETTINGS)
    dataset = read_dataset(tmp_path / "sim")
    assert dataset.task == "three_class"
    assert set(dataset.clips["device"]) == {"a"}
    signal, sample_rate = soundfile.read(dataset.clips["path"].iloc[0])
    assert (signal.shape, sample_rate) == ((48_000, 2), 48_000)
    assert not np.array_equal(signal[:, 0], signal[:, 1])


def test_same_seed_gives_the_same_bytes_whatever_the_jobs(whole, tmp_path):
    simulate(tmp_path / "again", jobs=2, **SETTINGS)
    assert digests(tmp_path / "again") == digests(whole)


def test_another_seed_gives_other_sound(whole, tmp_path):
    simulate(tmp_path / "other", **SETTINGS | {"seed": 6})
    same, other = digests(whole), digests(tmp_path / "other")
    common = [name for name in same if name.startswith("audio/") and name in other]
    assert len(common) > 200
    assert not any(same[name] == other[name] for name in common)


def test_run_again_completes_what_is_missing(whole, tmp_path):
    root = tmp_path / "sim"
    shutil.copytree(whole, root)
    (root / "meta.csv").unlink()
    gone = sorted((root / "audio").iterdir())[::40]
    for path in gone:
        path.unlink()
    (root / "audio" / ".asc-tmp-123-x.wav").write_bytes(b"left by a killed process")
    assert simulate(root, **SETTINGS).written == len(gone)
    assert digests(root) == digests(whole)
    assert simulate(root, **SETTINGS).written == 0


def test_an_interrupted_run_leaves_whole_files_and_no_meta(whole, tmp_path, monkeypatch):
    write = soundfile.write
    calls = []

    def interrupted(part, *args, **kwargs):
        calls.append(part)
        if len(calls) == 20:
            Path(part).write_bytes(b"half a file")
            raise KeyboardInterrupt
        write(part, *args, **kwargs)

    monkeypatch.setattr(write_tau.soundfile, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "sim", **SETTINGS)
    monkeypatch.undo()
    found, expected = digests(tmp_path / "sim"), digests(whole)
    assert len([name for name in found if name.startswith("audio/")]) == 19
    assert "meta.csv" not in found
    assert found.items() <= expected.items()
    simulate(tmp_path / "sim", **SETTINGS)
    assert digests(tmp_path / "sim") == expected


def test_refuses_a_folder_that_is_not_its_own(whole, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="must be empty or new, got .* with 1 entries"):
        simulate(foreign, **SETTINGS)
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match=r"made with other settings \(seed 5, not 6\)"):
        simulate(whole, **SETTINGS | {"seed": 6})
    with pytest.raises(InputError, match=r"must be a folder, got the file .*notes\.txt"):
        simulate(foreign / "notes.txt", **SETTINGS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "four_class"}, "--task must be one of ten_class, three_class, got four_class"),
        ({"clips_per_scene": 2}, "--clips-per-scene must be at least 3, got 2"),
        ({"seconds": 0.5}, "--seconds must be in 1 to 600, got 0.5"),
        ({"seconds": float("nan")}, "--seconds must be in 1 to 600, got nan"),
        ({"seed": -1}, "--seed must be 0 or more, got -1"),
        ({"jobs": 0}, "--jobs must be at least 1, got 0"),
    ],
)
def test_refuses_bad_settings_before_it_writes(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "sim", **SETTINGS | changed)
    assert not (tmp_path / "sim").exists()


def test_lay_out_spreads_locations_over_cities():
    segments = lay_out(50)
    assert len(segments) == 10 * (50 + 10)
    assert len({segment.stem for segment in segments}) == len(segments)
    train = {(s.city, s.location) for s in segments if s.scene == "bus" and s.split == "train"}
    test = {(s.city, s.location) for s in segments if s.scene == "bus" and s.split == "test"}
    assert (len(train), len(test)) == (10, 5)
    assert {city for city, _ in train} == {city for city, _ in test}


def test_devices_are_sparse_in_train_and_all_in_test():
    train = [Segment(f"bus-x-1-{n}", "bus", "x", "1", "train") for n in range(1000)]
    test = [Segment(f"bus-x-2-{n}", "bus", "x", "2", "test") for n in range(1000, 1010)]
    chosen = choose_devices([*train, *test], seed=0)
    assert all(chosen[segment] == DEVICES for segment in test)
    assert all(chosen[segment][0] == "a" for segment in train)
    for device in SEEN_DEVICES[1:]:
        assert sum(device in chosen[segment] for segment in train) == 73  # 1000 * 750 / 10215
    assert chosen == choose_devices([*test, *reversed(train)], seed=0)


def test_bursts_come_at_the_rate_asked_for():
    canvas = Canvas(44_100, 6 * 44_100, 1, np.random.default_rng(0))
    bursts(canvas, level_db=0, rate_hz=2, low_hz=150, high_hz=3_000, decay_seconds=0.03)
    power = canvas.render()[:, 0].reshape(-1, 441) ** 2  # 10 ms
    envelope = power.mean(axis=1) - power.mean()
    rates = np.fft.rfftfreq(len(envelope), 0.01)
    spectrum = np.where((rates > 0.5) & (rates < 3), np.abs(np.fft.rfft(envelope)), 0)
    assert rates[np.argmax(spectrum)] == pytest.approx(2, rel=0.2)


def test_birds_sing_in_their_band_only():
    canvas = Canvas(44_100, 3 * 44_100, 1, np.random.default_rng(0))
    birds(canvas, level_db=0, pitch_hz=(2_500, 6_000), rate_hz=3)
    spectrum = np.abs(np.fft.rfft(canvas.render()[:, 0])) ** 2
    hz = np.fft.rfftfreq(3 * 44_100, 1 / 44_100)
    assert spectrum[hz > 1_400].sum() > 0.98 * spectrum.sum()


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_has_a_sound_of_its_own_place(scene):
    rng = np.random.default_rng(0)
    place = make_place(scene, 44_100, 1, np.random.default_rng(1), rng)
    one, again = (render(place, 1.0, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (44_100,)
    assert not np.array_equal(one, render(place, 1.0, np.random.default_rng(3)))


def test_clips_of_a_second_are_pieces_of_one_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "PIECES", 2)
    simulate(tmp_path / "sim", data_format="tau2022-mobile", clips_per_scene=3, seed=5)  # as long as the format says
    dataset = read_dataset(tmp_path / "sim")
    assert dataset.format is TAU2022_MOBILE
    assert dataset.clips.groupby("split").size().to_dict() == {"train": 160, "test": 360}
    assert list(dataset.subsets) == ["split5", "split10", "split25", "split50", "split100"]
    assert dataset.subsets["split5"] < dataset.subsets["split50"] < dataset.subsets["split100"]
    first = next((tmp_path / "sim/audio").glob("bus-*-0-a.wav"))
    pieces = [soundfile.read(str(first).replace("-0-a.wav", f"-{second}-a.wav"))[0] for second in (0, 1)]
    assert [len(piece) for piece in pieces] == [44_100, 44_100]
    jumps = np.abs(np.diff(np.concatenate(pieces)))
    assert jumps[44_099] <= jumps.max()  # one sound, cut in two


def test_a_described_data_set_is_simulated(tmp_path):
    (tmp_path / "rooms.yaml").write_text(
        "name: rooms\nclasses: [attic, cellar]\ndevices: [mic, phone]\nreference_device: phone\nseen: [phone]\n"
        "sample_rate: 16000\nchannels: 2\nclip_seconds: 1\nsplit: {train_list: train.txt, test_list: test.txt}\n"
        "metadata: {separator: ';', columns: {location: place}}\n"
    )
    simulate(tmp_path / "sim", data_format=str(tmp_path / "rooms.yaml"), **SETTINGS)
    clips = read_dataset(tmp_path / "sim").clips
    assert clips.groupby(["split", "device"]).size().to_dict() == {
        ("test", "mic"): 4, ("test", "phone"): 4, ("train", "phone"): 6,
    }  # fmt: skip
    assert soundfile.info(clips["path"].iloc[0]).samplerate == 16_000
    assert "--format rooms.yaml --clips-per-scene 3" in (tmp_path / "sim/README.md").read_text()
    (tmp_path / "rooms.yaml").write_text((tmp_path / "rooms.yaml").read_text() + "title: other\n")
    with pytest.raises(InputError, match="description_digest"):
        simulate(tmp_path / "sim", data_format=str(tmp_path / "rooms.yaml"), **SETTINGS)
