"""From stored static features to what a network is given: widened to float32, with their deltas and delta-deltas.

Axis order is frequency, time, channel throughout (Hu et al. 2020, section 5.1, and the authors' code).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from asc_study.base.compiled import compiled
from asc_study.base.errors import InputError
from asc_study.features.front_end import ten_slopes
from asc_study.features.settings import stacked_shape

#: Bits of a float16 after its sign was extended to 32 bits and all were moved up by 13: clears the extra sign bits.
_SIGN_AND_MAGNITUDE: Final = np.int32(0x8FFFE000 - (1 << 32))


def deltas(static: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Differentiate along time: d[t] = (x[t+1] - x[t-1]) / 10 + (x[t+2] - x[t-2]) / 5, without padding.

    Parameters
    ----------
    static
        (frequency, time, channel) float32.

    Returns
    -------
    (frequency, time - 4, channel) float32.

    Raises
    ------
    InputError
        If there are fewer than 5 frames.
    """
    if static.shape[1] < 5:
        raise InputError(f"deltas need at least 5 frames, got {static.shape[1]}: use longer clips or a shorter hop")
    slope = ten_slopes(static)
    slope *= np.float32(0.1)
    return slope


def with_deltas(
    static: npt.NDArray[np.floating[Any]], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Stack static, delta and delta-delta features as channels, trimmed to the frames that all three have.

    Parameters
    ----------
    static
        (frequency, time, channel), as the store gives it; float16 is widened first.
    out
        Written in place where given: (frequency, time - 8, 3 * channel) float32.

    Returns
    -------
    ``out`` or a new array. All statics come first, then all deltas, then all delta-deltas; a stereo clip gives static
    left, static right, delta left, delta right, delta-delta left, delta-delta right.

    Raises
    ------
    InputError
        If there are fewer than 9 frames, or ``out`` has another shape.
    """
    bands, frames, channels = static.shape
    shape = stacked_shape((bands, frames, channels), deltas=True)
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape:
        raise InputError(f"`out` must have shape {shape}, got {out.shape}")
    if not out.flags.c_contiguous:
        out[...] = with_deltas(static)
        return out
    compiled(_with_deltas_loop(channels))(*bits_of_floats(static), out)
    return out


def network_input(
    static: npt.NDArray[np.floating[Any]], *, deltas: bool, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """What a network is given of stored features: `with_deltas`, or without deltas the same values as float32."""
    if deltas:
        return with_deltas(static, out)
    if out is None:
        return widen(static)
    out[...] = widen(static)
    return out


def bits_of_floats(
    static: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.signedinteger[Any]], int, np.int32, np.float32]:
    """The bits of finite floats, and how loops widen them to float32 as `widen` does: shift, mask, then scale."""
    if static.dtype == np.float16:
        return np.ascontiguousarray(static).view(np.int16), 13, _SIGN_AND_MAGNITUDE, np.float32(2.0**112)
    return np.ascontiguousarray(static, np.float32).view(np.int32), 0, np.int32(-1), np.float32(1)


def widen(static: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Convert finite float16 values to float32, exactly, and several times faster than ``astype``.

    A float16's bits, moved up by 13, are those of a float32 that is 2**112 too small.
    """
    if static.dtype != np.float16:
        return static.astype(np.float32, copy=False)
    bits = static.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_MAGNITUDE
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)
    return values


@lru_cache
def _with_deltas_loop(channels: int) -> Callable[..., None]:
    """The loop behind `with_deltas`: to the compiler, the number of channels is a constant, which doubles its speed."""

    def fill(
        bits: npt.NDArray[np.signedinteger[Any]],
        shift: int,
        mask: np.int32,
        scale: np.float32,
        out: npt.NDArray[np.float32],
    ) -> None:
        """Widen (frequency, time, channel) bits of floats as `widen` does; write them and their deltas."""
        bands, frames, _ = bits.shape
        wide = np.empty(frames, np.float32)
        wide_bits = wide.view(np.int32)
        slopes = np.empty(frames - 4, np.float32)  # ten times the deltas, as in `ten_slopes`
        for band in range(bands):
            for channel in range(channels):
                source = bits[band].reshape(-1)[channel:]
                target = out[band].reshape(-1)[channel:]
                for t in range(frames):
                    wide_bits[t] = (np.int32(source[channels * t]) << np.int32(shift)) & mask
                for t in range(frames):
                    wide[t] *= scale
                for t in range(frames - 4):
                    far = wide[t + 4] - wide[t]
                    slopes[t] = far + far + wide[t + 3] - wide[t + 1]
                for t in range(frames - 8):
                    far = slopes[t + 4] - slopes[t]
                    second = far + far + slopes[t + 3] - slopes[t + 1]
                    target[3 * channels * t] = wide[t + 4]
                    target[3 * channels * t + channels] = slopes[t + 2] * np.float32(0.1)
                    target[3 * channels * t + 2 * channels] = second * np.float32(0.01)

    return fill
