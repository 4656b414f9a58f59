"""What breaks the rules of a data set, and how received values are shown."""

from dataclasses import dataclass
from typing import Final

_LONGEST_SHOWN: Final = 120


@dataclass(frozen=True)
class Problem:
    """Something that breaks a rule of the layout: the rule, the file or row that breaks it, and how."""

    rule: str
    item: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.item}: {self.detail}"


def shown(value: object) -> str:
    """Show a received value on one line of limited length, whatever it holds."""
    text = " | ".join(value) if isinstance(value, list) else str(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}...")
