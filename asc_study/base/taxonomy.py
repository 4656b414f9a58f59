"""Scenes, scene groups, devices and device subsets of TAU Urban Acoustic Scenes 2020: data, not code.

Sources: the data set's own description (DCASE 2020 Task 1) and Hu et al. 2020, sections 2.1 and 5.3.
"""

from types import MappingProxyType
from typing import Final

#: The ten scenes in alphabetical order, which is also the order of the class columns.
SCENES: Final = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)

#: The three scene groups (the labels of Task 1b) in alphabetical order.
SCENE_GROUPS: Final = ("indoor", "outdoor", "transportation")

#: Scene -> scene group (section 2.1 of the paper).
GROUP_OF_SCENE: Final = MappingProxyType(
    {
        "airport": "indoor",
        "bus": "transportation",
        "metro": "transportation",
        "metro_station": "indoor",
        "park": "outdoor",
        "public_square": "outdoor",
        "shopping_mall": "indoor",
        "street_pedestrian": "outdoor",
        "street_traffic": "outdoor",
        "tram": "transportation",
    }
)

#: Task -> its classes, in column order.
CLASSES: Final = MappingProxyType({"ten_class": SCENES, "three_class": SCENE_GROUPS})

#: The nine recording devices of the development set; s4-s6 are heard in the test fold only.
DEVICES: Final = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")

#: Devices that the official training fold holds.
SEEN_DEVICES: Final = ("a", "b", "c", "s1", "s2", "s3")

#: The four device subsets of Table 1, in the paper's order.
DEVICE_SUBSETS: Final = MappingProxyType(
    {"A": ("a",), "BC": ("b", "c"), "s1-s3": ("s1", "s2", "s3"), "s4-s6": ("s4", "s5", "s6")}
)
