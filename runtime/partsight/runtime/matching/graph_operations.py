"""Graph operations: the operations of `matching.operations`, on nodes of an ONNX graph instead of arrays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from partsight.runtime.core import FloatArray
from partsight.runtime.matching.graph_nodes import FRAMES_TRACED, Node, integers

if TYPE_CHECKING:
    from partsight.runtime.matching.poses import Places

_ATAN = (
    0.9999998211860657,
    -0.3333176076412201,
    0.19963231682777405,
    -0.1391036957502365,
    0.09173526614904404,
    -0.03794481605291367,
)
"""Coefficients of x, x³, …, x¹¹ of a polynomial within 1e-8 of the arctangent up to 0.6; poses turn up to 0.42 rad."""


class GraphOperations:
    """The operations of `ArrayOperations` on nodes. Images are (frames, channels, height, width) float32."""

    @staticmethod
    def images(frames: Node) -> Node:
        """Return (frames, height, width, channels) uint8 as images."""
        return frames.cast(np.float32).transpose(0, 3, 1, 2)

    @staticmethod
    def mix(images: Node, weights: Sequence[float]) -> Node:
        """Return one channel: the weighted sum of all."""
        _, channels, height, width = images.shape
        mixed = np.array([weights], np.float32) @ images.reshape(-1, channels, height * width)
        return mixed.reshape(-1, 1, height, width)

    @staticmethod
    def block_means(images: Node, size: int) -> Node:
        """Return images made of the means of size × size pixels."""
        return _pooled(images, size, size)

    @staticmethod
    def smooth(images: Node, kernel: FloatArray) -> Node:
        """Filter rows and columns with an odd kernel; pixels beyond the border repeat the border."""
        reach, (frames, channels, height, width) = len(kernel) // 2, images.shape
        pads, shape = integers([0, 0, reach, reach] * 2), (frames, channels, height + 2 * reach, width + 2 * reach)
        padded = images.trace.add("Pad", [images, pads], shape, mode="edge")
        for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
            padded = _convolved(padded, np.repeat(kernel.reshape(shape), channels, axis=0), channels)
        return padded

    @staticmethod
    def widen(images: Node, filler: Node) -> Node:  # noqa: ARG004
        """Return the images as they are: a fourth channel would not make GridSample faster."""
        return images

    @staticmethod
    def pixels(images: Node) -> Node:
        """Return (frames, height, width) of images with one channel."""
        return images[:, 0]

    @staticmethod
    def sample(images: Node, places: "Places") -> Node:
        """Sample each frame bilinearly; a place beyond the border takes the border's value.

        Returns:
            (channels, frames, candidates, rows × columns) float32.
        """
        _, channels, height, width = images.shape
        x = _grid_axis(places.x_of_column, places.x_of_row, places.shift_x, width)
        y = _grid_axis(places.y_of_column, places.y_of_row, places.shift_y, height)
        _, candidates, rows, columns = x.shape
        grid = GraphOperations.stack([x, y]).reshape(-1, candidates * rows, columns, 2)
        # ONNX Runtime's CPU kernel is fast only with zeros as padding (microsoft/onnxruntime#27359). `_grid_axis` clips
        # the places to the outermost pixels, so the padding never contributes.
        sampled = images.trace.add(
            "GridSample",
            [images, grid],
            (FRAMES_TRACED, channels, candidates * rows, columns),
            align_corners=0,
            mode="bilinear",
            padding_mode="zeros",
        )
        if channels == 1:
            return sampled.reshape(1, -1, candidates, rows * columns)
        return sampled.reshape(-1, channels, candidates, rows * columns).transpose(1, 0, 2, 3)

    @staticmethod
    def take(table: Node, index: Node) -> Node:
        """Return rows of a table as float32."""
        return _rows(table, index).cast(np.float32)

    @staticmethod
    def take_planes(table: Node, index: Node) -> Node:
        """Return rows of a table as float32, its second axis first."""
        rows, plane = _rows(table, index), len(index.shape)
        return rows.transpose(plane, *(axis for axis in range(len(rows.shape)) if axis != plane)).cast(np.float32)

    @staticmethod
    def take_index(table: Node, index: Node) -> Node:
        """Return rows of a table of indices, int64."""
        return _rows(table, index).cast(np.int64)

    @staticmethod
    def pick(values: Node, index: Node) -> Node:
        """Return values[..., index] along the last axis, row by row."""
        return values.trace.add("GatherElements", [values, index], index.shape, axis=len(values.shape) - 1)

    @staticmethod
    def pick_blocks(values: Node, index: Node) -> Node:
        """Return values[:, index], frame by frame: (frames, fewer, rows, columns) of (frames, candidates, …)."""
        shape = (*index.shape, *values.shape[2:])
        indices = index.trace.add("Unsqueeze", [index, integers([2])], (*index.shape, 1))
        return values.trace.add("GatherND", [values, indices], shape, batch_dims=1)

    @staticmethod
    def best(values: Node, count: int) -> Node:
        """Return the indices of the `count` largest along the last axis, largest first; of equal ones the first."""
        return values.trace.add_top_k(values, count)[1]

    @staticmethod
    def largest_mean(values: Node, count: int) -> Node:
        """Return the mean of the `count` largest along the last axis."""
        return GraphOperations.sum(values.trace.add_top_k(values, count)[0], -1) * (1 / count)

    @staticmethod
    def window_means(values: Node, size: int) -> Node:
        """Return the means over windows of size × size blocks that lie inside; a block is 2 × 2 values."""
        means = _pooled(_pooled(values, 2, 2), size, 1)
        _, candidates, rows, columns = means.shape
        return means.reshape(-1, candidates, rows * columns)

    @staticmethod
    def explained(table: Node, basis: Node) -> Node:
        """Return the square of each reference's part in the span of each frame's basis, (frames, references)."""
        (frames, pixels, few), references = basis.shape, table.shape[0]
        across = basis.transpose(0, 2, 1).reshape(-1, pixels)
        inside = table.trace.add("Gemm", [across, table], (frames * few, references), transB=1)[:, None]
        # A size of 0 keeps the size of the input: the bank may grow.
        inside = table.trace.add("Reshape", [inside, integers((-1, few, 0))], (frames, few, references))
        return GraphOperations.sum(inside * inside, 1)

    @staticmethod
    def dot(first: Node, second: Node) -> Node:
        """Return the sums of products along the last axis."""
        return GraphOperations.sum(first * second, -1)

    @staticmethod
    def sum(values: Node, axis: int) -> Node:
        """Return sums along an axis."""
        axis %= len(values.shape)
        shape = values.shape[:axis] + values.shape[axis + 1 :]
        return values.trace.add("ReduceSum", [values, integers([axis])], shape, keepdims=0)

    @staticmethod
    def stack(values: Sequence[Node]) -> Node:
        """Join along a new last axis."""
        return GraphOperations.concat([value[..., None] for value in values])

    @staticmethod
    def concat(values: Sequence[Node]) -> Node:
        """Join along the last axis."""
        shape = (*values[0].shape[:-1], sum(value.shape[-1] for value in values))
        return values[0].trace.add("Concat", values, shape, axis=len(shape) - 1)

    @staticmethod
    def clip(values: Node, low: float, high: float) -> Node:
        """Return values clipped to [low, high]."""
        return values.trace.add("Clip", [values, np.float32(low), np.float32(high)], values.shape)

    @staticmethod
    def where(condition: Node, first: Any, second: Any) -> Node:
        """Return `first` where the condition holds, else `second`."""
        shape = np.broadcast_shapes(condition.shape, np.shape(first), np.shape(second))
        return condition.trace.add("Where", [condition, first, second], shape, first.dtype)

    @staticmethod
    def sqrt(values: Node) -> Node:
        """Return square roots."""
        return values.trace.add("Sqrt", [values], values.shape)

    @staticmethod
    def sin(values: Node) -> Node:
        """Return sines."""
        return values.trace.add("Sin", [values], values.shape)

    @staticmethod
    def cos(values: Node) -> Node:
        """Return cosines."""
        return values.trace.add("Cos", [values], values.shape)

    @staticmethod
    def atan(values: Node) -> Node:
        """Return arctangents of values from -0.6 to 0.6."""
        square = values * values
        sums = square * _ATAN[-1] + _ATAN[-2]
        for factor in _ATAN[-3::-1]:
            sums = sums * square + factor
        return sums * values


def _rows(table: Node, index: Node) -> Node:
    return table.trace.add("Gather", [table, index], (*index.shape, *table.shape[1:]), axis=0)


def _convolved(images: Node, kernels: FloatArray, group: int) -> Node:
    """Filter images with kernels, (channels out, channels in of a group, height, width); the result has no border."""
    (frames, _, height, width), (channels, _, rows, columns) = images.shape, kernels.shape
    shape = frames, channels, height - rows + 1, width - columns + 1
    return images.trace.add("Conv", [images, kernels], shape, kernel_shape=(rows, columns), group=group)


def _pooled(images: Node, size: int, step: int) -> Node:
    """Return the means of windows of size × size values that lie inside the image, `step` values apart."""
    frames, channels, height, width = images.shape
    shape = frames, channels, (height - size) // step + 1, (width - size) // step + 1
    return images.trace.add("AveragePool", [images], shape, kernel_shape=(size, size), strides=(step, step))


def _grid_axis(of_column: Node, of_row: Node, shift: Any, size: int) -> Node:
    """Return places along one axis of an image, in GridSample's unit, (frames, candidates, rows, columns).

    GridSample (align_corners=0) counts from -1 at the outer edge of the first pixel to 1 at that of the last, so the
    centre of pixel p of `size` pixels is at 2 p / size + 1 / size - 1. Places beyond the outermost centres are clipped
    to them: that repeats the border.

    Args:
        of_column: Part of each place that its column adds, (frames, candidates, columns), in pixels.
        of_row: Part of each place that its row adds, (frames, candidates, rows), in pixels.
        shift: Part that both add, (frames, candidates, rows, columns), in pixels; 0 for none.
        size: Size of the axis, in pixels.
    """
    of_column, of_row = of_column * (2 / size) + (1 / size - 1), of_row * (2 / size)
    places = of_column[:, :, None, :] + of_row[:, :, :, None]
    if isinstance(shift, Node):
        places = places + shift * (2 / size)
    return GraphOperations.clip(places, 1 / size - 1, 1 - 1 / size)
