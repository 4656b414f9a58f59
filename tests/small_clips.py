"""Fifty clips without recordings, of random features: what a training takes, for tests that train in a process."""

import numpy as np
import pandas as pd

from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.features.store import FeatureStore

#: Of the clips of each scene.
SPLITS = ("train", "train", "train", "validation", "test")


def small_clips() -> tuple[pd.DataFrame, FeatureStore]:
    """The clip table, five clips a scene, and their features, (32, 40, 1) each."""
    rows = [
        (f"{scene}{i}", "", scene, GROUP_OF_SCENE[scene], "lisbon", f"{i}", "a", split)
        for scene in SCENES
        for i, split in enumerate(SPLITS)
    ]
    columns = ["clip_id", "path", "scene", "scene_group", "city", "location", "device", "split"]
    clips = pd.DataFrame(rows, columns=columns)
    features = np.random.default_rng(0).random((len(clips), 32, 40, 1)).astype(np.float16)
    return clips, FeatureStore([features], [(0, i) for i in range(len(clips))])
