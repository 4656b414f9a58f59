import hashlib
import json

import pytest

from asc_study.base.errors import InputError
from asc_study.settings.run_config import RunConfig, canonical_json, flatten, resolve, signature


def test_defaults_are_the_recipe_of_the_paper():
    config = resolve({})
    training = config.training
    assert (training.batch_size, training.lr_max, training.lr_min, training.momentum) == (32, 0.1, 1e-5, 0.9)
    assert (config.features.n_fft, config.features.hop_length, config.features.n_mels) == (2048, 1024, 128)
    assert config.model["width"] == 1.0


def test_every_default_is_written_out():
    assert resolve({"batch_augmentation": {"mixup": {}}}).batch_augmentation == {"mixup": {"alpha": 0.4}}


def test_null_switches_an_augmentation_off():
    assert resolve({"batch_augmentation": {"mixup": None}}).batch_augmentation == {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"architcture": "fcnn"}, "unknown key 'architcture': did you mean 'architecture'?"),
        ({"training": {"epochz": 3}}, "unknown key 'training.epochz': did you mean 'epochs'?"),
        ({"architecture": "fcn"}, "unknown architecture 'fcn': did you mean 'fcnn'?"),
        ({"architecture": "vgg"}, "unknown architecture 'vgg': known: fcnn, .*resnet"),
        ({"batch_augmentation": {"mixup": {"alpha": -1}}}, "`batch_augmentation.mixup.alpha` must be above 0.*got -1"),
        ({"batch_augmentation": {"mixup": {"alfa": 1.0}}}, "unknown key 'batch_augmentation.mixup.alfa'"),
        ({"batch_augmentation": {"mixpu": {}}}, "unknown batch_augmentation 'mixpu': did you mean 'mixup'?"),
        ({"batch_augmentation": {"spec_augment": {"time_mask_ratio": 1.2}}}, r"time_mask_ratio.*must be.*1.*got 1\.2"),
        ({"model": {"width": 0}}, r"`model\.width` must be above 0.*got 0"),
        ({"model": {"depth": 3}}, r"unknown key 'model\.depth'"),
        ({"training": {"epochs": "ten"}}, r"`training\.epochs` must be a whole number, got 'ten'"),
        ({"training": {"epochs": True}}, r"`training\.epochs` must be a whole number, got True"),
        ({"training": {"lr_max": 1e-6}}, "lr_min must be below training.lr_max"),
        ({"training": {"lr_max": float("nan")}}, r"lr_max.*got nan"),
        ({"training": 3}, "`training` must be a mapping, got 3"),
        ({"task": "nine_class"}, "`task` must be 'ten_class' or 'three_class', got 'nine_class'"),
        ({"validation": {"holdout_devices": ["s9"]}}, "unknown validation.holdout_devices 's9'"),
    ],
)
def test_bad_settings_are_one_line(raw, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?") if "did you" in message else message) as caught:
        resolve(raw, where="row 'x'")
    assert str(caught.value).startswith("row 'x': ")
    assert "\n" not in str(caught.value)


def test_canonical_json_is_sorted_and_compact():
    assert canonical_json({"b": 1.0, "a": [True, None]}) == '{"a":[true,null],"b":1.0}'


def test_signature_is_the_digest_of_config_schema_and_data():
    config = resolve({})
    identity = {"schema": 1, "config": json.loads(canonical_json(config.model_dump())), "dataset": "d", "seed": 3}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    assert signature(config, "d", 3) == hashlib.sha256(text.encode()).hexdigest()


def test_equal_settings_written_differently_have_one_signature():
    one = resolve({"batch_augmentation": {"mixup": {"alpha": 1}}, "model": {"width": 1}})
    other = resolve({"model": {"width": 1.0}, "batch_augmentation": {"mixup": {"alpha": 1.0}}, "architecture": "fcnn"})
    assert signature(one, "d", 0) == signature(other, "d", 0)


def test_seed_data_and_settings_change_the_signature_and_the_seed_leaves_the_combination():
    config, other = resolve({}), resolve({"training": {"epochs": 3}})
    assert len({signature(config, "d", 0), signature(config, "d", 1), signature(config, "e", 0)}) == 3
    assert signature(config, "d", None) != signature(other, "d", None)
    assert signature(config, "d", None) not in (signature(config, "d", 0), signature(config, "d", 1))


def test_order_of_held_out_devices_means_nothing():
    one = resolve({"validation": {"holdout_devices": ["s3", "b", "s3"]}})
    other = resolve({"validation": {"holdout_devices": ["b", "s3"]}})
    assert signature(one, "d", 0) == signature(other, "d", 0)


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": []}) == {"a.b": 1, "a.c.d": 2, "e": []}


def test_run_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().task = "three_class"
