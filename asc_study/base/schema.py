"""Strict settings, and one readable line for the first rule that a value breaks.

Below everything that has settings: architectures, augmentations and the study file declare theirs as `Strict` models.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from asc_study.base.errors import InputError, shown

_LONGEST_NAME: Final = 100

#: Names that an error line lists.
_MOST_NAMES: Final = 30

ModelT = TypeVar("ModelT", bound=BaseModel)


class Strict(BaseModel):
    """A setting group in which an unknown key is an error and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """What of the settings decides a result, in the types of JSON: part of the signature of a run.

        All of them by default. A group leaves out what has no effect beside its other settings, and gives the digest of
        a file's content in place of its path.
        """
        return self.model_dump(mode="json")


def validate(model: type[ModelT], data: Any, *, where: str = "", path: str = "") -> ModelT:
    """Validate ``data`` by a pydantic model; the first problem becomes an `InputError` of one line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors()
        # An unknown key is often the cause of what else is wrong, so it is named first.
        first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
        line = label(where) + _explain(model, first, path)
        if len(problems) > 1:
            line += f" (and {len(problems) - 1} more)"
        raise InputError(line) from None


def require_row_name(name: object, what: str) -> str:
    """Return ``name`` if it can name a row: text of one line, not blank, at most 100 characters.

    Raises
    ------
    InputError
        If it cannot; ``what`` is what the name is for.
    """
    if isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= _LONGEST_NAME:
        return name
    raise InputError(
        f"{what} needs a `name` of one line and at most {_LONGEST_NAME} characters, got {name!r:.80}: it is what "
        "--only and the tables use"
    )


def did_you_mean(name: str, known: "Mapping[str, Any] | list[str]") -> str:
    """``did you mean 'mixup'?`` if something known is near, else the list of what is known."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    names = sorted(known)
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return f"known: {', '.join(names[:_MOST_NAMES])}{more}"


def label(where: str) -> str:
    """``where: ``, to begin an error with, or nothing if ``where`` is empty."""
    return f"{where}: " if where else ""


#: pydantic error type -> rule in our words; what is not here uses pydantic's own sentence.
_RULES: Final[Mapping[str, str]] = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
}


def _explain(model: type[BaseModel], problem: Any, path: str) -> str:
    steps = [str(step) for step in problem["loc"]]
    key = ".".join([path, *steps] if path else steps)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, steps[:-1])
        return f"unknown key {shown(key)}: {did_you_mean(steps[-1], known)}"
    if problem["type"] == "missing":
        return f"{key!r} is missing: add it"
    if problem["type"] == "value_error":  # a validator of ours: it states rule, value and remedy itself
        return str(problem["ctx"]["error"])
    rule = _RULES.get(problem["type"])
    rule = rule.format(**problem.get("ctx", {})) if rule else problem["msg"]
    return f"`{key}` {rule}, got {shown(problem['input'])}"


def _keys_at(model: type[BaseModel], steps: list[str]) -> list[str]:
    for step in steps:
        annotation = model.model_fields[step].annotation if step in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
