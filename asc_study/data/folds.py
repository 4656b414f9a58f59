"""Folds of the training split: every location is validation once, so that all training clips are predicted unheard."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from asc_study.data.clips import REFERENCE_DEVICE
from asc_study.data.cut import relabel_locations


def cut_fold(
    clips: pd.DataFrame,
    *,
    fold: int,
    folds: int,
    seed: int,
    holdout_devices: Sequence[str] = (),
    reference_device: str = REFERENCE_DEVICE,
) -> pd.DataFrame:
    """Re-label the locations of one fold of the training split as ``validation``.

    Every location belongs to one fold, and the folds are alike in scenes and cities as far as there are locations. The
    only location of a scene belongs to none: without it a network could not learn the scene.

    Parameters
    ----------
    clips
        Clip table without validation rows.
    fold
        Which one, from 0; ``folds`` stands for none: nothing is validation.
    folds
        How many there are.
    seed
        Which locations go together; the order of the rows has no influence.
    holdout_devices, reference_device
        See `asc_study.data.cut.cut_validation`; with nothing to validate, held-out devices leave training all the same.

    Returns
    -------
    DataFrame
        A new clip table, sorted by ``clip_id``.

    Raises
    ------
    InputError
        If a held-out device is not in the training split, or is the reference device.
    """
    of_place = fold_of_places(clips[clips["split"] == "train"], folds, seed)
    chosen = {place for place, own in of_place.items() if own == fold}
    return relabel_locations(clips, chosen, holdout_devices=holdout_devices, reference_device=reference_device)


def fold_of_places(train: pd.DataFrame, folds: int, seed: int) -> dict[str, int]:
    """The fold of every location (``city-location``) of training clips; the only one of a scene is left out."""
    train = train.assign(place=train["city"] + "-" + train["location"])
    clips_of = Counter[str](train["place"])
    city_of = dict(zip(train["place"], train["city"], strict=True))
    order = {place: rank for rank, place in enumerate(np.random.default_rng(seed).permutation(sorted(clips_of)))}
    found: dict[str, int] = {}
    alone: set[str] = set()
    total = Counter[int]()
    in_city = Counter[tuple[int, str]]()
    for _, group in train.groupby("scene"):
        in_scene = Counter[int]()
        places = sorted(set(group["place"]), key=order.__getitem__)
        if len(places) == 1:
            alone.update(places)
        for place in places:
            if place not in found:
                # The fold with the fewest clips of the scene, of the city, and in all.
                found[place] = min(
                    range(folds), key=lambda fold: (in_scene[fold], in_city[fold, city_of[place]], total[fold], fold)
                )
                total[found[place]] += clips_of[place]
                in_city[found[place], city_of[place]] += clips_of[place]
            in_scene[found[place]] += clips_of[place]
    return {place: fold for place, fold in found.items() if place not in alone}
