"""Each operation against a plain one, and frames of a stack against each frame alone."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from partsight.runtime.matching import operations
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Places

OPS = ArrayOperations()
KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_smoothing_is_that_of_each_frame_alone() -> None:
    """Rows at the border repeat it, whatever lies above or below in the stack."""
    frames = noise(3, 24, 30, 3)
    smoothed = OPS.smooth(OPS.images(frames), KERNEL)
    for index, frame in enumerate(frames):
        alone = cv2.sepFilter2D(frame, cv2.CV_32F, KERNEL, KERNEL, borderType=cv2.BORDER_REPLICATE)
        found = smoothed.values[index, smoothed.rows : -smoothed.rows]
        np.testing.assert_allclose(found, alone, atol=1e-4)


def test_rows_between_images_are_wide_enough_for_every_kernel() -> None:
    from partsight.runtime.matching import levels

    assert max(len(levels._FINE_KERNEL), len(levels._COARSE_KERNEL)) // 2 <= operations._PAD_ROWS


def test_block_means() -> None:
    frames = noise(2, 24, 30, 1)
    found = OPS.pixels(OPS.block_means(OPS.mix(OPS.images(frames), (1.0,)), 3))
    expected = frames.astype(np.float64).reshape(2, 8, 3, 10, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_channels() -> None:
    frames = noise(2, 12, 18, 3)
    images = OPS.images(frames)
    mixed = OPS.mix(images, (0.5, 0.25, 2.0))
    np.testing.assert_allclose(OPS.pixels(mixed), frames @ np.array([0.5, 0.25, 2.0]), rtol=1e-5)
    smoothed = OPS.smooth(images, KERNEL)
    wide = OPS.widen(smoothed, OPS.mix(smoothed, (1.0, 0.0, 0.0)))
    assert wide.values.shape[3] == 4 and wide.rows == smoothed.rows
    np.testing.assert_array_equal(wide.values[..., :3], smoothed.values)
    one = OPS.smooth(OPS.images(frames[:1]), KERNEL)
    for channel, found in enumerate(OPS.channels(one)):
        np.testing.assert_array_equal(found, one.values[0, one.rows : -one.rows, :, channel])


def places(frames: int, candidates: int, rows: int, columns: int, low: float, high: float, seed: int = 0) -> Places:
    """Places anywhere between two numbers."""
    rng = np.random.default_rng(seed)
    half = [rng.uniform(low / 2, high / 2, (frames, candidates, size)) for size in (columns, rows, columns, rows)]
    return Places(*(values.astype(np.float32) for values in half))


@pytest.mark.parametrize("channels", [1, 4])
def test_samples_are_those_of_each_frame_alone(channels: int) -> None:
    """Bilinear, and beyond the border the border's value."""
    ramps = np.stack([np.add.outer(np.arange(24) * step, np.arange(30) * 2.0) for step in (1, 3, -2)])
    stack = np.repeat(ramps[..., None], channels, axis=3).astype(np.float32) + np.arange(channels, dtype=np.float32)
    where = places(3, 2, 5, 7, -20, 50)
    found = OPS.sample(operations.Images(np.ascontiguousarray(stack), 0), where)
    assert found.shape == (channels, 3, 2, 35)
    x = where.x_of_column[:, :, None, :] + where.x_of_row[..., None]
    y = where.y_of_column[:, :, None, :] + where.y_of_row[..., None]
    assert (y < -1).any() and (y > 24).any() and (x < -1).any() and (x > 30).any()
    for frame, step in enumerate((1, 3, -2)):
        expected = step * np.clip(y[frame], 0, 23) + 2 * np.clip(x[frame], 0, 29)
        for channel in range(channels):
            # OpenCV knows 32 places between two pixels.
            np.testing.assert_allclose(found[channel, frame], expected.reshape(2, -1) + channel, atol=5 / 64 + 1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sample_does_not_depend_on_the_neighbours_in_the_stack(channels: int) -> None:
    where = places(3, 4, 9, 9, -30, 60, seed=3)
    found = []
    for others in (0, 255):
        frames = np.full((3, 24, 30, channels), others, np.uint8)
        frames[1] = noise(24, 30, channels)
        found.append(OPS.sample(OPS.smooth(OPS.images(frames), KERNEL), where)[:, 1])
    np.testing.assert_array_equal(*found)


def test_rows_of_tables() -> None:
    table, index = noise(9, 3, 5), np.array([[4, 0], [8, 4], [1, 1]])
    np.testing.assert_array_equal(OPS.take(table, index), table[index].astype(np.float32))
    planes = OPS.take_planes(table, index)
    assert planes.shape == (3, 3, 2, 5) and planes.flags.c_contiguous and planes.dtype == np.float32
    for plane in range(3):
        np.testing.assert_array_equal(planes[plane], table[index, plane])
    assert OPS.take_index(table[:, 0, 0], index).dtype == np.int64


def test_picking() -> None:
    values, index = numbers(3, 7), np.array([[6, 0], [1, 1], [3, 2]])
    np.testing.assert_array_equal(OPS.pick(values, index), [[values[f, i] for i in index[f]] for f in range(3)])


@pytest.mark.parametrize("levels", [3, 1_000_000])
@pytest.mark.parametrize(("width", "count"), [(1, 1), (5, 1), (5, 5), (64, 7), (65, 7), (65, 65), (500, 16)])
def test_best(width: int, count: int, levels: int) -> None:
    """Of equal ones the first, however many there are."""
    values = np.random.default_rng(width).integers(0, levels, (20, width)).astype(np.float32)
    found = OPS.best(values, count)
    expected = [sorted(range(width), key=lambda index, row=row: (-row[index], index))[:count] for row in values]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("width", [5, 500])
def test_best_takes_numbers_before_what_is_none(width: int) -> None:
    values = np.full((2, width), np.nan, np.float32)
    values[0, [4, 2]] = 0.5, 1
    values[1, [1, 3]] = -np.inf, 3
    assert OPS.best(values, 2).tolist() == [[2, 4], [3, 1]]
    assert len(set(OPS.best(values, 4)[0].tolist())) == 4  # each once, though none is a number


def test_largest_mean() -> None:
    values = numbers(2, 3, 40)
    for count in (1, 4, 40):
        expected = np.sort(values, axis=-1)[..., -count:].mean(axis=-1)
        np.testing.assert_allclose(OPS.largest_mean(values, count), expected, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (13, 17), (2, 9)])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_window_means(height: int, width: int, size: int) -> None:
    """Of blocks of 2 × 2 values; windows lie inside of each picture."""
    size = min(size, height // 2)
    values = numbers(2, 3, height, width)
    found = OPS.window_means(values, size)
    rows, columns = height // 2 - size + 1, width // 2 - size + 1
    assert found.shape == (2, 3, rows * columns)
    for row in range(rows):
        for column in range(columns):
            window = values[:, :, 2 * row : 2 * (row + size), 2 * column : 2 * (column + size)]
            np.testing.assert_allclose(found[:, :, row * columns + column], window.mean(axis=(2, 3)), atol=1e-5)


@pytest.mark.parametrize("references", [1, 7, 100, 1000])
@pytest.mark.parametrize(("frames", "pixels"), [(1, 450), (3, 30), (8, 450)])
def test_explained_in_blocks_is_the_plain_product(
    references: int, frames: int, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, basis = numbers(references, pixels), numbers(frames, pixels, 4, seed=1)
    products: list[int] = []
    matmul = np.matmul

    def counted(first: Any, second: Any, **options: Any) -> Any:
        products.append(first.shape[-2] * second.size)
        return matmul(first, second, **options)

    monkeypatch.setattr(np, "matmul", counted)
    found = OPS.explained(table, basis)
    monkeypatch.undo()
    plain = np.square(np.einsum("np,fpk->fnk", table.astype(np.float64), basis)).sum(axis=2)
    np.testing.assert_allclose(found, plain, rtol=1e-3, atol=1e-3)
    assert 0 < max(products) <= operations._MAX_MULTIPLICATIONS  # else OpenBLAS takes threads of its own


def test_a_product_of_a_single_row_may_be_larger() -> None:
    table, basis = numbers(3, 30_000), numbers(3, 30_000, 4, seed=1)
    plain = np.square(np.einsum("np,fpk->fnk", table.astype(np.float64), basis)).sum(axis=2)
    np.testing.assert_allclose(OPS.explained(table, basis), plain, rtol=1e-3)


def test_arithmetic() -> None:
    first, second = numbers(2, 3, 5), numbers(2, 3, 5, seed=1)
    np.testing.assert_allclose(OPS.dot(first, second), (first * second).sum(axis=-1), rtol=1e-4)
    np.testing.assert_array_equal(OPS.sum(first, 0), first[0] + first[1])
    np.testing.assert_array_equal(OPS.stack([first, second])[..., 1], second)
    np.testing.assert_array_equal(OPS.concat([first, second])[..., 5:], second)
    clipped = OPS.clip(first, -0.25, 0.5)
    assert (clipped.min(), clipped.max()) == (-0.25, 0.5) and clipped.dtype == np.float32
    np.testing.assert_array_equal(OPS.where(first > 0, first, np.float32(0)), np.maximum(first, 0))


def test_the_algorithm_uses_no_array_library_of_its_own() -> None:
    """Tracing cannot put other operations into a graph."""
    room = Path(operations.__file__).parent
    for name in ("agreement", "alignment", "levels", "poses", "screening"):
        assert "import cv2" not in (room / f"{name}.py").read_text()
