"""Predictions and metrics for tests of figures."""

import numpy as np
import pandas as pd

from asc_study.base.taxonomy import CLASSES, DEVICES, GROUP_OF_SCENE, SCENES, SEEN_DEVICES
from asc_study.evaluation.predictions import CONTEXT_COLUMNS


def predictions(split: str = "test", task: str = "ten_class", seed: int = 0, locations: int = 4) -> pd.DataFrame:
    """One clip a scene, device and location; random probabilities."""
    rng, classes = np.random.default_rng(seed), CLASSES[task]
    rows = [
        (f"{split}{scene}{device}{place}", scene if task == "ten_class" else GROUP_OF_SCENE[scene], device, "lisbon",
         f"{scene}{place}", split)
        for scene in SCENES
        for device in (DEVICES if split == "test" else SEEN_DEVICES)
        for place in range(locations)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(CONTEXT_COLUMNS))
    drawn = rng.dirichlet([1] * len(classes), len(rows)).astype(np.float32)
    return pd.concat([frame, pd.DataFrame(drawn, columns=list(classes))], axis=1)


def sentence(figure) -> str:
    """What stands under a figure; with the spaces of a keyboard."""
    return figure.layout.meta["sentence"].replace("\N{NO-BREAK SPACE}", " ")
