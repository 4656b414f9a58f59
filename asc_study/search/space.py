"""Search spaces: what a search file declares under ``space``, and the settings that a point of it stands for.

A *point* is what Optuna draws and stores: a number, or for a categorical parameter the label of a choice. A parameter's
name is a dotted key of the settings, or a free name that only other parameters' conditions (``when``) refer to.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, did_you_mean, validate
from asc_study.settings.run_config import RunConfig, flatten

if TYPE_CHECKING:
    import optuna

#: Parameter name -> number, or label of a choice.
Point = dict[str, Any]

#: What cannot be searched, with the reason.
_FIXED: Final[Mapping[str, str]] = {
    "validation": "every trial must be measured on the same clips",
    "task": "every trial must be measured on the same task",
    "training.threads": "a process keeps the thread count that it starts with",
    "training.clip_fraction": "it belongs to `fidelity`",
    "training.data": "without a validation split nothing can be chosen",
}


_MOST_STEPS: Final = 1_000_000


class _Parameter(Strict):
    when: dict[str, Any] = {}


class FloatParameter(_Parameter):
    """A real number in [``low``, ``high``], in multiples of ``step`` above ``low`` if given, even in log if ``log``."""

    type: Literal["float"] = "float"
    low: float
    high: float
    step: float | None = Field(None, gt=0)
    log: bool = False


class IntParameter(_Parameter):
    """A whole number in [``low``, ``high``]."""

    type: Literal["int"] = "int"
    low: int
    high: int
    step: int = Field(1, ge=1)
    log: bool = False


class CategoricalParameter(_Parameter):
    """One of several settings: plain values, or a mapping of labels to settings of any form.

    In a list, null is labelled ``off`` and an empty mapping ``on``: ``[null, {}]`` switches an augmentation.
    """

    type: Literal["categorical"] = "categorical"
    choices: list[Any] | dict[Any, Any] = Field(min_length=1)

    def labelled(self) -> dict[Any, Any]:
        """Label -> setting, in the order of the file."""
        if isinstance(self.choices, dict):
            return {_word(label): value for label, value in self.choices.items()}
        return {_label(value): value for value in self.choices}


Parameter = FloatParameter | IntParameter | CategoricalParameter
Space = Mapping[str, Parameter]

#: Name -> parameter, of every type of a space.
TYPES: Final[Mapping[str, type[Parameter]]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}


def parse_space(raw: Mapping[str, Mapping[str, Any]], *, where: str) -> Space:
    """Read the ``space`` of a search file.

    Raises
    ------
    InputError
        One line: file, parameter, rule, value received and remedy.
    """
    if not raw:
        raise InputError(f"{where}: `space` must name at least one parameter, got none: add a key to search")
    space: dict[str, Parameter] = {}
    for name, settings in raw.items():
        _require_free(name, where)
        kind = settings.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            raise InputError(
                f"{where}: `space.{name}.type` must be float, int or categorical, got {shown(kind)}: name one"
            )
        parameter = validate(TYPES[kind], dict(settings), where=where, path=f"space.{name}")
        _check_values(parameter, f"{where}: `space.{name}`")
        if isinstance(parameter, CategoricalParameter):
            for setting in parameter.labelled().values():
                for key in flatten({name: setting} if isinstance(setting, Mapping) else {}):
                    _require_free(key, where)
        _check_conditions(name, parameter, space, where)
        _check_parents(name, parameter, space, where)
        space[name] = parameter
    _check_names(space, where)
    return space


def is_setting(name: str) -> bool:
    """Whether a parameter is a key of the settings, not a free name."""
    return name.partition(".")[0] in RunConfig.model_fields


def suggest(space: Space, trial: "optuna.trial.BaseTrial") -> Point:
    """Draw a point: every parameter whose conditions hold, in the order of the file."""
    point: Point = {}
    for name, parameter in space.items():
        if not applies(parameter, point, space):
            continue
        if isinstance(parameter, CategoricalParameter):
            point[name] = trial.suggest_categorical(name, list(parameter.labelled()))
        elif isinstance(parameter, IntParameter):
            high = highest(parameter)
            point[name] = trial.suggest_int(name, parameter.low, high, step=parameter.step, log=parameter.log)
        else:
            high = highest(parameter)
            drawn = trial.suggest_float(name, parameter.low, high, step=parameter.step, log=parameter.log)
            point[name] = tidied(parameter, drawn)
    return point


def point_of(space: Space, params: Mapping[str, Any]) -> Point:
    """The point of the values that Optuna stored."""
    return {name: tidied(space[name], value) for name, value in params.items()}


def highest(parameter: "FloatParameter | IntParameter") -> Any:
    """The highest value that is drawn: the last whole step."""
    if parameter.step is None or parameter.log:
        return parameter.high
    steps = math.floor((parameter.high - parameter.low) / parameter.step + 1e-9)
    return tidied(parameter, parameter.low + steps * parameter.step)


def tidied(parameter: Parameter, value: Any) -> Any:
    """A value without the last digits of binary sums of steps, such as those of 0.30000000000000004."""
    return round(value, 12) if isinstance(parameter, FloatParameter) and parameter.step is not None else value


def settings_of(space: Space, point: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a point stands for, by dotted key; free names set nothing."""
    settings = {}
    for name, value in point.items():
        if is_setting(name):
            parameter = space[name]
            settings[name] = parameter.labelled()[value] if isinstance(parameter, CategoricalParameter) else value
    return settings


def describe(space: Space) -> dict[str, Any]:
    """The space in the types of JSON, every default written out: equal for equal spaces."""
    described = {}
    for name, parameter in space.items():
        settings = parameter.model_dump()
        if isinstance(parameter, CategoricalParameter):
            settings["choices"] = [[label, value] for label, value in parameter.labelled().items()]
        described[name] = settings
    return described


def _word(label: Any) -> str:
    # YAML reads the words on and off as true and false.
    return {True: "on", False: "off"}[label] if isinstance(label, bool) else str(label)


def _label(value: Any) -> Any:
    if value is None:
        return "off"
    return "on" if value == {} and isinstance(value, Mapping) else value


def _require_free(name: str, where: str) -> None:
    for fixed, reason in _FIXED.items():
        if name == fixed or name.startswith(f"{fixed}."):
            raise InputError(f"{where}: {shown(name)} cannot be searched: {reason}; set it in `base`, or remove it")


def _check_values(parameter: Parameter, what: str) -> None:
    if isinstance(parameter, CategoricalParameter):
        for value in parameter.choices if isinstance(parameter.choices, list) else ():
            if isinstance(value, list) or (isinstance(value, Mapping) and value):
                raise InputError(
                    f"{what}: choices must be named when they are mappings or lists, got {shown(value)}: write "
                    "choices: {label: {...}}"
                )
        labels = [_word(value) for value in parameter.choices] if isinstance(parameter.choices, dict) else None
        for label, count in Counter(labels or map(_label, parameter.choices)).items():
            if count > 1:
                raise InputError(f"{what}: choices must differ, got {shown(label)} {count} times: remove one")
        return
    low, high = parameter.low, parameter.high
    if low >= high:
        raise InputError(f"{what}: `low` must be below `high`, got {low} and {high}: widen the range")
    if parameter.log and low <= 0:
        raise InputError(f"{what}: `low` must be above 0 with `log: true`, got {low}: raise it, or remove `log`")
    if parameter.log and parameter.step not in (None, 1):
        raise InputError(f"{what}: `step` and `log` exclude each other, got {parameter.step}: remove one")
    if parameter.step is not None and parameter.step > high - low:
        raise InputError(f"{what}: `step` must fit between `low` and `high`, got {parameter.step}: lower it")
    if parameter.step is not None and (high - low) / parameter.step > _MOST_STEPS:
        raise InputError(
            f"{what}: `step` must leave at most {_MOST_STEPS:,} values, got {parameter.step}: raise it, or remove it"
        )


def _check_conditions(name: str, parameter: Parameter, before: Space, where: str) -> None:
    for other, wanted in parameter.when.items():
        if other not in before:
            known = did_you_mean(other, list(before)) if before else "none is"
            raise InputError(
                f"{where}: `space.{name}.when` must name a parameter that is declared above it, got {shown(other)}: "
                f"{known}"
            )
        if not any(meets(before[other], value, wanted) for value in possible(before[other], wanted)):
            raise InputError(
                f"{where}: `space.{name}.when.{other}` is never true, got {shown(wanted)}: name a value of it"
            )


def _check_parents(name: str, parameter: Parameter, before: Space, where: str) -> None:
    """A key inside a searched section is drawn only where the section is on and does not set it itself."""
    for other, parent in before.items():
        if other.startswith(f"{name}."):
            raise InputError(
                f"{where}: `space.{other}` is inside {shown(name)}: declare it below, with a `when` on {shown(name)}"
            )
        if not name.startswith(f"{other}.") or not isinstance(parent, CategoricalParameter):
            continue
        inner = name.removeprefix(f"{other}.")
        wanted = parameter.when.get(other, list(parent.labelled()))
        for label, setting in parent.labelled().items():
            taken = not isinstance(setting, Mapping) or inner in flatten(dict(setting))
            if taken and meets(parent, label, wanted):
                raise InputError(
                    f"{where}: `space.{name}` would be drawn where {shown(other)} is {shown(label)}, which leaves no "
                    f"place for it: write when: {{{other}: ...}} with the choices that do"
                )


def _check_names(space: Space, where: str) -> None:
    asked = {other for parameter in space.values() for other in parameter.when}
    for name in space:
        if not is_setting(name) and name not in asked:
            known = did_you_mean(name.partition(".")[0], list(RunConfig.model_fields))
            raise InputError(f"{where}: unknown key {shown(name)} in `space`, which no `when` asks for either: {known}")


def possible(parameter: Parameter, wanted: Any) -> list[Any]:
    """Values that a condition on ``parameter`` may ask for: its labels, or the numbers asked for that it can be."""
    if isinstance(parameter, CategoricalParameter):
        return list(parameter.labelled())
    asked = wanted if isinstance(wanted, list) else [wanted]
    return [
        value
        for value in asked
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_drawn(parameter, value)
    ]


def _is_drawn(parameter: FloatParameter | IntParameter, value: float) -> bool:
    if not parameter.low <= value <= parameter.high:
        return False
    if parameter.log or parameter.step is None:
        return True
    steps = (value - parameter.low) / parameter.step
    return abs(steps - round(steps)) < 1e-9


def meets(parameter: Parameter, value: Any, wanted: Any) -> bool:
    """Whether a drawn value is one of those that a condition asks for, by label or by setting."""
    known = [value]
    if isinstance(parameter, CategoricalParameter):
        known.append(parameter.labelled()[value])
        if value in ("on", "off"):  # YAML reads these words as true and false
            known.append(value == "on")
    asked = wanted if isinstance(wanted, list) else [wanted]
    return any(_same(one, other) for one in known for other in asked)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def applies(parameter: Parameter, point: Mapping[str, Any], space: Space) -> bool:
    """Whether all conditions of a parameter hold for what is drawn so far."""
    return all(other in point and meets(space[other], point[other], wanted) for other, wanted in parameter.when.items())
