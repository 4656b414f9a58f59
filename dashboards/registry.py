"""What a page is: its address, its state, its controls and what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal

from dashboards.blocks import Block
from dashboards.source import Source
from dashboards.state import StateT


@dataclass(frozen=True)
class Control:
    """Something to choose; its value is the field of this name in the page's state.

    Attributes
    ----------
    name, label
        The field, and what it is called.
    options
        Value -> what it is called; of ``one`` and ``many``.
    value
        What is chosen now, a page's own choice included.
    kind
        ``one`` or ``many`` of the options, a ``switch``, or a ``slider`` between ``low`` and ``high``.
    """

    name: str
    label: str
    value: Any
    options: dict[str, str] | None = None
    kind: Literal["one", "many", "switch", "slider"] = "one"
    low: float = 0.0
    high: float = 1.0
    step: float = 0.1


@dataclass(frozen=True)
class Page(Generic[StateT]):
    """A page.

    Attributes
    ----------
    path
        Its address: ``/devices``.
    label
        In the navigation.
    state
        Its kind of state.
    controls
        What can be chosen, as things are.
    blocks
        What it shows, from top to bottom.
    clicked
        What a click on a figure means: the state that it leads to, from the state, the figure's name and the clicked
        point as plotly tells it.
    depends
        Fields of its state that decide what there is to choose.
    in_report
        Whether a report holds it, as it is without any choice.
    of_study
        Whether it shows a study, so that a store without one has nothing for it.
    needs_data
        Whether it is offered only where the recordings are there.
    """

    path: str
    label: str
    state: type[StateT]
    controls: Callable[[Source, StateT], Sequence[Control]]
    blocks: Callable[[Source, StateT], Sequence[Block]]
    clicked: Callable[[StateT, str, dict[str, Any]], StateT] | None = None
    depends: tuple[str, ...] = ("study",)
    in_report: bool = True
    of_study: bool = True
    needs_data: bool = False
