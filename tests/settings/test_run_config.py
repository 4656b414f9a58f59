import pytest

from asc_study.augmentation.batch.mixup import Mixup
from asc_study.base.errors import InputError
from asc_study.settings.run_config import canonical_json, flatten, resolve


def test_defaults_are_the_recipe_of_the_paper():
    config = resolve({})
    training = config.training
    assert (training.batch_size, training.lr_max, training.lr_min, training.momentum) == (32, 0.1, 1e-5, 0.9)
    assert (config.features.n_fft, config.features.hop_length, config.features.n_mels) == (2048, 1024, 128)
    assert config.model.width == 1.0


def test_every_default_is_written_out():
    assert resolve({"batch_augmentation": {"mixup": {}}}).batch_augmentation == {"mixup": Mixup(alpha=0.4)}


def test_null_switches_an_augmentation_off():
    assert resolve({"batch_augmentation": {"mixup": None}}).batch_augmentation == {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"architcture": "fcnn"}, "unknown key 'architcture': did you mean 'architecture'?"),
        ({"training": {"epochz": 3}}, "unknown key 'training.epochz': did you mean 'epochs'?"),
        ({"architecture": "fcn"}, "unknown architecture 'fcn': did you mean 'fcnn'?"),
        ({"architecture": "vgg"}, "unknown architecture 'vgg': known: .*fcnn, .*resnet"),
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
        ({"task": "nine_class"}, "`task` must be one of ten_class, three_class.*, got 'nine_class'"),
        ({"validation": {"folds": 1}}, "validation.folds must be at least 2, or 0 for one cut, got 1"),
        ({"validation": {"holdout_devices": ["s9"]}}, "unknown validation.holdout_devices 's9'"),
        ({"training": {"devices": ["s9"]}}, "unknown training.devices 's9': known: a, b"),
        ({"training": {"devices": []}}, r"training.devices must name at least one device, got \[\]: leave it out"),
        (
            {"training": {"devices": ["a", "b"]}, "validation": {"holdout_devices": ["b"]}},
            "training.devices must not be held out, got b in validation.holdout_devices too",
        ),
        ({"features": {"preset": "dcase24"}}, "unknown features.preset 'dcase24': did you mean 'dcase2024'?"),
        ({"features": {"window_length": 4096}}, "window_length must be at most features.n_fft, got 4096 and 2048: lo"),
        ({"features": {"fmin": 900, "fmax": 800}}, "fmin must be below features.fmax, got 900 and 800: swap them"),
    ],
)
def test_bad_settings_are_one_line(raw, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?") if "did you" in message else message) as caught:
        resolve(raw, where="row 'x'")
    assert str(caught.value).startswith("row 'x': ")
    assert "\n" not in str(caught.value)


def test_canonical_json_is_sorted_and_compact():
    assert canonical_json({"b": 1.0, "a": [True, None]}) == '{"a":[true,null],"b":1.0}'


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": []}) == {"a.b": 1, "a.c.d": 2, "e": []}


def test_run_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        resolve({}).task = "three_class"
