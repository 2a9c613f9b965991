import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from partsight.runtime.memory import Pieces


def test_copies_are_equal_and_cannot_be_written_to() -> None:
    arrays = [np.arange(7, dtype=np.float32), np.ones((2, 3, 3), np.float16)[:, ::2], np.empty((0, 4))]
    copies = Pieces(2).settle(arrays)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(copy, array)
        assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
        with pytest.raises(ValueError, match="read-only"):
            copy[...] = 0


def test_a_piece_is_used_again_when_the_last_view_is_gone() -> None:
    pieces = Pieces(2)
    first, second = (pieces.settle([np.full(100, value)] * 2) for value in (1, 2))
    address, view = first[0].ctypes.data, first[1][50:]
    del first
    gc.collect()
    (beside,) = pieces.settle([np.full(100, 3)])  # none is free: on the heap
    assert (view == 1).all() and (second[0] == 2).all() and (beside == 3).all()
    del view
    gc.collect()
    (again,) = pieces.settle([np.full(200, 4)])
    assert again.ctypes.data == address
    assert (again == 4).all() and (second[0] == 2).all() and (beside == 3).all()


def test_by_many_threads() -> None:
    pieces = Pieces(6)

    def use(value: int) -> bool:
        kept = [pieces.settle([np.full(50, value + turn)])[0] for turn in range(3)]
        return all((copy == value + turn).all() for turn, copy in enumerate(kept))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(2000)))
    gc.collect()
    assert sorted(pieces._free) == list(range(6))
