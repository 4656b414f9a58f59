"""Two stages on a data set with groups of its own."""

import numpy as np
import pandas as pd
import pytest

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import Taxonomy, know
from asc_study.ensemble.rules.average import Average
from asc_study.ensemble.stack import Pair, pair, stack
from asc_study.ensemble.two_stage import ProductJoin, TwoStage

ROOMS = Taxonomy(
    tasks=(("rooms", ("attic", "bath", "yard")), ("rooms-groups", ("inside", "outside"))),
    groups=(("attic", "inside"), ("bath", "inside"), ("yard", "outside")),
    devices=("phone", "mic"),
    seen_devices=("phone",),
    reference_device="phone",
    subsets=(("phone", ("phone",)), ("mic", ("mic",))),
)


def table(classes: tuple[str, ...], scenes: list[str], values: list[list[float]]) -> pd.DataFrame:
    context = pd.DataFrame(
        {
            "clip_id": [f"clip{number}" for number in range(len(scenes))],
            "scene": scenes,
            "device": ["phone", "mic"] * (len(scenes) // 2),
            "city": "here",
            "location": [str(number) for number in range(len(scenes))],
            "split": "test",
        }
    )
    return pd.concat([context, pd.DataFrame(np.float32(values), columns=list(classes))], axis=1)


@pytest.fixture
def staged() -> Pair:
    know(ROOMS)
    fine = table(ROOMS.tasks[0][1], ["attic", "yard"], [[0.4, 0.1, 0.5], [0.3, 0.5, 0.2]])
    coarse = table(ROOMS.tasks[1][1], ["inside", "outside"], [[0.8, 0.2], [0.1, 0.9]])
    return pair(stack({"fine": fine}), stack({"coarse": coarse}))


def test_scenes_are_sharpened_by_their_own_groups(staged):
    assert staged.group_columns == (0, 0, 1)
    fused = TwoStage(Average, Average).fit(staged)
    assert fused.join == ProductJoin(1.0, (0, 0, 1))
    expected = np.array([[0.4 * 0.8, 0.1 * 0.8, 0.5 * 0.2], [0.3 * 0.1, 0.5 * 0.1, 0.2 * 0.9]])
    np.testing.assert_allclose(fused.combine(staged), expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_stages_of_other_data_do_not_go_together(staged):
    with pytest.raises(InputError, match="two-stage fusion takes ten-class systems"):
        pair(staged.fine, staged.fine)


@pytest.mark.parametrize("columns", [(0, 0, 2), (1, 1, 1), (-1, 0, 1)])
def test_a_join_without_a_scene_for_a_group_is_damaged(columns):
    with pytest.raises(InputError, match="it is damaged"):
        ProductJoin(1.0, columns)
