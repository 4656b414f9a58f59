import gc

import numpy as np
import pytest

from asc_study.training.reused_memory import ReusedMemory

SHAPE = (4, 3)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_used_again() -> None:
    room = ReusedMemory()
    first = room.take(SHAPE)
    first[:] = 7
    place = address(first)
    del first
    again = room.take((2, 6))
    assert address(again) == place
    assert again.shape == (2, 6)
    assert again.flags.writeable


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[1:3, ::2],
        lambda array: array.reshape(-1).view(np.int32),
        lambda array: np.asarray(memoryview(array)),
        np.frombuffer,
        lambda array: np.ndarray((5,), np.uint8, buffer=array),
    ],
)
def test_memory_that_somebody_holds_is_not(hold) -> None:
    room = ReusedMemory()
    array = room.take(SHAPE)
    array[:] = 7
    held = hold(array)
    before = held.tobytes()
    del array
    gc.collect()
    other = room.take(SHAPE)
    other[:] = 1
    assert held.tobytes() == before


def test_memory_of_another_size_is_given_up() -> None:
    room = ReusedMemory()
    del_me = room.take(SHAPE)
    del del_me
    assert room.take((5, 5)).shape == (5, 5)


def test_a_tensor_keeps_the_memory_that_it_was_made_of() -> None:
    import tensorflow as tf

    room = ReusedMemory()
    array = room.take((256, 256))
    array[:] = 7
    tensor = tf.convert_to_tensor(array)
    del array
    for value in range(3):
        room.take((256, 256))[:] = value
    np.testing.assert_array_equal(tensor.numpy(), np.full((256, 256), 7, np.float32))


def test_an_array_of_jax_keeps_the_memory_that_it_was_made_of() -> None:
    jax = pytest.importorskip("jax")
    room = ReusedMemory()
    array = room.take((256, 256))
    array[:] = 7
    there = jax.device_put(array)
    del array
    for value in range(3):
        room.take((256, 256))[:] = value
    np.testing.assert_array_equal(np.asarray(there), np.full((256, 256), 7, np.float32))
