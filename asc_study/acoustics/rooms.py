"""Simulated rooms: impulse responses of shoebox rooms by the image source method (Allen and Berkley 1979).

The images are computed by pyroomacoustics, without its ray tracing and its random displacements, on one thread: the
order in which images are added changes the last bits of a response.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from asc_study.base.errors import InputError

#: Ranges of length, width and height in metres: from a small office to a ticket hall.
SIZE_METRES: Final = ((3.0, 10.0), (3.0, 8.0), (2.5, 4.0))

#: Range of the reverberation time: the time in which the sound falls by 60 dB, by Sabine's formula.
REVERBERATION_SECONDS: Final = (0.2, 0.8)

#: Nearest that source and microphone come to a wall, and half of how near they come to each other.
_CLEARANCE_METRES: Final = 0.5

#: Reflections after which a path is given up. The last ones of the liveliest small room are about 20 dB down.
_MAX_ORDER: Final = 40

_ROOM_STREAM: Final = 11  # Keeps the draws of rooms apart from others with the same seed.

Metres = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """A shoebox room with a source and an omnidirectional microphone.

    Attributes
    ----------
    size
        Length, width and height in metres.
    reverberation_seconds
        By Sabine's formula; all walls absorb alike, at all frequencies.
    source, microphone
        Positions in metres from one lower corner.
    """

    size: Metres
    reverberation_seconds: float
    source: Metres
    microphone: Metres


def simulate_rooms(count: int, seed: int, sample_rate: int) -> tuple[NDArray[np.float32], ...]:
    """Simulate the impulse responses of random rooms.

    Parameters
    ----------
    count
        How many, at least 1. More of them begin with the same ones.
    seed
        The same seed gives the same rooms.
    sample_rate
        In Hz.

    Returns
    -------
    tuple of NDArray[np.float32]
        One response a room, as `room_response` makes them.

    Raises
    ------
    InputError
        If ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"the number of simulated rooms must be at least 1, got {count}: raise it")
    rngs = np.random.default_rng([seed, _ROOM_STREAM]).spawn(count)
    return tuple(room_response(draw_room(rng), sample_rate) for rng in rngs)


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a room: sizes from `SIZE_METRES`, reverberation time from `REVERBERATION_SECONDS`, all uniform.

    Source and microphone stand at least half a metre from every wall, in different halves of the room's length and at
    least a metre apart.
    """
    lows, highs = np.transpose(SIZE_METRES)
    size = rng.uniform(lows, highs)
    reverberation_seconds = rng.uniform(*REVERBERATION_SECONDS)
    middle = np.array([size[0] / 2, *size[1:]])
    source = rng.uniform(_CLEARANCE_METRES, middle - _CLEARANCE_METRES)
    microphone = rng.uniform(_CLEARANCE_METRES, middle - _CLEARANCE_METRES)
    microphone[0] += size[0] / 2
    return Room(_metres(size), float(reverberation_seconds), _metres(source), _metres(microphone))


def room_response(room: Room, sample_rate: int) -> NDArray[np.float32]:
    """Compute the impulse response from a room's source to its microphone.

    Parameters
    ----------
    room
        Must be so big, or reverberate so long, that Sabine's formula asks for walls that absorb less than everything.
    sample_rate
        In Hz.

    Returns
    -------
    NDArray[np.float32]
        Shape ``(samples,)``; the largest magnitude is 1, and the reverberation time after it the response is cut.

    Raises
    ------
    InputError
        If the walls would have to absorb more than everything.
    """
    import pyroomacoustics  # type: ignore[import-untyped]

    try:
        absorption, _ = pyroomacoustics.inverse_sabine(room.reverberation_seconds, room.size)
    except ValueError:
        raise InputError(
            f"a room of {room.size[0]:g} x {room.size[1]:g} x {room.size[2]:g} m needs a longer reverberation time, "
            f"got {room.reverberation_seconds:g} s: raise it or make the room smaller"
        ) from None
    shoebox = pyroomacoustics.ShoeBox(
        room.size, fs=sample_rate, materials=pyroomacoustics.Material(absorption), max_order=_MAX_ORDER
    )
    shoebox.add_source(room.source)
    shoebox.add_microphone(room.microphone)
    threads = pyroomacoustics.constants.get("num_threads")
    pyroomacoustics.constants.set("num_threads", 1)
    try:
        shoebox.compute_rir()
    finally:
        pyroomacoustics.constants.set("num_threads", threads)
    response = shoebox.rir[0][0]
    peak = int(np.argmax(np.abs(response)))
    audible = response[: peak + round(room.reverberation_seconds * sample_rate)]
    return np.asarray(audible / abs(response[peak]), dtype=np.float32)


def _metres(values: NDArray[np.float64]) -> Metres:
    length, width, height = values.tolist()
    return length, width, height
