"""The space of a search: what it declares, what a point stands for, what is refused."""

import optuna
import pytest

from asc_study.base.errors import InputError
from asc_study.search.points import corners, grid_size, grid_values
from asc_study.search.space import describe, parse_space, point_of, settings_of, suggest

ALPHA = "batch_augmentation.mixup.alpha"
MIXUP = "batch_augmentation.mixup"
RATIO = "batch_augmentation.spec_augment.time_mask_ratio"


def parse(raw: dict):
    return parse_space(raw, where="s.yaml")


def fixed(space, **params):
    return suggest(space, optuna.trial.FixedTrial(params))


def test_a_point_becomes_settings():
    space = parse(
        {
            ALPHA: {"type": "float", "low": 0.1, "high": 2, "log": True},
            "training.epochs": {"type": "int", "low": 2, "high": 8, "step": 2},
            "architecture": {"type": "categorical", "choices": ["fcnn", "resnet"]},
        }
    )
    point = fixed(space, **{ALPHA: 0.4, "training.epochs": 6, "architecture": "resnet"})
    assert point == {ALPHA: 0.4, "training.epochs": 6, "architecture": "resnet"}
    assert settings_of(space, point) == point


def test_switches_are_stored_as_words_and_named_choices_by_their_name():
    space = parse(
        {
            MIXUP: {"type": "categorical", "choices": [None, {}]},
            "batch_augmentation.spec_augment": {
                "type": "categorical",
                "choices": {"off": None, "wide": {"time_mask_ratio": 0.3}},
            },
        }
    )
    assert optuna.distributions.CategoricalDistribution(["off", "on"]) == _distributions(space)[MIXUP]
    point = fixed(space, **{MIXUP: "on", "batch_augmentation.spec_augment": "wide"})
    assert settings_of(space, point) == {MIXUP: {}, "batch_augmentation.spec_augment": {"time_mask_ratio": 0.3}}
    point = fixed(space, **{MIXUP: "off", "batch_augmentation.spec_augment": "off"})
    assert settings_of(space, point) == {MIXUP: None, "batch_augmentation.spec_augment": None}


def _distributions(space) -> dict:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    suggest(space, trial)
    return trial.distributions


@pytest.mark.parametrize("wanted", ["on", True, {}, ["on"], [True, 5]])
def test_a_conditional_parameter_is_drawn_only_where_its_condition_holds(wanted):
    space = parse(
        {
            MIXUP: {"type": "categorical", "choices": {False: None, True: {}}},  # as YAML reads off and on
            ALPHA: {"type": "float", "low": 0.1, "high": 1.0, "when": {MIXUP: wanted}},
        }
    )
    assert fixed(space, **{MIXUP: "on", ALPHA: 0.3}) == {MIXUP: "on", ALPHA: 0.3}
    assert fixed(space, **{MIXUP: "off", ALPHA: 0.3}) == {MIXUP: "off"}


def test_steps_are_drawn_without_the_last_digits_of_binary_sums():
    space = parse(
        {
            RATIO: {"type": "float", "low": 0.0, "high": 0.4, "step": 0.1},
            ALPHA: {"type": "float", "low": 0.1, "high": 1.0, "when": {RATIO: 0.3}},
        }
    )
    assert 0.1 + 0.1 + 0.1 != 0.3
    assert fixed(space, **{RATIO: 0.1 + 0.1 + 0.1, ALPHA: 0.5}) == {RATIO: 0.3, ALPHA: 0.5}
    assert point_of(space, {RATIO: 0.1 + 0.1 + 0.1}) == {RATIO: 0.3}
    assert {point[RATIO] for point in corners(space)} == {0.0, 0.3, 0.4}


def test_a_free_name_sets_nothing_but_decides():
    space = parse(
        {
            "masks": {"type": "categorical", "choices": ["paper", "searched"]},
            RATIO: {"type": "float", "low": 0.0, "high": 0.5, "when": {"masks": "searched"}},
        }
    )
    assert settings_of(space, fixed(space, masks="searched", **{RATIO: 0.2})) == {RATIO: 0.2}
    assert settings_of(space, fixed(space, masks="paper")) == {}


def test_corners_reach_every_end_and_choice_also_under_conditions():
    space = parse(
        {
            "masks": {"type": "categorical", "choices": ["none", "some", "many"]},
            RATIO: {"type": "float", "low": 0.0, "high": 0.5, "when": {"masks": ["some", "many"]}},
            "training.epochs": {"type": "int", "low": 2, "high": 9, "step": 3},
        }
    )
    points = list(corners(space))
    assert {point["masks"] for point in points} == {"none", "some", "many"}
    assert {point[RATIO] for point in points if RATIO in point} == {0.0, 0.5}
    assert {point["training.epochs"] for point in points} == {2, 8}  # 9 is not a whole number of steps above 2
    assert all((RATIO in point) == (point["masks"] != "none") for point in points)
    assert len({str(point) for point in points}) == len(points)


def test_grid_lists_every_value():
    space = parse(
        {
            RATIO: {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
            "training.epochs": {"type": "int", "low": 2, "high": 6, "step": 2},
            MIXUP: {"type": "categorical", "choices": [None, {}]},
        }
    )
    values = grid_values(space, where="s.yaml")
    assert values == {RATIO: [0.0, 0.1, 0.2, 0.3], "training.epochs": [2, 4, 6], MIXUP: ["off", "on"]}
    assert grid_size(space, where="s.yaml") == 24


def test_equal_spaces_are_described_alike_whatever_is_written_out():
    short = parse({ALPHA: {"type": "float", "low": 0.1, "high": 2}})
    long = parse({ALPHA: {"type": "float", "low": 0.1, "high": 2.0, "log": False, "step": None, "when": {}}})
    assert describe(short) == describe(long)
    assert describe(short) != describe(parse({ALPHA: {"type": "float", "low": 0.1, "high": 2, "log": True}}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {RATIO: {"type": "float", "low": 0.0, "high": 0.4, "step": 1e-9}},
            "`step` must leave at most 1,000,000 values",
        ),
        (
            {
                "batch_augmentation.spec_augment": {"type": "categorical", "choices": [None, {}]},
                RATIO: {"type": "float", "low": 0.0, "high": 0.4},
            },
            r"`space\..*time_mask_ratio` would be drawn where 'batch_augmentation.spec_augment' is 'off'",
        ),
        (
            {
                RATIO: {"type": "float", "low": 0.0, "high": 0.4},
                "batch_augmentation.spec_augment": {"type": "categorical", "choices": [None, {}]},
            },
            "is inside 'batch_augmentation.spec_augment': declare it below",
        ),
        (
            {
                "model": {"type": "categorical", "choices": {"a": {"dropout": 0.1}, "b": {"width": 0.5}}},
                "model.dropout": {"type": "float", "low": 0.0, "high": 0.4},
            },
            "`space.model.dropout` would be drawn where 'model' is 'a', which leaves no place for it",
        ),
        (
            {"training": {"type": "categorical", "choices": {"a": {"threads": 1}, "b": {"threads": 2}}}},
            "'training.threads' cannot be searched",
        ),
        ({"training.epochs": {"type": "categorical", "choices": [1, 1.0]}}, "choices must differ, got 1 2 times"),
        (
            {
                RATIO: {"type": "float", "low": 0.0, "high": 0.4, "step": 0.2},
                ALPHA: {"type": "float", "low": 0.1, "high": 1.0, "when": {RATIO: 0.3}},
            },
            "is never true, got 0.3",
        ),
        ({}, r"`space` must name at least one parameter"),
        ({ALPHA: {"low": 0, "high": 1}}, r"`space\.batch_augmentation\.mixup\.alpha\.type` must be float, int or"),
        ({ALPHA: {"type": "float", "low": 0.4, "high": 0.4}}, r"`low` must be below `high`, got 0\.4 and 0\.4"),
        (
            {ALPHA: {"type": "float", "low": 0, "high": 1, "log": True}},
            r"`low` must be above 0 with `log: true`, got 0",
        ),
        ({ALPHA: {"type": "float", "low": 1, "high": 2, "log": True, "step": 0.1}}, r"`step` and `log` exclude"),
        ({ALPHA: {"type": "float", "low": 0, "high": 1, "step": 2}}, r"`step` must fit between"),
        ({ALPHA: {"type": "float", "low": 0, "hihg": 1}}, r"unknown key .*hihg'.*did you mean 'high'"),
        (
            {"training.epochs": {"type": "int", "low": 1.5, "high": 3}},
            r"`space\.training\.epochs\.low` must be a whole",
        ),
        ({MIXUP: {"type": "categorical", "choices": []}}, r"choices"),
        ({MIXUP: {"type": "categorical", "choices": [{"alpha": 1}]}}, r"choices must be named"),
        ({MIXUP: {"type": "categorical", "choices": [None, None]}}, r"choices must differ, got 'off' 2 times"),
        ({"trainig.epochs": {"type": "int", "low": 1, "high": 3}}, r"unknown key 'trainig\.epochs'.*'training'"),
        ({"training.threads": {"type": "int", "low": 1, "high": 3}}, r"'training\.threads' cannot be searched"),
        ({"validation.share": {"type": "float", "low": 0.1, "high": 0.3}}, r"'validation\.share' cannot be searched"),
        ({ALPHA: {"type": "float", "low": 0, "high": 1, "when": {"x": 1}}}, r"declared above it, got 'x'"),
        (
            {
                "x": {"type": "categorical", "choices": ["a", "b"]},
                ALPHA: {"type": "float", "low": 0, "high": 1, "when": {"x": "c"}},
            },
            r"when\.x` is never true, got 'c'",
        ),
    ],
)
def test_bad_spaces_are_one_line(raw, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(raw)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("s.yaml: ")


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"type": "float", "low": 0.1, "high": 1}, "needs a `step` without `log`"),
        ({"type": "float", "low": 0.1, "high": 1, "step": 0.1, "when": {MIXUP: "on"}}, "without conditions"),
    ],
)
def test_a_grid_needs_finite_unconditional_parameters(parameter, message):
    space = parse({MIXUP: {"type": "categorical", "choices": {"on": {}, "off": {"alpha": 1.0}}}, RATIO: parameter})
    with pytest.raises(InputError, match=message):
        grid_size(space, where="s.yaml")
