"""What systems decide on each clip: confusions, the clips behind one of them, and clips that nobody gets right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from asc_study.evaluation.metrics import confusion, labels_of
from asc_study.evaluation.paired import Difference, Panel, aligned
from asc_study.evaluation.predictions import classes_of

Seeds = Sequence[pd.DataFrame]


@dataclass(frozen=True)
class Confusion:
    """How often clips of a scene are taken for another, or for itself.

    Attributes
    ----------
    true, decided
        The scene, and what it is taken for.
    share, low, high
        In per cent of the scene's clips, mean over seeds, with its 95 % interval over locations; None where all clips
        are of one location.
    clips, locations
        Of the scene.
    change
        Against a reference, as a share in [0, 1].
    """

    true: str
    decided: str
    share: float
    low: float | None
    high: float | None
    clips: int
    locations: int
    change: Difference | None = None


def of_devices(seeds: Seeds, devices: Sequence[str]) -> list[pd.DataFrame]:
    """The predictions of the clips of some devices."""
    return [table[table["device"].isin(devices)] for table in seeds]


def confusion_shares(seeds: Seeds) -> pd.DataFrame:
    """Confusion matrix in per cent of the clips of each true class, mean over seeds.

    Parameters
    ----------
    seeds
        Predictions of one split, a table a seed, all of the same clips.

    Returns
    -------
    DataFrame
        True classes as rows, decisions as columns; NaN where a class has no clip.
    """
    counts = sum((confusion(table) for table in seeds[1:]), confusion(seeds[0]))
    sums = counts.sum(axis=1)
    return 100 * counts.div(sums.where(sums > 0), axis=0)


def most_frequent(shares: pd.DataFrame) -> tuple[str, str] | None:
    """The true class and the decision of the highest share of wrong decisions; None if every clip is right."""
    wrong = shares.to_numpy(float, copy=True)
    np.fill_diagonal(wrong, np.nan)
    return _place(shares, np.nan_to_num(wrong))


def most_changed(change: pd.DataFrame) -> tuple[str, str] | None:
    """The true class and the decision whose share differs most, up or down; None if none does."""
    return _place(change, np.abs(np.nan_to_num(change.to_numpy(float))))


def _place(table: pd.DataFrame, values: npt.NDArray[np.float64]) -> tuple[str, str] | None:
    if not values.max() > 0:
        return None
    row, column = divmod(int(values.argmax()), values.shape[1])
    return str(table.index[row]), str(table.columns[column])


def measure_confusion(seeds: Seeds, true: str, decided: str, against: Seeds = ()) -> Confusion:
    """How often one system takes a scene for another, and what changes against a reference.

    Parameters
    ----------
    seeds, against
        Predictions of the system, and of the reference if there is one, all of the same clips.
    true, decided
        Two of the classes; the true one must have clips.

    Raises
    ------
    InputError
        If the tables are not of the same clips.
    """
    tables = aligned([*seeds, *against])
    _, chosen = _decided(tables)
    so = chosen == classes_of(tables[0]).index(decided)
    mask = tables[0]["scene"].to_numpy(str) == true
    panel = Panel(tables[0], more={"confusion": mask})
    nothing = np.zeros(so.shape)
    own = panel.sums(so[: len(seeds)], nothing[: len(seeds)])
    share, low, high = panel.mean(own, "confusion")
    change = None
    if against:
        change = panel.difference(panel.sums(so[len(seeds) :], nothing[len(seeds) :]), own, "confusion")
    clips, locations = int(mask.sum()), panel.locations("confusion")
    return Confusion(true, decided, 100 * share, _percent(low), _percent(high), clips, locations, change)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def confused_clips(seeds: Seeds, true: str, decided: str, against: Seeds = ()) -> pd.DataFrame:
    """The clips of a scene that at least one seed of a system takes for another, the surest first.

    Parameters
    ----------
    seeds, true, decided, against
        As of `measure_confusion`.

    Returns
    -------
    DataFrame
        ``clip_id``, ``scene``, ``decided``, ``device``, ``location`` (with its city), ``seeds`` (that decide so),
        ``p_true`` and ``p_decided`` (per cent, mean over seeds); of the reference ``other_decided`` (what most of its
        seeds decide), ``other_p_true``, ``other_p_decided``.

    Raises
    ------
    InputError
        If the tables are not of the same clips.
    """
    tables = aligned([*seeds, *against])
    probabilities, chosen = _decided(tables)
    classes, own = classes_of(tables[0]), slice(len(seeds))
    places = {"p_true": classes.index(true), "p_decided": classes.index(decided)}
    found = _context(tables[0]).assign(decided=decided, seeds=(chosen[own] == places["p_decided"]).sum(axis=0))
    found = found[["clip_id", "scene", "decided", "device", "location", "seeds"]]
    mean = 100 * probabilities[own].mean(axis=0)
    found = found.assign(**{name: mean[:, place] for name, place in places.items()})
    if against:
        other = slice(len(seeds), None)
        mean = 100 * probabilities[other].mean(axis=0)
        found["other_decided"] = np.asarray(classes)[_mode(chosen[other], len(classes))]
        found = found.assign(**{f"other_{name}": mean[:, place] for name, place in places.items()})
    found = found[(found["scene"] == true) & (found["seeds"] > 0)]
    return found.sort_values(["p_decided", "clip_id"], ascending=[False, True], ignore_index=True)


def hardest_clips(systems: Mapping[str, Seeds]) -> pd.DataFrame:
    """Every clip with what all systems make of it, those first that the fewest runs get right, then by its probability.

    Parameters
    ----------
    systems
        Name -> predictions of one split, a table a seed, all of the same clips.

    Returns
    -------
    DataFrame
        ``clip_id``, ``scene``, ``device``, ``location``, ``p_true`` (per cent: mean over the seeds of a system, then
        over systems), ``right`` (runs that decide right), ``runs``, ``decided`` (what most runs decide).

    Raises
    ------
    InputError
        If the tables are not of the same clips.
    """
    tables = aligned([table for seeds in systems.values() for table in seeds])
    probabilities, chosen = _decided(tables)
    classes = classes_of(tables[0])
    label = labels_of(tables[0], classes)
    true = probabilities[:, np.arange(len(label)), label]
    weight = np.concatenate([np.full(len(seeds), 1 / len(seeds)) for seeds in systems.values()]) / len(systems)
    found = _context(tables[0]).assign(
        p_true=100 * weight @ true,
        right=(chosen == label).sum(axis=0),
        runs=len(tables),
        decided=np.asarray(classes)[_mode(chosen, len(classes))],
    )
    return found.sort_values(["right", "p_true", "clip_id"], ignore_index=True)


def _decided(tables: Seeds) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int_]]:
    """The probabilities (tables, clips, classes) and the decisions (tables, clips) of tables that are aligned."""
    classes = list(classes_of(tables[0]))
    probabilities = np.stack([table[classes].to_numpy(np.float64) for table in tables])
    return probabilities, probabilities.argmax(axis=2)


def _context(table: pd.DataFrame) -> pd.DataFrame:
    place = table["city"].astype(str) + "-" + table["location"].astype(str)
    context = table[["clip_id", "scene", "device"]].astype(str)
    return context.assign(location=place).reset_index(drop=True)


def _mode(chosen: npt.NDArray[np.int_], classes: int) -> npt.NDArray[np.int_]:
    """What most tables decide on each clip, the first class on a tie: (tables, clips) -> (clips,)."""
    votes = np.stack([(chosen == place).sum(axis=0) for place in range(classes)])
    most: npt.NDArray[np.int_] = votes.argmax(axis=0)
    return most
