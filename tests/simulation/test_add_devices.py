"""Adding devices to recordings of device a: what is copied, what is made, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import DEVICES, SEEN_DEVICES
from asc_study.data.layout import read_dataset
from asc_study.simulation.add_devices import add_devices

SAMPLE_RATE = 44_100


def write_source(root: Path, devices: tuple[str, ...] = ("a",), sample_rate: int = SAMPLE_RATE) -> Path:
    """Write two scenes with four train and two test clips each, 16-bit, at a rate that is not TAU's."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"train": [], "evaluate": []}
    meta = []
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    for scene in ("bus", "park"):
        for n in range(6):
            fold, location = ("train", 10 + n) if n < 4 else ("evaluate", 20)
            for device in devices:
                name = f"audio/{scene}-lisbon-{location}-{scene}{n}-{device}.wav"
                signal = 0.1 * rng.standard_normal(sample_rate // 2)
                soundfile.write(root / name, signal, sample_rate, subtype="PCM_16")
                lists[fold].append(f"{name}\t{scene}")
                meta.append(f"{name}\t{scene}\tlisbon-{location}\t{device}")
    for fold, rows in lists.items():
        text = "\n".join(["filename\tscene_label", *rows, ""])
        (root / "evaluation_setup" / f"fold1_{fold}.csv").write_text(text)
    (root / "meta.csv").write_text("\n".join(["filename\tscene_label\tidentifier\tsource_label", *meta, ""]))
    return root


@pytest.fixture
def source(tmp_path) -> Path:
    return write_source(tmp_path / "in")


def test_seen_devices_come_sparsely_into_train_and_all_into_test(source, tmp_path):
    result = add_devices(source, tmp_path / "out")
    clips = read_dataset(tmp_path / "out").clips
    counts = clips.groupby(["split", "device"]).size()
    assert counts["train"].to_dict() == {"a": 8} | dict.fromkeys(SEEN_DEVICES[1:], 2)
    assert counts["test"].to_dict() == dict.fromkeys(DEVICES, 4)
    assert result.written == len(clips) == 18 + 36
    assert result.clips["train"]["a"] == 8
    before = read_dataset(source).clips.set_index("clip_id")[["scene", "city", "location", "split"]]
    after = clips[clips["device"] == "a"].set_index("clip_id")[["scene", "city", "location", "split"]]
    assert after.equals(before)


def test_device_a_is_copied_and_the_others_keep_rate_and_length(source, tmp_path):
    add_devices(source, tmp_path / "out")
    for path in sorted((tmp_path / "out" / "audio").iterdir()):
        original = source / "audio" / f"{path.stem.rpartition('-')[0]}-a.wav"
        if path.stem.endswith("-a"):
            assert path.read_bytes() == original.read_bytes()
            continue
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.subtype) == (SAMPLE_RATE, SAMPLE_RATE // 2, "PCM_24")
        assert not np.array_equal(soundfile.read(path)[0], soundfile.read(original)[0])


def test_floats_beyond_full_scale_are_scaled_and_not_clipped(source, tmp_path):
    """What the devices record of it is what they record of the same clip at full scale."""
    wave = np.random.default_rng(1).standard_normal(SAMPLE_RATE // 2)
    victim = next(path for path in sorted((source / "audio").iterdir()) if "-20-" in path.name)  # of test: all devices
    made = {}
    for peak in (4.0, 1.0):
        signal = (peak * wave / np.abs(wave).max()).astype(np.float32)
        soundfile.write(victim, signal, SAMPLE_RATE, subtype="FLOAT")
        add_devices(source, tmp_path / str(peak))
        others = sorted((tmp_path / str(peak) / "audio").glob(f"{victim.stem.removesuffix('-a')}-*"))
        made[peak] = {path.name: soundfile.read(path)[0] for path in others if path.name != victim.name}
    assert len(made[4.0]) == 8
    for name, recorded in made[4.0].items():
        np.testing.assert_allclose(recorded, made[1.0][name], atol=1e-5)


@pytest.mark.slow
def test_repeats_bit_by_bit_and_completes_what_is_missing(source, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    add_devices(source, one, seed=2)
    add_devices(source, other, seed=2, jobs=2)
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
    gone = sorted((other / "audio").iterdir())[::10]
    for path in gone:
        path.unlink()
    assert add_devices(source, other, seed=2).written == len(gone)
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_takes_measured_impulse_responses(source, tmp_path):
    folder = tmp_path / "responses"
    folder.mkdir()
    for n in range(2):
        soundfile.write(folder / f"{n}.wav", np.random.default_rng(n).standard_normal(200) / 10, SAMPLE_RATE)
    add_devices(source, tmp_path / "made")
    add_devices(source, tmp_path / "measured", impulse_responses=folder)
    for device, same in (("a", True), ("b", True), ("s1", False), ("s6", False)):
        name = f"audio/bus-lisbon-20-bus4-{device}.wav"
        assert ((tmp_path / "made" / name).read_bytes() == (tmp_path / "measured" / name).read_bytes()) is same


def test_refuses_what_it_cannot_take_and_writes_nothing(source, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="must lie outside the input folder"):
        add_devices(source, source / "out")
    with pytest.raises(InputError, match="must lie outside the input folder"):
        add_devices(source, source)
    with pytest.raises(InputError, match="must be a folder with WAV files"):
        add_devices(source, out, impulse_responses=tmp_path / "nothing")
    with pytest.raises(InputError, match="--seed must be 0 or more, got -1"):
        add_devices(source, out, seed=-1)
    several = write_source(tmp_path / "several", devices=("a", "b", "s1"))
    with pytest.raises(InputError, match="must hold clips of device a only, got also b, s1"):
        add_devices(several, out)
    victim = next((source / "audio").iterdir())
    victim.write_bytes(b"RIFF")
    with pytest.raises(InputError, match=f"got 1 that cannot, such as {victim.name}"):
        add_devices(source, out)
    soundfile.write(victim, np.zeros(8_000), 8_000)
    with pytest.raises(InputError, match="must have 44,100 Hz and 1 channel.*got some of 8,000 Hz"):
        add_devices(source, out)
    assert not out.exists()


def test_refuses_a_target_that_is_not_empty(source, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="must be empty or new"):
        add_devices(source, tmp_path / "full")
    add_devices(source, tmp_path / "out", seed=1)
    with pytest.raises(InputError, match=r"made with other settings \(seed 1, not 2\)"):
        add_devices(source, tmp_path / "out", seed=2)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_refuses_a_source_without_clips(source, tmp_path):
    for name in ("fold1_train.csv", "fold1_evaluate.csv"):
        (source / "evaluation_setup" / name).write_text("filename\tscene_label\n")
    with pytest.raises(InputError):
        add_devices(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
