"""Training by folds: who predicts what, and that it goes on where it was cut off."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.data.folds import cut_fold
from asc_study.features.store import FeatureStore
from asc_study.settings.run_config import resolve
from asc_study.training.batches import EvaluationBatches
from asc_study.training.folds import train_folds
from asc_study.training.run_data import RunData

pytestmark = pytest.mark.slow

FOLDS, EPOCHS = 2, 2


@pytest.fixture(scope="module")
def clips() -> pd.DataFrame:
    rows = [
        (f"{scene}{i}", "", scene, GROUP_OF_SCENE[scene], "lisbon", f"{scene}{i}", "a", "test" if i == 2 else "train")
        for scene in SCENES
        for i in range(3)
    ]
    columns = ["clip_id", "path", "scene", "scene_group", "city", "location", "device", "split"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def store(clips: pd.DataFrame) -> FeatureStore:
    features = np.random.default_rng(0).random((len(clips), 24, 36, 1))
    return FeatureStore([features.astype(np.float16)], [(0, i) for i in range(len(clips))])


def config(**validation):
    return resolve(
        {
            "architecture": "tiny_network:TINY",
            "training": {"epochs": EPOCHS, "batch_size": 5, "threads": 2},
            "validation": {"folds": FOLDS, **validation},
        }
    )


def data(clips: pd.DataFrame, store: FeatureStore, trainings: int) -> list[RunData]:
    found = []
    for fold in range(trainings):
        cut = cut_fold(clips, fold=fold, folds=FOLDS, seed=0)
        places = pd.Index(clips["clip_id"]).get_indexer(cut["clip_id"])
        found.append(RunData(cut.set_index(pd.Index(places)), store))
    return found


@pytest.fixture(scope="module")
def by_mean(clips, store, tmp_path_factory):
    """What training by folds gives, and the epochs that were told."""
    seen: list[int] = []
    checkpoint = tmp_path_factory.mktemp("folds") / "run.npz"
    result = train_folds(
        config(), data(clips, store, FOLDS), 5, checkpoint=checkpoint, on_epoch=lambda epoch, _: seen.append(epoch)
    )
    return result, seen


def test_every_training_clip_is_predicted_by_the_model_that_did_not_hear_it(clips, store, by_mean):
    result, seen = by_mean
    assert seen == list(range(FOLDS * EPOCHS))
    validation = result.predictions["validation"].set_index("clip_id")
    assert sorted(validation.index) == sorted(clips.loc[clips["split"] == "train", "clip_id"])
    parts = [layer for layer in result.model.layers if layer.name.startswith("part_")]
    for fold, (part, one) in enumerate(zip(parts, data(clips, store, FOLDS), strict=True)):
        held = one.clips[one.clips["split"] == "validation"]
        own = part.predict(EvaluationBatches(store, held.index.to_numpy()), verbose=0)
        np.testing.assert_allclose(validation.loc[held["clip_id"], list(SCENES)], own, atol=1e-6, err_msg=str(fold))


def test_test_is_predicted_by_the_mean(clips, store, by_mean):
    result, _ = by_mean
    assert len(result.chosen_epochs) == FOLDS
    assert [epoch // EPOCHS for epoch in result.chosen_epochs] == [0, 1]
    assert len(result.predictions["test"]) == 10


def test_it_goes_on_in_the_fold_in_which_it_was_cut_off(clips, store, by_mean):
    whole, _ = by_mean

    class Killed(Exception):
        pass

    def stop(epoch, _):
        if epoch == EPOCHS + 1:
            raise Killed

    with pytest.raises(Killed):
        train_folds(config(), data(clips, store, FOLDS), 5, checkpoint=Path("run.npz"), on_epoch=stop)
    started, seen = [], []
    result = train_folds(
        config(),
        data(clips, store, FOLDS),
        5,
        checkpoint=Path("run.npz"),
        on_start=lambda history: started.append(len(history)),
        on_epoch=lambda epoch, _: seen.append(epoch),
    )
    assert (started, seen) == ([EPOCHS + 1], [EPOCHS + 1])
    for split in ("validation", "test"):
        pd.testing.assert_frame_equal(result.predictions[split], whole.predictions[split], check_exact=True)


def test_one_more_model_on_all_clips_predicts_if_it_is_asked_for(clips, store, by_mean):
    wanted = config(final="all")
    result = train_folds(wanted, data(clips, store, wanted.trainings), 5, checkpoint=Path("all.npz"))
    assert len(result.history) == (FOLDS + 1) * EPOCHS
    assert result.chosen_epochs == ((FOLDS + 1) * EPOCHS - 1,)  # its last: there is nothing to choose by
    whole, _ = by_mean
    pd.testing.assert_frame_equal(result.predictions["validation"], whole.predictions["validation"])
    assert not np.allclose(
        result.predictions["test"][list(SCENES)].to_numpy(), whole.predictions["test"][list(SCENES)].to_numpy()
    )
