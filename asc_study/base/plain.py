"""Frozen dataclasses in the types of JSON and back, strictly: what is read holds exactly the fields, of their types.

Fields may be text, whole numbers, finite numbers, tuples of one type and dataclasses of these. A float64 survives JSON
unchanged, so what is read is equal to what was written. Standard library alone: deployed systems read with it.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from asc_study.base.errors import InputError, shown


def to_plain(value: Any) -> Any:
    """A dataclass as a mapping of its fields, a tuple as a list, all else as it is."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    return [to_plain(inner) for inner in value] if isinstance(value, tuple) else value


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """What `to_plain` was given, of type ``kind``.

    Parameters
    ----------
    kind
        A dataclass, or the type of one of its fields.
    value
        In the types of JSON.
    where
        What to call it in an error.

    Raises
    ------
    InputError
        If a field is missing, not known or of another type, or a number is not finite.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        hints, names = get_type_hints(kind), [field.name for field in fields(kind)]
        if not isinstance(value, Mapping) or set(value) != set(names):
            got = ", ".join(map(str, value)) if isinstance(value, Mapping) else shown(value)
            raise InputError(f"{where} must hold {', '.join(names)}, got {got or 'nothing'}: it is damaged")
        return kind(**{name: from_plain(hints[name], value[name], f"{where}.{name}") for name in names})
    if get_origin(kind) is tuple:
        (inner, _) = get_args(kind)
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list, got {shown(value)}: it is damaged")
        return tuple(from_plain(inner, item, f"{where}[{number}]") for number, item in enumerate(value))
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or isinstance(value, bool) or (kind is float and not math.isfinite(value)):
        name = {str: "text", int: "a whole number", float: "a finite number"}[kind]
        raise InputError(f"{where} must be {name}, got {shown(value)}: it is damaged")
    return kind(value)
