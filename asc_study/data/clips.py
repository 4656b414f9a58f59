"""The clip table: everything that is known about the clips of a data set, one row a clip, and its validation cut."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import DEVICES, SCENES

#: Columns of the clip table; ``path`` is absolute, ``split`` is train, validation or test.
CLIP_COLUMNS: Final = ("clip_id", "path", "scene", "scene_group", "city", "location", "device", "split")

#: Splits in the order in which they are shown.
SPLITS: Final = ("train", "validation", "test")

#: Recorded with the reference device; every other device is heard beside it, so it cannot be held out.
REFERENCE_DEVICE: Final = "a"


@dataclass(frozen=True)
class Dataset:
    """A data set on disk.

    Attributes
    ----------
    root
        The folder that holds ``meta.csv``, ``audio/`` and ``evaluation_setup/``.
    task
        The task that its labels are made for: ``ten_class`` (Mobile, Task 1a) or ``three_class`` (3Class, Task 1b).
    sample_rate
        In Hz: 44,100 for Mobile, 48,000 for 3Class.
    channels
        1 for Mobile, 2 for 3Class.
    clips
        The clip table with the columns `CLIP_COLUMNS`, sorted by ``clip_id``; ``split`` is train or test here.
        ``scene`` is always one of the ten scenes, ``scene_group`` its group.
    """

    root: Path
    task: str
    sample_rate: int
    channels: int
    clips: pd.DataFrame


def require_audio(dataset: Dataset) -> None:
    """Make sure that every audio file of the clip table is there, without opening one.

    Raises
    ------
    InputError
        If files are missing: how many, and the first.
    """
    missing = missing_files(dataset.clips["path"])
    if missing:
        first = os.path.relpath(missing[0], dataset.root)
        raise InputError(
            f"every clip needs its audio file, {len(missing):,} of {len(dataset.clips):,} are missing under "
            f"{dataset.root}, the first is {first}: `asc-study data check {dataset.root}` lists all"
        )


def missing_files(paths: "pd.Series[str]") -> list[str]:
    """Paths that are not there, found from one listing per folder (a ``stat`` per file is slow on network disks)."""
    listed: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in listed[folder]:
            missing.append(path)
    return missing


def describe(clips: pd.DataFrame) -> pd.DataFrame:
    """Count clips by split, scene and device.

    Returns
    -------
    DataFrame
        One row a (split, scene) in the order of `SPLITS` and the taxonomy, one column a device, then ``total``.
    """
    count = Counter(zip(clips["split"], clips["scene"], clips["device"], strict=True))
    devices = _in_order(clips["device"], DEVICES)
    rows = [
        (split, scene)
        for split in _in_order(clips["split"], SPLITS)
        for scene in _in_order(clips.loc[clips["split"] == split, "scene"], SCENES)
    ]
    index = pd.MultiIndex.from_tuples(rows, names=["split", "scene"])
    counts = pd.DataFrame([[count[*row, device] for device in devices] for row in rows], index, devices, dtype=int)
    counts["total"] = counts.sum(axis=1)
    return counts.rename_axis(columns="device")


def _in_order(values: "pd.Series[str]", known: Sequence[str]) -> list[str]:
    """List the values that occur: known ones in their own order, then the others by name."""
    present = set(values)
    return [value for value in known if value in present] + sorted(present.difference(known))


def paired_clips(clips: pd.DataFrame, device: str, *, reference: str = REFERENCE_DEVICE) -> npt.NDArray[np.int64]:
    """Find the sounds that two devices recorded at once: their clip identifiers differ in the device at the end only.

    Parameters
    ----------
    clips
        Clip table.
    device, reference
        Two of its devices.

    Returns
    -------
    (pairs, 2) int64
        Positions of the rows of ``reference`` and of ``device``, in the order of the latter; none if nothing is paired.
    """
    rows = {name: np.flatnonzero(clips["device"].to_numpy() == name) for name in (device, reference)}
    stems = {
        name: [clip_id.removesuffix(f"-{name}") for clip_id in clips["clip_id"].iloc[found]]
        for name, found in rows.items()
    }
    row_of = dict(zip(stems[reference], rows[reference], strict=True))
    pairs = [(row_of[stem], row) for stem, row in zip(stems[device], rows[device], strict=True) if stem in row_of]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def cut_validation(
    clips: pd.DataFrame, *, share: float = 0.1, seed: int, holdout_devices: Sequence[str] = ()
) -> pd.DataFrame:
    """Re-label whole locations of the training split as ``validation``.

    In every scene about ``share`` of the training clips, and at least one location, go to validation; the last location
    of a scene never does. Locations of the cities that are least heard in validation so far go first, and a city that
    would be in train only gives one more location if its scenes and it can spare one. A location is a city and a
    location identifier, and is never on both sides. Which locations are cut does not depend on ``holdout_devices``. The
    test split stays as it is.

    Parameters
    ----------
    clips
        Clip table without validation rows.
    share
        Share of each scene's training clips to aim at, in (0, 1); whole locations make it approximate.
    seed
        Which locations are drawn; the order of the rows has no influence.
    holdout_devices
        Devices that leave training altogether, as stand-ins for unseen ones. Their clips from validation locations are
        validated on; those from training locations are in neither split, so their rows are dropped.

    Returns
    -------
    DataFrame
        A new clip table, sorted by ``clip_id``. Validation lacks the scenes that have only one training location, and
        is empty if all have: it is for the caller to say so.

    Raises
    ------
    InputError
        If ``share`` is out of range, ``clips`` has been cut before, a held-out device is not in the training split, is
        the reference device, or has no clip in the locations that are cut.
    """
    if not 0 < share < 1:
        raise InputError(f"the validation share must be in (0, 1), got {share}: 0.1 cuts a tenth of each scene")
    if (clips["split"] == "validation").any():
        raise InputError("validation is cut once, got a clip table that has validation clips: start from the fold")
    train = clips[clips["split"] == "train"]
    for device in holdout_devices:
        _require_holdable(device, sorted(set(train["device"])))
    places = clips["city"] + "-" + clips["location"]
    chosen = _draw_locations(train.assign(place=places), share, np.random.default_rng(seed))

    cut = clips.copy()
    in_train = cut["split"] == "train"
    cut.loc[in_train & places.isin(chosen), "split"] = "validation"
    validated = set(cut.loc[cut["split"] == "validation", "device"])
    for device in holdout_devices:
        if chosen and device not in validated:
            raise InputError(
                f"a held-out device must be heard in a validation location, got {device!r} that is in none: "
                "raise the validation share, take another seed or hold out another device"
            )
    cut = cut[~((cut["split"] == "train") & cut["device"].isin(list(holdout_devices)))]
    return cut.sort_values("clip_id", ignore_index=True)


def _require_holdable(device: str, train_devices: list[str]) -> None:
    if device == REFERENCE_DEVICE:
        raise InputError(f"the reference device {device!r} cannot be held out of training: hold out another device")
    if device not in train_devices:
        raise InputError(
            f"a held-out device must be one of the training split ({', '.join(train_devices)}), got {device!r}"
        )


def _draw_locations(train: pd.DataFrame, share: float, rng: np.random.Generator) -> set[str]:
    """Draw the validation locations scene by scene; ``train`` has a column ``place`` (city and location)."""
    clips_of = Counter[str](train["place"])
    clips_of_city = Counter[str](train["city"])
    city_of: dict[str, str] = dict(zip(train["place"], train["city"], strict=True))
    places_of = {str(scene): sorted(set(group["place"].tolist())) for scene, group in train.groupby("scene")}
    scenes_of: dict[str, list[str]] = {}
    for scene, places in places_of.items():
        for place in places:
            scenes_of.setdefault(place, []).append(scene)
    draw_order = {place: rank for rank, place in enumerate(rng.permutation(sorted(clips_of)).tolist())}

    chosen: set[str] = set()
    cut_from_city = dict.fromkeys(clips_of_city, 0)

    def leaves_its_scenes(place: str) -> bool:
        return all(len(set(places_of[scene]) - chosen) > 1 for scene in scenes_of[place])

    def leaves_its_city(place: str) -> bool:
        return sum(city == city_of[place] for other, city in city_of.items() if other not in chosen) > 1

    def preference(place: str) -> tuple[bool, float, int]:
        city = city_of[place]
        return not leaves_its_city(place), cut_from_city[city] / clips_of_city[city], draw_order[place]

    for scene, places in places_of.items():
        target = share * float((train["scene"] == scene).sum())
        while True:
            missing = target - sum(clips_of[place] for place in places if place in chosen)
            candidates = [place for place in places if place not in chosen and leaves_its_scenes(place)]
            # A location of more than twice what is missing would take the scene further from its target.
            fitting = [place for place in candidates if clips_of[place] <= 2 * missing]
            if not fitting and chosen.isdisjoint(places):
                smallest = min((clips_of[place] for place in candidates), default=0)
                fitting = [place for place in candidates if clips_of[place] == smallest]
            if not fitting:
                break
            place = min(fitting, key=preference)
            chosen.add(place)
            cut_from_city[city_of[place]] += clips_of[place]
    for city in sorted(city for city, cut in cut_from_city.items() if cut == 0):
        places = [place for place in city_of if city_of[place] == city]
        candidates = [place for place in places if leaves_its_scenes(place) and leaves_its_city(place)]
        if candidates:
            chosen.add(min(candidates, key=preference))
    return chosen
