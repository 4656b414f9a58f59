"""What a recording device does to a sound.

Device ``a`` is the reference and does nothing; ``b`` and ``c`` have a frequency response, a noise floor and clipping,
as phones do; ``s1`` to ``s6`` are made the way the organisers of DCASE 2020 made theirs: an impulse response, then
dynamic range compression.

Conventions: a signal has the shape ``(samples,)`` or ``(samples, channels)`` and full scale at 1.0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from asc_study.acoustics.compander import PRESETS, Compander, compand
from asc_study.acoustics.impulse_responses import colour_response, convolve, make_impulse_response
from asc_study.base.errors import InputError
from asc_study.base.taxonomy import DEVICES

#: The devices that are an impulse response followed by dynamic range compression.
SIMULATED_DEVICES: Final = DEVICES[3:]

_DEVICE_STREAM: Final = 7  # Keeps the draws of devices apart from others with the same seed.


@dataclass(frozen=True, eq=False)
class Device:
    """A recording device; what is None or 0 it does not do.

    Attributes
    ----------
    name
        One of the nine devices.
    sample_rate
        In Hz, of ``impulse_response`` and of every signal it records.
    impulse_response
        Microphone, case and room, shape ``(taps,)``.
    gain_db
        Preamplifier gain; what exceeds full scale after it is clipped.
    noise_floor_db
        Level of the white noise that it adds, in dB relative to full scale.
    compander
        Its dynamic range compression.
    """

    name: str
    sample_rate: int
    impulse_response: NDArray[np.float32] | None = None
    gain_db: float = 0.0
    noise_floor_db: float | None = None
    compander: Compander | None = None


def make_devices(
    seed: int, sample_rate: int, impulse_responses: Sequence[NDArray[np.floating]] = ()
) -> dict[str, Device]:
    """Make the nine devices of a data set.

    Parameters
    ----------
    seed
        The same seed gives the same devices.
    sample_rate
        In Hz.
    impulse_responses
        Taken by ``s1``-``s6`` in this order, over again where there are fewer; without any they are made.

    Returns
    -------
    dict[str, Device]
        By name, in the order of the taxonomy. No two of ``s1``-``s6`` are alike: they take the presets of the compander
        in turn, each with an attack and a decay of its own.
    """
    streams = np.random.default_rng([seed, _DEVICE_STREAM]).spawn(len(DEVICES))
    rngs = dict(zip(DEVICES, streams, strict=True))
    devices = {"a": Device("a", sample_rate)}
    for name, low_hz, high_hz, gain_db, noise_floor_db in _PHONES:
        response = colour_response(rngs[name], sample_rate, low_hz=low_hz, high_hz=high_hz, ripple_db=3.0)
        devices[name] = Device(name, sample_rate, response, gain_db=gain_db, noise_floor_db=noise_floor_db)
    for index, name in enumerate(SIMULATED_DEVICES):
        rng = rngs[name]
        response = (
            np.asarray(impulse_responses[index % len(impulse_responses)], dtype=np.float32)
            if impulse_responses
            else _device_in_room(rng, sample_rate)
        )
        preset = list(PRESETS.values())[index % len(PRESETS)]
        attack_seconds, decay_seconds = np.round([0.2, 0.3] * 2 ** rng.uniform(-1, 1, size=2), 3)
        compander = replace(preset, attack_seconds=float(attack_seconds), decay_seconds=float(decay_seconds))
        devices[name] = Device(name, sample_rate, response, compander=compander)
    return devices


def record(
    signal: NDArray[np.floating], sample_rate: int, device: Device, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Record a signal with a device.

    Parameters
    ----------
    signal
        Shape ``(samples,)`` or ``(samples, channels)``.
    sample_rate
        In Hz.
    device
        What to record it with.
    rng
        Where the device's noise is drawn from.

    Returns
    -------
    NDArray[np.float32]
        Same shape, in [-1, 1].

    Raises
    ------
    InputError
        If the device was made for another sample rate.
    """
    if sample_rate != device.sample_rate:
        raise InputError(
            f"device {device.name} records at {device.sample_rate} Hz, got a signal at {sample_rate} Hz:"
            " make the devices for that rate"
        )
    recorded = np.asarray(signal, dtype=np.float32)
    if device.impulse_response is not None:
        recorded = convolve(recorded, device.impulse_response)
    if device.gain_db:
        recorded = recorded * np.float32(10 ** (device.gain_db / 20))
    if device.noise_floor_db is not None:
        recorded = recorded + _white_noise(recorded.shape, device.noise_floor_db, rng)
    if device.compander is not None:
        # The compressor has been running for a while when the clip begins.
        recorded = compand(recorded, sample_rate, device.compander, initial_level_db=_mean_level_db(recorded))
    return np.clip(recorded, -1.0, 1.0)


# Name, band edges in Hz, gain in dB, noise floor in dB: an action camera and a phone, say.
_PHONES: Final = (("b", 90.0, 15_000.0, 6.0, -62.0), ("c", 160.0, 11_000.0, 9.0, -56.0))


def _device_in_room(rng: np.random.Generator, sample_rate: int) -> NDArray[np.float32]:
    room = make_impulse_response(
        rng, sample_rate, decay_seconds=rng.uniform(0.1, 0.4), reverberant_db=rng.uniform(-9, -3)
    )
    colour = colour_response(
        rng,
        sample_rate,
        low_hz=rng.uniform(60, 300),
        high_hz=rng.uniform(5_000, 14_000),
        ripple_db=6.0,
        bands_per_octave=1.5,
    )
    return np.convolve(room, colour).astype(np.float32)


def _white_noise(shape: tuple[int, ...], level_db: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(10 ** (level_db / 20))


def _mean_level_db(signal: NDArray[np.float32]) -> float:
    return 20 * math.log10(max(float(np.mean(np.abs(signal))), 1e-9))
