import gc

import numpy as np

from asc_study.features.one_array import OneArray


def test_values_are_found_wherever_the_arrays_lie() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(clips, 3, 5, 2)).astype(np.float16) for clips in (4, 1, 7)]
    copies = [array.copy() for array in arrays]
    one = OneArray(arrays)
    del arrays
    gc.collect()
    for begin, array in zip(one.starts, copies, strict=True):
        found = one.values[begin : begin + array.size]
        np.testing.assert_array_equal(found, array.ravel(), strict=True)
    assert not one.values.flags.writeable


def test_parts_that_do_not_lie_one_after_the_other_are_copied() -> None:
    whole = np.arange(40, dtype=np.float32).reshape(4, 10)
    one = OneArray([whole[:, ::2], whole[1:]])
    np.testing.assert_array_equal(one.values[one.starts[0] : one.starts[0] + 20], whole[:, ::2].ravel())
    np.testing.assert_array_equal(one.values[one.starts[1] : one.starts[1] + 30], whole[1:].ravel())


def test_memory_that_is_not_aligned_alike_is_copied() -> None:
    odd = np.frombuffer(np.arange(9, dtype=np.int32).tobytes() + b"\0", np.uint8)[1:33].view(np.int32)
    even = np.arange(5, dtype=np.int32)
    one = OneArray([even, odd])
    np.testing.assert_array_equal(one.values[one.starts[1] : one.starts[1] + 8], odd)
    np.testing.assert_array_equal(one.values[one.starts[0] : one.starts[0] + 5], even)
