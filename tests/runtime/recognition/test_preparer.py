from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from partsight.runtime.core.errors import FrameError
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.recognition.preparer import Preparer, prefetch

SPEC = PreprocessSpec(height=24, width=32)


def frames(count: int, height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count + height)
    return [rng.integers(0, 256, (height, width - index, 3), dtype=np.uint8) for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 7, 8])
@pytest.mark.parametrize("size", [(40, 60), (1024, 1280)])
def test_batches_are_as_preprocess_makes_them(count: int, size: tuple[int, int]) -> None:
    batch = frames(count, *size)
    with ThreadPoolExecutor(3) as workers:
        prepared = Preparer([SPEC], 8, workers).start(batch)
        np.testing.assert_array_equal(prepared.wait()[0], preprocess(batch, SPEC))


@pytest.mark.parametrize("size", [(40, 60), (300, 200), (1024, 1280)])
def test_several_sizes_are_as_each_alone(size: tuple[int, int]) -> None:
    batch, specs = frames(3, *size), [SPEC, PreprocessSpec(height=100, width=90), PreprocessSpec(height=12, width=200)]
    with ThreadPoolExecutor(3) as workers:
        prepared = Preparer(specs, 8, workers).start(batch, sizes=3).wait()
        for found, spec in zip(prepared, specs, strict=True):
            np.testing.assert_array_equal(found, preprocess(batch, spec))


@pytest.mark.parametrize("size", [(40, 60), (300, 200), (1024, 1280)])
@pytest.mark.parametrize("sizes", [1, 2])
def test_a_shared_first_size_gives_the_pixels_of_each_alone(size: tuple[int, int], sizes: int) -> None:
    batch, specs = frames(3, *size), [PreprocessSpec(24, 32, via=(36, 48)), PreprocessSpec(36, 48, via=(36, 48))]
    with ThreadPoolExecutor(3) as workers:
        prepared = Preparer(specs, 8, workers).start(batch, sizes=sizes).wait()
        assert len(prepared) == sizes
        for found, spec in zip(prepared, specs, strict=False):
            np.testing.assert_array_equal(found, preprocess(batch, spec))


def test_a_released_buffer_is_used_again_and_no_other() -> None:
    with ThreadPoolExecutor(2) as workers:
        preparer = Preparer([SPEC], 4, workers)
        first, second = preparer.start(frames(4, 40, 60)), preparer.start(frames(3, 40, 60))
        assert not np.shares_memory(first.wait()[0], second.wait()[0])
        kept = second.wait()[0]
        second.release()
        third = preparer.start(frames(4, 50, 70))
        assert np.shares_memory(third.wait()[0], kept)
        np.testing.assert_array_equal(first.wait()[0], preprocess(frames(4, 40, 60), SPEC))


@pytest.mark.parametrize("size", [(40, 60), (1024, 1280)])
def test_a_bad_frame_is_named_before_any_is_prepared(size: tuple[int, int]) -> None:
    batch = frames(3, *size)
    batch[1] = batch[1][:, :, 0].copy()
    workers = ThreadPoolExecutor(1)
    workers.shutdown()  # it raises for any work
    with pytest.raises(FrameError, match=r"^frame 1 of 3: "):
        Preparer([SPEC], 4, workers).start(batch)


def test_only_several_large_frames_go_to_threads() -> None:
    workers = ThreadPoolExecutor(1)
    workers.shutdown()  # it raises for any work
    preparer = Preparer([SPEC], 20, workers)
    preparer.start(frames(20, 100, 100)).wait()
    preparer.start(frames(1, 1024, 1280)).wait()
    with pytest.raises(RuntimeError):
        preparer.start(frames(2, 1024, 1280))


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_prefetch(count: int) -> None:
    taken: list[int] = []
    seen = [(item, len(taken)) for item in prefetch((taken.append(item) or item for item in range(5)), count)]
    assert seen == [(item, min(item + 1 + count, 5)) for item in range(5)]
