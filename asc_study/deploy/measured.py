"""What a system of networks is measured by: the predictions of its networks, fused as the system fuses them."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from asc_study.base.taxonomy import label_column, task_of_classes
from asc_study.deploy.recipe import Recipe
from asc_study.deploy.runtime.fusion import FusionTree
from asc_study.ensemble.stack import pair, stack
from asc_study.evaluation.measure import LABELLED
from asc_study.evaluation.metrics import evaluate
from asc_study.evaluation.predictions import predictions_table
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord

#: What a fusion was fitted on -> the split whose labels it has seen.
_SEEN: Final = {"validation": "validation", "cross-fitted": "test"}


def system_tables(tracker: Reader, tree: FusionTree, networks: Mapping[str, RunRecord]) -> dict[str, pd.DataFrame]:
    """Predictions of a system for the labelled splits that all its networks have predicted.

    On the split whose labels its fusion was fitted on, the fusion in a bundle would be too good: there the predictions
    of the fusion's run stand, which are cross-fitted, of its networks before conversion.

    Parameters
    ----------
    tracker
        The store.
    tree
        The fusion.
    networks
        The run of each network by its key in the fusion, the converted one where it has one.

    Raises
    ------
    InputError
        If a table cannot be read, or they are of different clips.
    """
    by_key = {key: tracker.predictions(record.run_id) for key, record in networks.items()}
    shared = [split for split in LABELLED if all(split in tables for tables in by_key.values())]
    tables = {split: fused(tree, {key: known[split] for key, known in by_key.items()}) for split in shared}
    for seen in seen_splits(tree):
        tables.pop(seen, None)
        if (table := tracker.predictions(tree.top).get(seen)) is not None:
            tables[seen] = table
    return tables


def seen_splits(tree: FusionTree) -> set[str]:
    """The splits whose labels a fusion, or one inside of it, was fitted on."""
    return {_SEEN[fusion.basis] for fusion in tree.fusions.values() if fusion.basis in _SEEN}


def measured(
    tracker: Reader, recipe: Recipe, networks: Mapping[str, RunRecord], converted: int
) -> tuple[dict[str, float], str]:
    """Test metrics of a system and what they were measured on; none if its networks have not all been tested.

    Parameters
    ----------
    tracker, recipe
        The store, and what the system consists of.
    networks
        See `system_tables`.
    converted
        How many of them are converted.
    """
    if recipe.cross_fitted and recipe.run:  # what is in the bundle has seen the labels of the test clips
        known = {name: value for name, value in recipe.run.metrics.items() if name.startswith("test/")}
        return known, "float32 networks, cross-fitted: the fusion in the bundle is fitted on all test clips"
    tables = {key: tracker.predictions(record.run_id).get("test") for key, record in networks.items()}
    known_tables = {key: table for key, table in tables.items() if table is not None}
    if len(known_tables) < len(networks):
        return {}, ""
    on = {len(networks): "the networks as they are here", 0: "the float32 networks before conversion"}
    mixed = f"{converted} of {len(networks)} networks as they are here, the others before conversion"
    return evaluate(fused(recipe.tree, known_tables)), on.get(converted, mixed)


def fused(tree: FusionTree, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The predictions table of a fusion, from those of its networks by key, all of one split.

    Raises
    ------
    InputError
        If they are of different clips.
    """
    tasks = tree.networks()
    stacks = {
        task: stack({key: table for key, table in tables.items() if tasks[key] == task})
        for task in dict.fromkeys(tasks.values())
    }
    if len(stacks) > 1:
        fine, coarse = sorted(stacks, key=label_column)
        pair(stacks[fine], stacks[coarse])
    outputs = {key: found.probabilities[place] for found in stacks.values() for place, key in enumerate(found.names)}
    task = task_of_classes(tree.classes) or ""
    context = stacks[task].context
    probabilities = tree.apply(outputs, context["device"].tolist())
    return predictions_table(context.assign(scene_group=context["scene"]), probabilities, task)
