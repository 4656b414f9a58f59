"""Fusions inside of fusions, as a bundle applies them."""

import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import CLASSES
from asc_study.deploy.runtime.fusion import FusionTree, require_built_in
from asc_study.ensemble.by_device import ByDevice, Route
from asc_study.ensemble.fusion_file import FusionFile, System
from asc_study.ensemble.rules.average import Average
from asc_study.ensemble.rules.weighted import Weighted
from asc_study.ensemble.two_stage import FittedTwoStage, ProductJoin, two_stage_product


class OwnRule(Average):
    """A rule that a bundle does not know."""

    name = "own_rules:OwnRule"


def outputs(count: int, classes: int) -> np.ndarray:
    return np.random.default_rng(count).dirichlet(np.full(classes, 0.3), size=(count, 20))


def system(key: str, task: str = "ten_class", kind: str = "train") -> System:
    return System(f"system {key}", task, kind, key, "")


def tree() -> FusionTree:
    """Two stages of a weighted ensemble and a three-class network."""
    inner = FusionFile(
        "validation", CLASSES, (system("a"), system("b")), Weighted(("system a", "system b"), (0.25, 0.75))
    )
    stages = FittedTwoStage(Average(("system inner",)), Average(("system c",)), ProductJoin(2.0))
    systems = (system("inner", kind="ensemble"), system("c", "three_class"))
    return FusionTree("top", {"top": FusionFile("validation", CLASSES, systems, stages), "inner": inner})


def test_a_fusion_of_an_ensemble_is_applied_from_the_inside() -> None:
    fine, coarse = outputs(2, 10), outputs(1, 3)[0]
    expected = two_stage_product(0.25 * fine[0] + 0.75 * fine[1], coarse, 2.0)
    fused = tree().apply({"a": fine[0], "b": fine[1], "c": coarse})
    np.testing.assert_allclose(fused, expected, atol=1e-12)
    one = tree().apply({"a": fine[0, 3:4], "b": fine[1, 3:4], "c": coarse[3:4]})
    np.testing.assert_allclose(one, expected[3:4], atol=1e-12)


def test_it_is_written_and_read_unchanged() -> None:
    again = FusionTree.from_dict(tree().to_dict())
    assert again == tree()
    assert again.networks() == {"a": "ten_class", "b": "ten_class", "c": "three_class"}
    assert again.classes == CLASSES["ten_class"]


def test_a_fusion_of_other_classes_than_it_is_said_to_have_is_refused() -> None:
    fusions = dict(tree().fusions)
    fusions["inner"] = FusionFile("fixed", CLASSES, (system("a", "three_class"),), Average(("system a",)))
    with pytest.raises(InputError, match="'system inner' must have the classes of ten_class, got"):
        FusionTree("top", fusions).networks()
    with pytest.raises(InputError, match="must be among those of the bundle"):
        FusionTree("gone", fusions).networks()


def test_a_rule_of_ones_own_is_not_carried() -> None:
    file = FusionFile("fixed", CLASSES, (system("a"),), OwnRule(("system a",)))
    with pytest.raises(InputError, match="got 'own_rules:OwnRule' in 'mine'"):
        require_built_in(file, "mine")
    with pytest.raises(InputError, match="got 'own_rules:OwnRule': it runs no code"):
        FusionTree.from_dict({"top": "x", "fusions": {"x": file.to_dict()}})


def test_one_network_of_a_system_by_device_runs_for_a_clip() -> None:
    routed = ByDevice(("system a", "system b"), (Route("s1", "system b"),))
    inner = FusionFile("fixed", CLASSES, (system("a"), system("b")), routed)
    systems = (system("inner", kind="fusion"), system("c"))
    mean = FusionFile("fixed", CLASSES, systems, Average(("system inner", "system c")))
    whole = FusionTree("top", {"top": mean, "inner": inner})
    assert FusionTree.from_dict(whole.to_dict()) == whole
    assert whole.devices == ("s1",)
    assert (whole.running("s1"), whole.running("a"), whole.running()) == ({"b", "c"}, {"a", "c"}, {"a", "c"})
    assert whole.most({"a": 5, "b": 7, "c": 1}) == 8
    assert tree().running("s1") == {"a", "b", "c"}
    a, b, c = outputs(3, 10)
    devices = ["s1", "a", "", "unknown"] * 5
    heard = np.where((np.array(devices) == "s1")[:, None], b, a)
    np.testing.assert_allclose(whole.apply({"a": a, "b": b, "c": c}, devices), (heard + c) / 2, atol=1e-12)
    np.testing.assert_allclose(whole.apply({"a": a, "c": c}), (a + c) / 2, atol=1e-12)
    np.testing.assert_allclose(whole.apply({"b": b, "c": c}, ["s1"] * 20), (b + c) / 2, atol=1e-12)
