"""The fusion of a bundle gives what the platform's own rules give."""

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENE_GROUPS, SCENES
from asc_study.deploy.runtime.fusion import MEANS, Fusion, Stage
from asc_study.ensemble.fuse import find_fusion
from asc_study.ensemble.stack import GROUP_COLUMN, Stack
from asc_study.ensemble.two_stage import two_stage_product


def outputs(systems: int, classes: int, seed: int = 0, clips: int = 50) -> np.ndarray:
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.2), size=(systems, clips))
    drawn[:, 0] = np.eye(classes)[np.arange(systems) % classes]  # systems that are sure, and contradict each other
    return drawn


def platform(rule: str, probabilities: np.ndarray) -> np.ndarray:
    names = tuple(f"system{i}" for i in range(len(probabilities)))
    context = pd.DataFrame(index=range(probabilities.shape[1]))
    sample = Stack(names, context, SCENES, probabilities)
    return find_fusion(rule).fit(sample).combine(sample)


@pytest.mark.parametrize("rule", MEANS)
@pytest.mark.parametrize("systems", [1, 3])
def test_a_stage_is_the_platforms_rule(rule: str, systems: int) -> None:
    probabilities = outputs(systems, 10)
    fused = Stage(rule, (1 / systems,) * systems).fuse(list(probabilities))
    np.testing.assert_allclose(fused, platform(rule, probabilities), atol=1e-12)
    one = Stage(rule, (1 / systems,) * systems).fuse(list(probabilities[:, 7]))
    np.testing.assert_allclose(one, fused[7], atol=1e-12)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_two_stages_are_the_papers_product(exponent: float) -> None:
    fine, coarse = outputs(2, 10), outputs(1, 3, seed=1)
    fusion = Fusion(Stage("average", (0.25, 0.75)), Stage("average", (1.0,)), exponent, tuple(GROUP_COLUMN.tolist()))
    expected = two_stage_product(0.25 * fine[0] + 0.75 * fine[1], coarse[0], exponent)
    np.testing.assert_allclose(fusion.fuse(list(fine), list(coarse)), expected, atol=1e-12)
    again = Fusion.from_dict(fusion.to_dict(), fusion.group_column)
    assert again == fusion
    assert SCENE_GROUPS[fusion.group_column[SCENES.index("bus")]] == "transportation"


def test_stages_that_contradict_each_other_altogether_leave_the_fine_output() -> None:
    fine, coarse = np.eye(10)[0], np.eye(3)[1]  # airport is indoor
    fusion = Fusion(Stage("average", (1.0,)), Stage("average", (1.0,)), 1.0, tuple(GROUP_COLUMN.tolist()))
    np.testing.assert_array_equal(fusion.fuse([fine], [coarse]), fine)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"fine": {"rule": "median", "weights": [1]}}, "fused by one of average, product, got 'median'"),
        ({"fine": {"rule": "average", "weights": []}}, "sum to 1"),
        ({"fine": {"rule": "average", "weights": [2, -1]}}, "at least 0"),
        ({"fine": {"rule": "average", "weights": [float("nan")]}}, "sum to 1"),
        ({"fine": {"rule": "average", "weights": [1]}, "join": "learned"}, "joined by their product, got 'learned'"),
        ({"fine": {"rule": "average", "weights": [1]}, "exponent": -1}, r"exponent must be in \[0, 100\], got -1"),
    ],
)
def test_a_fusion_that_is_none_is_refused(written: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Fusion.from_dict(written)
