"""Predictions tables of made systems: right on a chosen share of the clips, wrong on others."""

import numpy as np
import pandas as pd
import pytest

from asc_study.taxonomy import CLASSES, DEVICES, GROUP_OF_SCENE, SCENES


@pytest.fixture
def make_table():
    """A function that makes the predictions table of a system of a given skill on simulated clips."""

    def make(
        seed: int, *, skill: float = 1.0, clips: int = 200, split: str = "test", task: str = "ten_class"
    ) -> pd.DataFrame:
        clip = np.arange(clips)
        scene = np.array([SCENES[i % 10] for i in clip])
        label = scene if task == "ten_class" else np.array([GROUP_OF_SCENE[name] for name in scene])
        classes = CLASSES[task]
        rng = np.random.default_rng([seed, clips])
        logits = rng.normal(size=(clips, len(classes)))
        logits[clip, [classes.index(name) for name in label]] += skill
        logits += 0.3 * np.random.default_rng(99).normal(size=(clips, 1)) * logits  # clips differ in difficulty
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        context = pd.DataFrame(
            {
                "clip_id": [f"{split}-{i:05d}" for i in clip],
                "scene": label,
                "device": [DEVICES[i % 9] for i in clip],
                "city": [("lisbon", "milan")[(i // 10) % 2] for i in clip],
                "location": [str(i // 10 % 20) for i in clip],
                "split": split,
            }
        )
        return pd.concat([context, pd.DataFrame(probabilities.astype(np.float32), columns=list(classes))], axis=1)

    return make


@pytest.fixture
def tiny_table():
    """A function that makes a three-class table of given rows: (scene, device, location, three probabilities)."""

    def make(*rows: tuple, split: str = "validation") -> pd.DataFrame:
        columns = ["scene", "device", "location", *CLASSES["three_class"]]
        table = pd.DataFrame(rows, columns=columns)
        table.insert(0, "clip_id", [f"clip{i}" for i in range(len(rows))])
        table = table.assign(city="lisbon", split=split)
        return table[["clip_id", "scene", "device", "city", "location", "split", *CLASSES["three_class"]]]

    return make
