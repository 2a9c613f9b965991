import gc

import numpy as np
import pytest

from partsight.runtime.memory import settle


def test_copies_are_equal_and_cannot_be_written_to() -> None:
    arrays = [np.arange(7, dtype=np.float32), np.ones((2, 3, 3), np.float16)[:, ::2], np.empty((0, 4))]
    copies = settle(arrays)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(copy, array)
        assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
        assert copy.ctypes.data % 64 == 0
        with pytest.raises(ValueError, match="read-only"):
            copy[...] = 0
    assert settle([]) == []


def test_the_last_copy_holds_the_pages() -> None:
    copies = settle([np.full(1000, value, np.int64) for value in range(3)])
    last = copies.pop()[500:]
    del copies
    gc.collect()
    assert (last == 2).all()
