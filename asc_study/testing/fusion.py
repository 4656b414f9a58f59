"""The contract of a fusion rule, checked on made predictions."""

import json
from dataclasses import FrozenInstanceError, is_dataclass, replace

import numpy as np
import pandas as pd

from asc_study.base.errors import InputError
from asc_study.base.taxonomy import SCENE_GROUPS
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.crossfit import cross_fit
from asc_study.ensemble.fuse import read_rule
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.stack import Stack
from asc_study.testing.rules import require

#: How far what is written down, read back and applied may be from what was fitted.
TOLERANCE = 1e-12

_CLIPS, _LOCATIONS = 120, 10


def check_fusion(rule: type[FusionRule]) -> None:
    """Check that a fusion rule keeps its contract; needs no predictions of anybody.

    Parameters
    ----------
    rule
        The class, at the top level of a module, where ``fusion.json`` finds it again.

    Raises
    ------
    AssertionError
        At the first rule that it breaks: the rule, what it has, what to do.
    """
    good = isinstance(rule, type) and issubclass(rule, FusionRule)
    require(good, f"a fusion rule must be a subclass of FusionRule, got {rule!r:.80}")
    sample = example_stack(3)
    fitted = rule.fit(sample)
    _check_fitted(rule, fitted, sample)
    _check_output(fitted, sample, "of three systems")
    one = example_stack(1)
    _check_output(rule.fit(one), one, "of a single system")
    _check_clips_apart(fitted, sample)
    _check_written(rule, fitted, sample)
    _check_labels(rule, fitted, sample)


def example_stack(systems: int) -> Stack:
    """Make the outputs of three-class systems for clips of ten locations, each of which has all classes.

    The last clips are such as trained systems give too: sure to the last bit, and contradicting each other.
    """
    clip = np.arange(_CLIPS)
    label = clip % len(SCENE_GROUPS)
    context = pd.DataFrame(
        {
            "clip_id": [f"clip{number:03d}" for number in clip],
            "scene": [SCENE_GROUPS[column] for column in label],
            "device": "a",
            "city": "oslo",
            "location": [str(number // len(SCENE_GROUPS) % _LOCATIONS) for number in clip],
            "split": "validation",
        }
    )
    logits = np.random.default_rng(0).normal(size=(systems, _CLIPS, len(SCENE_GROUPS)))
    logits[:, clip, label] += np.linspace(0.5, 1.5, systems)[:, np.newaxis]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for system in range(systems):
        probabilities[system, -2:] = np.eye(len(SCENE_GROUPS))[system % len(SCENE_GROUPS)]
    return Stack(tuple(f"system {number}" for number in range(systems)), context, SCENE_GROUPS, probabilities)


def _check_fitted(rule: type[FusionRule], fitted: FusionRule, sample: Stack) -> None:
    require(isinstance(fitted, rule), f"`fit` must return an instance of its class, got {fitted!r:.80}")
    require(
        fitted.systems == sample.names,
        f"`fit` must keep the systems of its sample in their order, {sample.names}, got {fitted.systems!r}",
    )
    require(is_dataclass(rule) and "__dataclass_fields__" in vars(rule), "a fusion rule must be a dataclass itself")
    try:
        fitted.systems = fitted.systems  # type: ignore[misc]
    except FrozenInstanceError:
        pass
    else:
        raise AssertionError("a fusion rule must be frozen: write @dataclass(frozen=True)")
    again = rule.fit(sample)
    require(again == fitted, f"`fit` must give the same for the same clips, got {fitted!r:.80} and {again!r:.80}")
    try:
        json.dumps(dict(fitted.learned), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"`learned` must be a mapping in the types of JSON, got {error}") from None


def _check_output(fitted: FusionRule, sample: Stack, which: str) -> None:
    given = sample.probabilities.copy()
    output = fitted.combine(sample)
    require(np.array_equal(given, sample.probabilities), f"`apply` must leave the outputs {which} as they are")
    expected = sample.probabilities.shape[1:]
    require(
        isinstance(output, np.ndarray) and output.shape == expected,
        f"the output {which} must be an array (clips, classes) = {expected}, got {np.shape(output)}",
    )
    require(bool(np.isfinite(output).all()), f"the output {which} must be finite, also where systems contradict")
    require(bool((output >= 0).all()), f"the output {which} must be at least 0, got {output.min():g}")
    off = float(abs(output.sum(axis=1) - 1).max())
    require(off < 1e-9, f"rows of the output {which} must sum to 1, got one that is off by {off:.3g}: divide by it")


def _check_clips_apart(fitted: FusionRule, sample: Stack) -> None:
    output = fitted.apply(sample.probabilities)
    order = np.random.default_rng(1).permutation(_CLIPS)
    shuffled = fitted.apply(sample.probabilities[:, order])
    require(_near(shuffled, output[order]), "clips in another order must give the same output in that order")
    alone = fitted.apply(sample.probabilities[:, :1])
    require(_near(alone, output[:1]), "the output of a clip must not depend on the clips beside it: learn in `fit`")


def _check_written(rule: type[FusionRule], fitted: FusionRule, sample: Stack) -> None:
    try:
        text = json.dumps(fitted.to_dict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"`to_dict` must be in the types of JSON, without NaN, got {error}: keep text, numbers and tuples of them"
        ) from None
    try:
        read = read_rule(json.loads(text), "fusion")
    except (InputError, TypeError) as error:
        raise AssertionError(f"what `to_dict` gives must be read back, got: {error}") from None
    require(type(read) is rule, f"its `name` must stand for it, {rule.name!r} stands for {type(read).__name__}")
    require(read == fitted, "what is read back must be equal to what was written: are all fields of fixed types?")
    off = float(abs(read.combine(sample) - fitted.combine(sample)).max())
    require(off <= TOLERANCE, f"what is read back must give the same output to {TOLERANCE:g}, it is off by {off:.3g}")


def _check_labels(rule: type[FusionRule], fitted: FusionRule, sample: Stack) -> None:
    here = (sample.context["location"] == "4").to_numpy()
    scenes = sample.context["scene"].to_numpy(copy=True)
    scenes[here] = np.roll(scenes[here], 1)
    changed = replace(sample, context=sample.context.assign(scene=scenes))
    if not rule.learns:
        require(
            rule.fit(changed) == fitted == rule.fit(replace(sample, context=sample.context.assign(scene=""))),
            "a rule that looks at labels must say so: set `learns = True`",
        )
        return
    before, after = (_fitted_twice(rule, each) for each in (sample, changed))
    require(
        np.array_equal(before[here], after[here]),
        "cross-fitted, labels of a location must not reach its own output: keep nothing between calls of `fit`",
    )
    require(
        not np.array_equal(before[~here], after[~here]),
        "labels must have an influence on the output of other locations: set `learns = False` if they have none",
    )


def _fitted_twice(rule: type[FusionRule], sample: Stack) -> Probabilities:
    """The cross-fitted output, after a fit on all clips, as `asc_study.ensemble.crossfit.fuse_splits` makes them."""
    rule.fit(sample)
    return cross_fit(rule, sample)


def _near(one: Probabilities, other: Probabilities) -> bool:
    return one.shape == other.shape and bool((abs(one - other) <= TOLERANCE).all())
