"""A system by device: what it says of each clip, and how it is written down."""

import json

import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.ensemble.by_device import ByDevice, Route, RouteRule
from asc_study.ensemble.crossfit import fuse_splits
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.stack import stack

NAMES = ("general", "of a", "of s1")
DEVICES = {"a": 1, "b": 1, "s1": 2}


@pytest.fixture(scope="module")
def sample(make_table):
    return stack({name: make_table(number) for number, name in enumerate(NAMES)})


def test_each_clip_is_heard_by_the_system_of_its_device(sample):
    fused = fuse_splits(RouteRule(DEVICES), {"test": sample})
    table = fused.tables["test"]
    heard = np.array([DEVICES.get(device, 0) for device in sample.context["device"]])
    assert set(heard) == {0, 1, 2}
    expected = sample.probabilities[heard, np.arange(len(heard))]
    np.testing.assert_allclose(table[list(sample.classes)].to_numpy(float), expected, atol=1e-7)
    assert fused.basis == "fixed"


def test_it_is_written_down_and_hears_a_device_that_is_not_known_by_the_general_system(sample):
    fitted = RouteRule(DEVICES).fit(sample)
    systems = tuple(System(name, "ten_class", "train", name, "") for name in NAMES)
    file = FusionFile("fixed", CLASSES, systems, fitted)
    read = FusionFile.from_dict(json.loads(json.dumps(file.to_dict())))
    assert read == file
    outputs = {name: sample.probabilities[place] for place, name in enumerate(NAMES)}
    np.testing.assert_array_equal(read.apply(outputs), outputs["general"])
    clips = len(sample.context)
    np.testing.assert_array_equal(read.apply(outputs, ["unknown"] * clips), outputs["general"])
    np.testing.assert_array_equal(read.apply(outputs, ["b"] * clips), outputs["of a"])


@pytest.mark.parametrize(
    "routes",
    [
        (Route("a", "of a"),),
        (Route("a", "of a"), Route("s1", "of s1"), Route("b", "gone")),
        (Route("a", "of a"), Route("a", "of s1")),
    ],
)
def test_a_file_that_was_changed_is_told(routes):
    with pytest.raises(InputError, match="a system by device must have a device for each of .*: it is damaged"):
        ByDevice(NAMES, routes)
