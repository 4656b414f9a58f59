"""Fault A6: settings that an earlier version wrote are read today."""

import pytest
import yaml

from asc_study.base.errors import InputError
from asc_study.settings.identity import SCHEMA_VERSION
from asc_study.settings.migrations import MIGRATIONS, read_config, written_config
from asc_study.settings.run_config import resolve

#: As 6b4c718 wrote it: no schema, everything else written out.
OLD = """
row: mixed
seed: 0
task: ten_class
architecture: tiny_network.TINY
model: {}
features: {n_fft: 2048, hop_length: 1024, n_mels: 128, scale: min_max, dtype: float16}
waveform_augmentation: {}
batch_augmentation: {mixup: {alpha: 0.4}}
training: {data: train, batch_size: 32, balance_classes: false, epochs: 3, lr_max: 0.1, lr_min: 1.0e-05,
  first_cycle_epochs: 2, cycle_multiplier: 2, momentum: 0.9, select_epoch: best, snapshots: 3, precision: float32,
  xla: auto, threads: 2}
validation: {share: 0.1, seed: 0, holdout_devices: []}
"""


def test_every_earlier_schema_has_a_migration():
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_settings_of_schema_1_are_read():
    config = read_config(OLD, where="old")
    assert config.architecture == "tiny_network:TINY"
    assert config.training.epochs == 3
    assert config.batch_augmentation["mixup"].alpha == 0.4


@pytest.mark.parametrize("schema", ["", "schema: 2\n"])
def test_the_best_epoch_of_earlier_runs_was_told_by_all_clips(schema):
    assert (
        read_config(schema + OLD.replace("tiny_network.", "tiny_network:"), where="old").training.select_by == "acc_avg"
    )
    assert resolve({}).training.select_by == "acc_device_macro"


def test_what_is_written_is_read_again():
    config = resolve({"batch_augmentation": {"mixup": {}}, "waveform_augmentation": {"noise": {}}})
    text = written_config(config, row="a", seed=3)
    assert yaml.safe_load(text)["schema"] == SCHEMA_VERSION
    assert read_config(text, where="new") == config


@pytest.mark.parametrize("text", ["", "- 1", "{", "schema: 99", "schema: x", "!!python/object:os.system {}"])
def test_damaged_or_newer_settings_are_one_line(text):
    with pytest.raises(InputError, match="old: ") as caught:
        read_config(text, where="old")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "training: [1]",
        "batch_augmentation: 3\narchitecture: [1]",
        "batch_augmentation: {3: {}}",
        "1: 2",
        "x: !!bool zzz",
        "study: &a {x: *a}",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]",
        "schema: 1\n" + "[" * 5000,
        "training: {epochs: \x00}",
    ],
)
def test_hostile_settings_of_a_run_are_one_line(text):
    with pytest.raises(InputError, match=r"^old: ") as caught:
        read_config(text, where="old")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
