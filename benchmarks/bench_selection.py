"""Ways to choose members compared: what each chooses on validation, measured on test.

python benchmarks/bench_selection.py                        made systems on lists of the size of TAU Urban 2020 Mobile
python benchmarks/bench_selection.py --lists DIR            the same on DIR/fold1_train.csv and DIR/fold1_evaluate.csv
python benchmarks/bench_selection.py --study STUDY ...      finished runs of the store at hand, each seed for itself
python benchmarks/bench_selection.py --cross-fitted         members chosen without validation, as of imported systems

A table a set of candidates: test accuracy, its mean over devices, log loss and number of members, means over the seeds;
then the difference of selection by overlap to each other method with the 95 % interval of a bootstrap that draws seeds
and locations, paired in both: all methods choose among the same candidates. Selection by overlap of *decisions* alone
is shown beside, as it is what the method is not. Of made systems a last table has the differences over all kinds.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from asc_study.base.taxonomy import DEVICES, SCENES
from asc_study.base.text_table import text_table
from asc_study.ensemble.crossfit import fuse_splits
from asc_study.ensemble.select import METHODS, SelectionRule, select
from asc_study.ensemble.stack import Stack
from asc_study.evaluation.bootstrap import LocationDraws, interval
from asc_study.evaluation.metrics import evaluate, places_of
from asc_study.evaluation.paired import aligned, decisions

#: Draws of an interval.
RESAMPLES = 2000

#: Kinds of made candidates: (families, shared within a family, own, skills, sharpness) of each system. What all
#: systems find hard, what a family shares and what is a system's own are normal errors of the scores, by clip and by
#: location; each system loses skill on devices that are not A, most on the unseen ones.
KINDS: Mapping[str, Sequence[tuple[int, float, float, float, float]]] = {
    "equals": [(i, 0.0, 0.8, 2.6, 1.5) for i in range(10)],
    "families": [(i // 4, 0.8, 0.35, 2.6, 1.5) for i in range(12)],
    "clones": [(0, 0.8, 0.15, 2.8, 1.5) if i < 8 else (i, 0.8, 0.15, 2.5, 1.5) for i in range(12)],
    "weak ones": [(i, 0.0, 0.8, 2.7 if i < 5 else 1.0, 1.5) for i in range(12)],
    "chance": [(i, 0.0, 0.8, 2.7, 1.5) if i < 5 else (i, 0.0, 0.8, 0.1, 0.5) for i in range(12)],
    "uneven": [(i // 2, 0.5, 0.6, 2.0 + 0.08 * i, 1.5) for i in range(12)],
    "too sure": [(i // 3, 0.6, 0.5, 2.6, (0.7, 3.0, 6.0)[i % 3]) for i in range(12)],
    "one good": [(i, 0.0, 0.8, 3.4 if i == 0 else 2.0, 1.5) for i in range(10)],
}


def made_lists(share: float) -> dict[str, pd.DataFrame]:
    """Validation and test clips: three quarters of validation are from device A, test holds all devices equally."""

    def clips(split: str, locations: int, segments: int, devices: Sequence[str]) -> pd.DataFrame:
        rows = [
            (f"{scene}-{split}{place}-{segment}-{device}", scene, device, "made", f"{scene}{split}{place}", split)
            for scene in SCENES
            for place in range(locations)
            for segment in range(segments)
            for device in (devices if split == "test" or segment % 15 == 0 else devices[:1])
        ]
        return pd.DataFrame(rows, columns=["clip_id", "scene", "device", "city", "location", "split"])

    return {
        "validation": clips("validation", max(1, round(40 * share)), 25, DEVICES[:6]),
        "test": clips("test", 16, 2, DEVICES),
    }


def read_lists(folder: Path, rng: np.random.Generator, share: float) -> dict[str, pd.DataFrame]:
    """Test clips of the lists of a data set, and the share of the training locations as validation."""
    lists = {}
    for split, name in (("validation", "fold1_train.csv"), ("test", "fold1_evaluate.csv")):
        listed = pd.read_csv(folder / name, sep="\t")
        stems = listed["filename"].map(lambda path: Path(path).stem)
        parts = stems.str.split("-", expand=True)
        lists[split] = pd.DataFrame(
            {"clip_id": stems, "scene": listed["scene_label"], "device": parts[4], "city": parts[1]}
        ).assign(location=parts[2], split=split)
    place = places_of(lists["validation"])
    kept = rng.choice(place.max() + 1, max(10, round(share * (place.max() + 1))), replace=False)
    lists["validation"] = lists["validation"][np.isin(place, kept)].reset_index(drop=True)
    return lists


def made_systems(kind: str, lists: Mapping[str, pd.DataFrame], rng: np.random.Generator) -> dict[str, Stack]:
    """Outputs of the systems of a kind on each split."""
    systems = [(*system[:3], system[3] + 0.15 * rng.normal(), system[4]) for system in KINDS[kind]]
    of_device = 0.6 * (1 + 0.3 * rng.normal(size=(len(systems), len(DEVICES)))) * np.repeat([0, 0.5, 1], [1, 5, 3])
    stacks = {}
    for split, context in lists.items():
        label = context["scene"].map({scene: i for i, scene in enumerate(SCENES)}).to_numpy()
        device = context["device"].map({name: i for i, name in enumerate(DEVICES)}).to_numpy()
        place = places_of(context)

        def errors(by_clip: float, by_location: float, place: np.ndarray = place) -> np.ndarray:
            locations = rng.normal(size=(place.max() + 1, len(SCENES)))
            return by_clip * rng.normal(size=(len(place), len(SCENES))) + by_location * locations[place]

        common = errors(0.6, 0.5)
        families = {family: errors(1.0, 0.5) for family, *_ in systems}
        outputs = []
        for (family, shared, own, skill, sharpness), loss in zip(systems, of_device, strict=True):
            logits = common + shared * families[family] + own * errors(1.0, 0.5)
            logits[np.arange(len(label)), label] += skill - loss[device]
            scaled = np.exp(sharpness * (logits - logits.max(axis=1, keepdims=True)))
            outputs.append(scaled / scaled.sum(axis=1, keepdims=True))
        ordered = np.argsort(context["clip_id"].to_numpy(str))
        names = tuple(f"system{i:02d}" for i in range(len(systems)))
        context = context.iloc[ordered].reset_index(drop=True)
        stacks[split] = Stack(names, context, SCENES, np.stack(outputs)[:, ordered])
    return stacks


def stored_systems(study: str) -> Iterator[dict[str, Stack]]:
    """The trained and imported ten-class systems of a study, one set a seed."""
    from asc_study.store.tracking import Tracker
    from asc_study.systems.ensembles import gather_candidates
    from asc_study.systems.members import stacks

    members, _ = gather_candidates(Tracker(), study)
    for seed in sorted({member.record.seed for member in members}):
        yield stacks([member for member in members if member.record.seed == seed])[0]


def chosen_by(method: str, sample: Stack, max_members: int) -> dict[str, float]:
    """The weights that a method gives; ``decisions`` adds what decides least like the members."""
    if method != "decisions":
        return select(sample, method=method, max_members=max_members).weights()
    members = [select(sample, max_members=1).path[0].added]
    decided = dict(zip(sample.names, sample.probabilities.argmax(axis=-1), strict=True))
    while len(members) < min(max_members, len(sample.names)):
        rest = [name for name in sample.names if name not in members]
        members.append(min(rest, key=lambda name: np.mean([(decided[name] == decided[m]).mean() for m in members])))
    return dict.fromkeys(members, 1 / len(members))


def outcome(method: str, stacks: Mapping[str, Stack], max_members: int, cross_fitted: bool) -> tuple[pd.DataFrame, int]:
    """The test table of what a method chooses, and how many members it has (cross-fitted: chosen on all clips)."""
    test = stacks["test"]
    if cross_fitted:
        rule = SelectionRule({"method": method, "max_members": max_members})
        fused = fuse_splits(rule, {"test": test})
        return fused.tables["test"], len(fused.fitted.learned["weights"])
    weights = chosen_by(method, stacks["validation"], max_members)
    mean = sum(weight * test.probabilities[test.names.index(name)] for name, weight in weights.items())
    outputs = pd.DataFrame(mean, columns=list(test.classes)).astype(np.float32)
    return pd.concat([test.context, outputs], axis=1), len(weights)


def leads(over: Sequence[pd.DataFrame], other: Sequence[pd.DataFrame]) -> np.ndarray:
    """Points that the mean accuracy of tables is above that of others, (1 + draws,): as it is, then by draw.

    The tables at one place are of one seed; seeds are drawn, and of each the same locations.
    """
    tables = aligned([*over, *other])
    right = decisions(tables)[0].astype(np.float64)
    lead = 100 * (right[: len(over)] - right[len(over) :])
    draws = LocationDraws.resampled(places_of(tables[0]), RESAMPLES, seed=0)
    seeds = np.random.default_rng(1).multinomial(len(over), np.full(len(over), 1 / len(over)), size=RESAMPLES)
    by_draw = draws.sums(lead).T / draws.sums(np.ones(lead.shape[1]))[:, None]
    return np.concatenate([[lead.mean()], (seeds * by_draw).sum(axis=1) / len(over)])


def shown(lead: np.ndarray) -> str:
    """A lead with its interval."""
    low, high = interval(lead[1:])
    return f"{lead[0]:+.1f} [{low:+.1f}, {high:+.1f}]"


def report(
    title: str, sets: Sequence[Mapping[str, Stack]], max_members: int, cross_fitted: bool
) -> dict[str, np.ndarray]:
    """Print the table of one kind of candidates; gives the leads of selection by overlap."""
    methods = [*METHODS] if cross_fitted else [*METHODS, "decisions"]
    tables: dict[str, list[pd.DataFrame]] = {method: [] for method in methods}
    lines = [["Method", "Test acc.", "Mean over devices", "Log loss", "Members", "Overlap minus it [95 %]"]]
    sizes: dict[str, list[int]] = {method: [] for method in methods}
    for stacks in sets:
        for method in methods:
            table, members = outcome(method, stacks, max_members, cross_fitted)
            tables[method].append(table)
            sizes[method].append(members)
    found = {method: leads(tables["overlap"], tables[method]) for method in methods if method != "overlap"}
    for method in methods:
        mean = pd.DataFrame([evaluate(table, intervals=False) for table in tables[method]]).mean()
        cells = [f"{100 * mean[f'test/{name}']:.1f}" for name in ("acc_avg", "acc_device_macro")]
        against = shown(found[method]) if method in found else ""
        lines.append([method, *cells, f"{mean['test/log_loss']:.3f}", f"{np.mean(sizes[method]):.1f}", against])
    sample = sets[0]["test" if cross_fitted else "validation"]
    decided = f"{len(sample.context)} clips of {len(np.unique(places_of(sample.context)))} locations decide"
    print(f"\n{title}: {len(sample.names)} candidates, {len(sets)} seeds, {decided}, at most {max_members} members")
    print(text_table(lines, left=(0,)), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=Path, metavar="DIR")
    parser.add_argument("--study", nargs="+", default=[], metavar="STUDY")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.15, help="of the training locations that decide")
    parser.add_argument("--max-members", type=int, default=5)
    parser.add_argument("--cross-fitted", action="store_true")
    options = parser.parse_args()
    for study in options.study:
        report(study, list(stored_systems(study)), options.max_members, options.cross_fitted)
    of_kind = []
    for number, kind in enumerate([] if options.study else KINDS):
        sets = []
        for seed in range(options.seeds):
            rng = np.random.default_rng([seed, number])
            lists = read_lists(options.lists, rng, options.share) if options.lists else made_lists(options.share)
            sets.append(made_systems(kind, lists, rng))
        of_kind.append(report(kind, sets, options.max_members, options.cross_fitted))
    if of_kind:
        rows = [[method, shown(np.mean([found[method] for found in of_kind], axis=0))] for method in of_kind[0]]
        print("\nall kinds\n" + text_table([["Method", "Overlap minus it [95 %]"], *rows], left=(0,)))


if __name__ == "__main__":
    main()
