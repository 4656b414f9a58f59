"""A system by device: of several models of one task, the one of a clip's device says what it is.

The systems of DCASE 2025 Task 1 are such: at inference the device is told, and who has no model of its own is heard by
the general one. Applied with NumPy alone, as `asc_study.ensemble.rules` asks of a rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from asc_study.base.errors import InputError
from asc_study.ensemble.arrays import Probabilities
from asc_study.ensemble.rules import FusionRule

if TYPE_CHECKING:
    from asc_study.ensemble.stack import Stack

#: What ``fusion.json`` calls it. It is no rule of `asc_study.ensemble.fuse`: it has to be told whose model is whose.
BY_DEVICE: Final = "by_device"


@dataclass(frozen=True)
class Route:
    """A device and the name of the system that hears it."""

    device: str
    system: str


@dataclass(frozen=True)
class ByDevice(FusionRule):
    """The output of one system for each clip: the first one's, unless the clip's device has another.

    Attributes
    ----------
    routes
        The devices that have a system of their own.
    """

    name: ClassVar[str] = BY_DEVICE

    routes: tuple[Route, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        own, devices = {route.system for route in self.routes}, [route.device for route in self.routes]
        if own != set(self.systems[1:]) or len(set(devices)) < len(devices):
            raise InputError(
                f"a system by device must have a device for each of {list(self.systems[1:])} and one system for each "
                f"device, got {devices} with {sorted(own)}: it is damaged"
            )

    @property
    def devices(self) -> Mapping[str, str]:
        """Device -> the system that hears it."""
        return {route.device: route.system for route in self.routes}

    def system_of(self, device: str) -> str:
        """The system that hears a device; the general one if it has none of its own, or is not known."""
        return self.devices.get(device, self.systems[0])

    def apply(self, probabilities: Probabilities, devices: Sequence[str] | None = None) -> Probabilities:
        """Take of each clip what the system of its device says.

        Parameters
        ----------
        probabilities
            (m, n, c), in the order of ``systems``; rows sum to 1.
        devices
            Of the n clips; without them the general system is heard.

        Returns
        -------
        (n, c)
            Rows sum to 1.
        """
        clips = range(probabilities.shape[1])
        numbers = [self.systems.index(self.system_of(device)) for device in devices or [""] * len(clips)]
        chosen: Probabilities = probabilities[np.asarray(numbers, int), np.asarray(clips, int)]
        return chosen

    def combine(self, sample: "Stack") -> Probabilities:
        """Take the outputs of its systems among those of a stack, by the devices of its clips, (n, c)."""
        return self.apply(sample.only(self.systems).probabilities, sample.context["device"].tolist())


@dataclass(frozen=True)
class RouteRule:
    """How systems become one by device: device -> place of its system among them; the first is the general one."""

    places: Mapping[str, int]
    learns: ClassVar[bool] = False
    by_class: ClassVar[bool] = False

    def fit(self, sample: "Stack") -> ByDevice:
        """Look at the systems' names alone."""
        routes = tuple(Route(device, sample.names[place]) for device, place in sorted(self.places.items()))
        return ByDevice(sample.names, routes)
