"""The state of a page is its address: what is chosen, as the query of a link.

One frozen dataclass a page; its fields are the names in the query. A field at its default is not written, and what an
address says that no field knows, or no value of a field allows, is ignored: an old link still opens.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, urlencode

StateT = TypeVar("StateT", bound="State")


@dataclass(frozen=True)
class State:
    """What every page knows: the studies that are looked at, together, and the row that others are compared with."""

    study: tuple[str, ...] = ()
    reference: str = ""


def encode(state: State) -> str:
    """The query of a link (without its question mark) that opens a page in this state."""
    pairs: list[tuple[str, str]] = []
    for one in fields(state):
        value = getattr(state, one.name)
        if value == one.default:
            continue
        if isinstance(value, tuple):
            pairs += [(one.name, part) for part in value] or [(one.name, "")]
        elif isinstance(value, bool):
            pairs.append((one.name, "1" if value else "0"))
        else:
            pairs.append((one.name, f"{value:g}" if isinstance(value, float) else str(value)))
    return urlencode(pairs)


def decode(kind: type[StateT], query: str) -> StateT:
    """The state that a query tells of; what it does not tell, or tells wrongly, has its default."""
    told = parse_qs(query.removeprefix("?"), keep_blank_values=True, max_num_fields=500)
    known = {name: _value(hint, told[name]) for name, hint in _hints(kind).items() if name in told}
    return kind(**{name: value for name, value in known.items() if value is not None})


def state_of(kind: type[StateT], values: Mapping[str, Any]) -> StateT:
    """The state that controls show, whose values may be lists, texts or numbers."""
    told = {
        name: [str(one) for one in value] if isinstance(value, list) else [_text(value)]
        for name, value in values.items()
    }
    known = {name: _value(hint, told[name]) for name, hint in _hints(kind).items() if name in told}
    return kind(**{name: value for name, value in known.items() if value is not None})


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return "" if value is None else str(value)


def _hints(kind: type[State]) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, texts: list[str]) -> Any:
    """The texts as a value of a field's type; None where they are none."""
    if get_origin(hint) is tuple:
        return tuple(dict.fromkeys(text for text in texts if text))
    text = texts[-1]
    if get_origin(hint) is Literal:
        return text if text in get_args(hint) else None
    if hint is bool:
        return {"1": True, "0": False}.get(text)
    if hint in (int, float):
        try:
            number = hint(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return text
