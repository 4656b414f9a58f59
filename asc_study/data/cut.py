"""What is held back of the train split: validation locations, whole devices, a share or a part of the clips."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError, shown
from asc_study.data.clips import REFERENCE_DEVICE


def cut_validation(
    clips: pd.DataFrame,
    *,
    share: float = 0.1,
    seed: int,
    holdout_devices: Sequence[str] = (),
    reference_device: str = REFERENCE_DEVICE,
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
    reference_device
        The device that cannot be held out.

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
    places = clips["city"] + "-" + clips["location"]
    train = clips.assign(place=places)[clips["split"] == "train"]
    chosen = _draw_locations(train, share, np.random.default_rng(seed))
    cut = relabel_locations(clips, chosen, holdout_devices=holdout_devices, reference_device=reference_device)
    validated = set(cut.loc[cut["split"] == "validation", "device"])
    for device in holdout_devices:
        if chosen and device not in validated:
            raise InputError(
                f"a held-out device must be heard in a validation location, got {device!r} that is in none: "
                "raise the validation share, take another seed or hold out another device"
            )
    return cut


def relabel_locations(
    clips: pd.DataFrame, chosen: Collection[str], *, holdout_devices: Sequence[str], reference_device: str
) -> pd.DataFrame:
    """Re-label the training clips of locations (``city-location``) as ``validation``; see `cut_validation`."""
    train_devices = sorted(set(clips.loc[clips["split"] == "train", "device"]))
    for device in holdout_devices:
        _require_holdable(device, train_devices, reference_device)
    places = clips["city"] + "-" + clips["location"]
    cut = clips.copy()
    in_train = cut["split"] == "train"
    cut.loc[in_train & places.isin(chosen), "split"] = "validation"
    cut = cut[~((cut["split"] == "train") & cut["device"].isin(list(holdout_devices)))]
    return cut.sort_values("clip_id", ignore_index=True)


def _require_holdable(device: str, train_devices: list[str], reference_device: str) -> None:
    if device == reference_device:
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


def keep_share_of_train(clips: pd.DataFrame, share: float, *, seed: int, of: pd.DataFrame) -> pd.DataFrame:
    """Keep a share of the train clips of each scene and device, at least one of each; the other splits stay.

    Each clip has one rank in the draw, so a smaller share is a part of a larger one, whatever devices are held out.

    Parameters
    ----------
    clips
        Clip table, cut or not.
    share
        In (0, 1].
    seed
        Draws the ranks.
    of
        The whole clip table, all of whose clips have a rank: the draw does not depend on what was left out before.
    """
    names = sorted(of["clip_id"])
    ranks = pd.Series(np.random.default_rng(seed).permutation(len(names)), index=names)
    train = clips[clips["split"] == "train"]
    groups = ranks.loc[train["clip_id"]].set_axis(train.index).groupby([train["scene"], train["device"]])
    wanted = (share * groups.transform("size")).round().clip(lower=1)
    return clips.drop(index=train.index[groups.rank() > wanted])


def keep_subset_of_train(clips: pd.DataFrame, subsets: Mapping[str, frozenset[str]], name: str) -> pd.DataFrame:
    """Keep the train clips that a subset names; the other splits stay.

    Parameters
    ----------
    clips
        Clip table.
    subsets
        Those that the data set has, see `Dataset`.
    name
        The one to keep.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if name not in subsets:
        known = f"known: {', '.join(subsets)}" if subsets else "the data set has no such lists"
        raise InputError(f"training.subset must be a part of train that the data set lists, got {shown(name)}: {known}")
    # Not `isin`: pandas makes an Arrow scalar of each of the subset's names first, which takes five times as long.
    named = clips["clip_id"].map(subsets[name].__contains__).astype(bool)
    return clips[(clips["split"] != "train") | named]


def keep_devices_of_train(clips: pd.DataFrame, devices: Sequence[str]) -> pd.DataFrame:
    """Keep the train clips of some devices; the other splits stay.

    Parameters
    ----------
    clips
        Clip table, cut or not.
    devices
        Those to keep.

    Raises
    ------
    InputError
        If train has no clip of one of them.
    """
    train = clips["split"] == "train"
    there = sorted(set(clips.loc[train, "device"]))
    for device in devices:
        if device not in there:
            raise InputError(
                f"training.devices must be devices of the train clips ({', '.join(there)}), got {shown(device)}: name "
                "some of these"
            )
    return clips[~train | clips["device"].isin(list(devices))]
