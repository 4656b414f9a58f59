"""What makes a run another run, and what does not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asc_study.augmentation.copies as copies
import asc_study.augmentation.waveform.spectrum_correction as spectrum_correction
import asc_study.features.store as feature_store
from asc_study.base.errors import InputError
from asc_study.settings import identity
from asc_study.settings.identity import differences, run_identity, signature
from asc_study.settings.run_config import resolve

COPIES = {"waveform_augmentation": {"noise": {}, "spectrum_correction": {}}}


def sign(raw: dict, data: str = "d", seed: int | None = 0) -> str:
    return signature(run_identity(resolve(raw), data), seed)


def test_equal_settings_written_differently_have_one_signature():
    one = {"batch_augmentation": {"mixup": {"alpha": 1}}, "model": {"width": 1}}
    other = {"model": {"width": 1.0}, "batch_augmentation": {"mixup": {"alpha": 1.0}}, "architecture": "fcnn"}
    assert sign(one) == sign(other)


def test_seed_data_and_settings_change_the_signature_and_the_seed_leaves_the_combination():
    assert len({sign({}), sign({}, seed=1), sign({}, "e"), sign({"training": {"epochs": 3}}), sign({}, seed=None)}) == 5


@pytest.mark.parametrize(("group", "name"), [("validation", "holdout_devices"), ("training", "devices")])
def test_the_order_of_devices_means_nothing(group, name):
    one, other = ({group: {name: devices}} for devices in (["s3", "b", "s3"], ["b", "s3"]))
    assert sign(one) == sign(other) != sign({})


def test_a_run_of_all_devices_is_what_it_was_before_there_was_a_choice():
    assert "devices" not in resolve({"training": {"devices": None}}).identity()["training"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (identity, "SCHEMA_VERSION"),
        (feature_store, "FEATURE_VERSION"),
        (copies, "WAVEFORM_VERSION"),
        (spectrum_correction, "CURVE_VERSION"),
    ],
)
def test_every_version_is_in_the_signature(monkeypatch, module, name):
    before = sign(COPIES)
    monkeypatch.setattr(module, name, 99)
    assert sign(COPIES) != before


@pytest.mark.parametrize(
    "idle",
    [
        {"training": {"select_epoch": "best", "snapshots": 5}},
        {"training": {"select_epoch": "last", "snapshots": 5}},
        {"training": {"epochs": 2, "first_cycle_epochs": 2, "cycle_multiplier": 3}},
        {"training": {"select_epoch": "last", "select_by": "acc_avg"}},
        {"training": {"data": "development"}, "validation": {"seed": 7}},
        {"validation": {"share": 0, "seed": 7}},
    ],
)
def test_a_setting_without_effect_makes_no_new_run(idle):
    without = {section: dict(settings) for section, settings in idle.items()}
    for section, key in (
        ("training", "snapshots"),
        ("training", "cycle_multiplier"),
        ("training", "select_by"),
        ("validation", "seed"),
    ):
        without.get(section, {}).pop(key, None)
    assert without != idle
    assert sign(idle) == sign(without)


def test_runs_that_choose_the_best_epoch_are_new_and_the_others_are_not():
    """Runs of before went by all clips, which the key says now: it is left out, as it was when there was none."""
    assert "select_by" not in resolve({"training": {"select_by": "acc_avg"}}).identity()["training"]
    assert "select_by" not in resolve({"training": {"select_epoch": "snapshots"}}).identity()["training"]
    assert resolve({}).identity()["training"]["select_by"] == "acc_device_macro"
    assert sign({"training": {"select_by": "acc_avg"}}) != sign({})


def test_folds_make_new_runs_and_one_cut_stays_what_it_was():
    assert not {"folds", "final"} & set(run_identity(resolve({}), "d")["config"]["validation"])
    folded = {"validation": {"folds": 5}}
    assert sign(folded) != sign({})
    assert sign(folded) != sign({"validation": {"folds": 5, "final": "all"}})
    assert sign(folded) == sign({"validation": {"folds": 5, "share": 0.5}})  # the share cuts nothing


def test_feature_settings_are_in_the_identity_if_they_are_not_as_before_there_was_a_choice():
    assert set(resolve({}).identity()["features"]) == {"n_fft", "hop_length", "n_mels", "scale", "dtype"}
    assert sign({"features": {"window_length": 2048, "deltas": True}}) == sign({})
    assert resolve({"features": {"deltas": False}}).identity()["features"]["deltas"] is False


def test_a_preset_is_its_settings_and_what_is_given_beside_it_wins():
    preset = resolve({"features": {"preset": "dcase2024", "n_mels": 128}}).features
    written = {"resample_to": 32_000, "n_fft": 4096, "window_length": 3072, "hop_length": 500, "padding": "reflect"}
    assert preset == resolve({"features": written | {"scale": "none", "log_offset": 1e-5, "deltas": False}}).features
    assert "preset" not in preset.model_dump()
    assert resolve({"features": {"preset": None}}) == resolve({})


def test_optimiser_and_schedule_are_in_the_identity_if_they_are_not_those_of_before():
    new = {"optimizer", "schedule", "warmup_steps", "weight_decay"}
    assert not new & set(resolve({}).identity()["training"])
    assert sign({"training": {"weight_decay": 0.5}}) == sign({})  # of AdamW alone
    adamw, cosine = {"optimizer": "adamw"}, {"schedule": "cosine"}
    assert sign({"training": adamw | {"momentum": 0.5}}) == sign({"training": adamw}) != sign({})
    assert sign({"training": adamw | {"weight_decay": 0.5}}) != sign({"training": adamw})
    idle = {"first_cycle_epochs": 9, "cycle_multiplier": 3}
    assert sign({"training": cosine | idle}) == sign({"training": cosine}) != sign({})
    assert len({sign({"training": {"warmup_steps": steps}}) for steps in (0, 5, 6)}) == 3


def test_snapshots_need_cycles():
    with pytest.raises(InputError, match="snapshots needs cycles of the learning rate, got schedule cosine, which has"):
        resolve({"training": {"select_epoch": "snapshots", "schedule": "cosine"}})


def test_the_metric_of_the_best_epoch_is_a_known_one():
    with pytest.raises(InputError, match="nothing is chosen on the test split, got the objective 'test/acc_avg'"):
        resolve({"training": {"select_by": "test/acc_avg"}})
    with pytest.raises(InputError, match="must be a known metric, got 'acc_device': did you mean"):
        resolve({"training": {"select_by": "acc_device"}})


def test_without_validation_the_best_epoch_is_the_last():
    best, last = ({"training": {"select_epoch": kind}, "validation": {"share": 0}} for kind in ("best", "last"))
    assert sign(best) == sign(last)
    assert sign({"training": {"select_epoch": "last"}}) != sign({})


def responses(folder: Path, peak: float) -> Path:
    folder.mkdir(parents=True)
    soundfile.write(folder / "room.wav", np.float32([peak, 0.2, 0.1]), 44_100, subtype="PCM_16")
    return folder


def test_the_content_of_impulse_responses_counts_and_not_their_place(tmp_path):
    def reverb(folder: Path) -> dict:
        return {"waveform_augmentation": {"reverb_drc": {"impulse_responses": str(folder)}}}

    one, same, other = responses(tmp_path / "a", 0.9), tmp_path / "b" / "c", responses(tmp_path / "d", 0.8)
    shutil.copytree(one, same)
    before = sign(reverb(one))
    assert sign(reverb(same)) == before
    assert sign(reverb(other)) != before
    shutil.copy(other / "room.wav", one / "room.wav")
    assert sign(reverb(one)) != before
    with_rooms = reverb(one)
    with_rooms["waveform_augmentation"]["reverb_drc"]["rooms"] = 3  # they are used without a folder only
    assert sign(with_rooms) == sign(reverb(one))


def codes(package: Path) -> dict[str, str]:
    """The code digests of all parts by a copy of the package, in a process of its own."""
    code = """
import json
from asc_study.settings.identity import code_of_parts
from asc_study.settings.run_config import resolve
names = {"waveform_augmentation": ["noise", "reverb_drc"], "batch_augmentation": ["mixup", "random_crop"]}
raw = {kind: {name: {} for name in some} for kind, some in names.items()}
print(json.dumps(code_of_parts(resolve(raw))))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_edited_built_in_part_is_another_part_and_no_other_is(tmp_path):
    import asc_study

    package = tmp_path / "asc_study"
    shutil.copytree(Path(asc_study.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = codes(package)
    edit(
        package / "augmentation" / "batch" / "mixup.py",
        "(first[index] - second[index]) * share",
        "(first[index]) * share",
    )
    edit(package / "augmentation" / "waveform" / "noise.py", '"""Add the noise."""', '"""Add it."""  # and a comment')
    after = codes(package)
    assert {name for name in before if before[name] != after[name]} == {"batch_augmentation mixup"}
    edit(package / "acoustics" / "impulse_responses.py", "samples = len(signal)", "samples = len(signal) + 0")
    last = codes(package)
    assert {name for name in after if after[name] != last[name]} == {"waveform_augmentation reverb_drc"}


def test_a_part_whose_code_only_moves_stays_the_same(tmp_path):
    """Both what it imports at the top of a module and what it imports when it is called."""
    import asc_study

    package = tmp_path / "asc_study"
    shutil.copytree(Path(asc_study.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = codes(package)
    moves = (("models/blocks.py", "models/shared.py"), ("acoustics/compander.py", "acoustics/press.py"))
    for old, new in moves:
        (package / old).rename(package / new)
        name, now = (path.removesuffix(".py").replace("/", ".") for path in (old, new))
        for file in package.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(f"asc_study.{name} ", f"asc_study.{now} "), encoding="utf-8")
    assert codes(package) == before


def test_differences_name_what_changed():
    old = run_identity(resolve({"training": {"epochs": 6}, "batch_augmentation": {"mixup": {}}}), "a" * 64)
    new = run_identity(resolve({"training": {"epochs": 8}, "model": {"batch_norm_momentum": 0.9}}), "b" * 64)
    lines = differences(old, new)
    assert "training.epochs 6 -> 8" in lines
    assert "model.batch_norm_momentum 0.99 -> 0.9" in lines
    assert "batch_augmentation.mixup.alpha 0.4 -> -" in lines
    assert f"data set {'a' * 10} -> {'b' * 10}" in lines
    assert differences(old, old) == []
