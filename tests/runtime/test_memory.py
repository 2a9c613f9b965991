import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from partsight.runtime.memory import Pieces


def test_arrays_lie_beside_each_other() -> None:
    shapes = [(7,), (2, 3, 3), (0, 4), (1, 5)]
    arrays = Pieces(2).take(shapes)
    for value, array in enumerate(arrays):
        array[...] = value
    assert [array.shape for array in arrays] == shapes
    assert all((array == value).all() and array.dtype == np.float32 for value, array in enumerate(arrays))


def test_a_piece_is_used_again_when_the_last_view_is_gone() -> None:
    pieces = Pieces(2)
    first, second = (_filled(pieces, 2 * [100], value) for value in (1, 2))
    address, view = first[0].ctypes.data, first[1][50:]
    del first
    gc.collect()
    (beside,) = _filled(pieces, [100], 3)  # none is free: on the heap
    assert (view == 1).all() and (second[0] == 2).all() and (beside == 3).all()
    del view
    gc.collect()
    (again,) = _filled(pieces, [200], 4)
    assert again.ctypes.data == address
    assert (again == 4).all() and (second[0] == 2).all() and (beside == 3).all()


def test_by_many_threads() -> None:
    pieces = Pieces(6)

    def use(value: int) -> bool:
        kept = [_filled(pieces, [50], value + turn)[0] for turn in range(3)]
        return all((copy == value + turn).all() for turn, copy in enumerate(kept))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(2000)))
    gc.collect()
    assert sorted(pieces._free) == list(range(6))


def _filled(pieces: Pieces, lengths: list[int], value: int) -> list[np.ndarray]:
    arrays: list[np.ndarray] = [*pieces.take([(length,) for length in lengths])]
    for array in arrays:
        array[...] = value
    return arrays
