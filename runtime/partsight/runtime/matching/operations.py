"""Operations: the few array operations of matching, by NumPy and OpenCV.

The algorithm (`matcher.match`) uses only these names and Python's operators. Here they compute;
`graph_operations.GraphOperations` has the same names and writes an ONNX graph. An operation that does not change the
values (`widen`) exists for the speed of one side.

Axes are named in the order (frames, candidates, points); `points` are rows × columns of a grid. Each step is one call
on a whole batch: it releases Python's lock for long enough that other threads compute meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from partsight.runtime.matching.poses import Places

_FEW = 64  # up to this many values, sorting all takes no longer than a partition
_PAD_ROWS = 4  # repeated above and below each image of a stack: no filter of the algorithm reaches farther

_MAX_MULTIPLICATIONS = 2**18
"""Largest product that OpenBLAS computes in the caller's thread. It shares a larger one among threads that spin
afterwards, on cores that the network and other frames need."""


@dataclass(frozen=True)
class Images:
    """Images of a batch, stacked as one tall image with repeated rows between them.

    One OpenCV call filters or samples the whole stack. The repeated rows keep a filter from reaching into the
    neighbour.

    Attributes:
        values: Pixels, (frames, rows + height + rows, width, channels) float32 or uint8, contiguous.
        rows: Number of repeated rows above and below each image.
    """

    values: np.ndarray
    rows: int

    @property
    def tall(self) -> np.ndarray:
        """The stack as one image, a view: (all rows, width, channels), or (all rows, width) for one channel."""
        frames, height, width, channels = self.values.shape
        return self.values.reshape(frames * height, width, *((channels,) if channels > 1 else ()))

    def like(self, tall: np.ndarray, rows: int) -> "Images":
        """Return images from a tall image of as many images."""
        frames = len(self.values)
        channels = tall.shape[2] if tall.ndim == 3 else 1
        return Images(tall.reshape(frames, len(tall) // frames, tall.shape[1], channels), rows)


class ArrayOperations:
    """The operations on NumPy arrays, without state."""

    @staticmethod
    def images(frames: np.ndarray) -> Images:
        """Return (frames, height, width, channels) uint8 as images."""
        return Images(np.ascontiguousarray(frames), 0)

    @staticmethod
    def mix(images: Images, weights: Sequence[float]) -> Images:
        """Return one channel: the weighted sum of all, float32."""
        tall = images.tall
        mixed = cv2.transform(tall if tall.dtype == np.float32 else tall.astype(np.float32), np.array([weights]))
        return images.like(np.asarray(mixed), images.rows)

    @staticmethod
    def block_means(images: Images, size: int) -> Images:
        """Return images made of the means of size × size pixels."""
        height, width = images.tall.shape[:2]
        return images.like(
            np.asarray(cv2.resize(images.tall, (width // size, height // size), interpolation=cv2.INTER_AREA)), 0
        )

    @staticmethod
    def smooth(images: Images, kernel: np.ndarray) -> Images:
        """Filter rows and columns with an odd kernel, float32; pixels beyond the border repeat the border."""
        frames, height, width, channels = images.values.shape
        padded = np.empty((frames, height + 2 * _PAD_ROWS, width, channels), images.values.dtype)
        padded[:, _PAD_ROWS:-_PAD_ROWS] = images.values
        padded[:, :_PAD_ROWS] = images.values[:, :1]
        padded[:, -_PAD_ROWS:] = images.values[:, -1:]
        padded_images = Images(padded, _PAD_ROWS)
        smoothed = cv2.sepFilter2D(padded_images.tall, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
        return images.like(np.asarray(smoothed), _PAD_ROWS)

    @staticmethod
    def widen(images: Images, filler: Images) -> Images:
        """Return images with a fourth channel that is never read: OpenCV samples four channels faster than three."""
        return images.like(cv2.merge([*cv2.split(images.tall), filler.tall]), images.rows)

    @staticmethod
    def pixels(images: Images) -> Any:
        """Return (frames, height, width) of images with one channel."""
        return images.values[:, images.rows : images.values.shape[1] - images.rows, :, 0]

    @staticmethod
    def channels(images: Images) -> list[np.ndarray]:
        """Return each channel of a single image, (height, width)."""
        values = images.values[0, images.rows : images.values.shape[1] - images.rows]
        return [np.ascontiguousarray(values[:, :, channel]) for channel in range(values.shape[2])]

    @staticmethod
    def sample(images: Images, places: "Places") -> Any:
        """Sample each frame bilinearly; a place beyond the border takes the border's value.

        Returns:
            (channels, frames, candidates, rows × columns) float32.
        """
        count, height, _, channels = images.values.shape
        # y counts from the first row of the stack. Clipping it to the frame's own rows repeats the border; OpenCV
        # does so in x.
        first = (np.arange(count, dtype=np.float32) * height + images.rows)[:, None, None]
        x = places.x_of_column[:, :, None, :] + places.x_of_row[:, :, :, None]
        y = (places.y_of_column + first)[:, :, None, :] + places.y_of_row[:, :, :, None]
        x += places.shift_x
        y += places.shift_y
        np.maximum(y, first[..., None], out=y)
        np.minimum(y, first[..., None] + (height - 2 * images.rows - 1), out=y)
        rows, columns = x.size // x.shape[-1], x.shape[-1]
        x, y = x.reshape(rows, columns), y.reshape(rows, columns)
        planes = sampled = cv2.remap(images.tall, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if channels > 1:
            planes = np.empty((channels, rows, columns), np.float32)
            cv2.split(sampled, list(planes))
        return np.asarray(planes).reshape(channels, count, -1, places.y_of_row.shape[-1] * columns)

    @staticmethod
    def take(table: np.ndarray, index: np.ndarray) -> Any:
        """Return rows of a table, (*index.shape, *table.shape[1:]) float32."""
        return table[index].astype(np.float32)

    @staticmethod
    def take_planes(table: np.ndarray, index: np.ndarray) -> Any:
        """Return rows of a table, its second axis first: (table.shape[1], *index.shape, *table.shape[2:]) float32."""
        return np.moveaxis(table[index], index.ndim, 0).astype(np.float32, order="C")

    @staticmethod
    def take_index(table: np.ndarray, index: np.ndarray) -> Any:
        """Return rows of a table of indices, int64."""
        return table[index].astype(np.int64)

    @staticmethod
    def pick(values: np.ndarray, index: np.ndarray) -> Any:
        """Return values[..., index] along the last axis, row by row."""
        if values.ndim == 2:  # same result in a fifth of the time
            return values[np.arange(len(values))[:, None], index]
        return np.take_along_axis(values, index, axis=-1)

    @staticmethod
    def pick_blocks(values: np.ndarray, index: np.ndarray) -> Any:
        """Return values[:, index], frame by frame: (frames, fewer, rows, columns) of (frames, candidates, …)."""
        return values[np.arange(len(values))[:, None], index]

    @staticmethod
    def best(values: np.ndarray, count: int) -> Any:
        """Return the indices of the `count` largest along the last axis, largest first; of equal ones the first."""
        rest = -values
        if values.shape[-1] > _FEW:
            found = np.argpartition(rest, count - 1, axis=-1)[..., :count]
            last = np.take_along_axis(rest, found[..., -1:], axis=-1)
            if np.count_nonzero(rest <= last) == found.size:  # else another value equals the last one, or one is NaN
                found.sort(axis=-1)
                order = np.argsort(np.take_along_axis(rest, found, axis=-1), axis=-1, kind="stable")
                return np.take_along_axis(found, order, axis=-1)
        return np.argsort(rest, axis=-1, kind="stable")[..., :count]

    @staticmethod
    def largest_mean(values: np.ndarray, count: int) -> Any:
        """Return the mean of the `count` largest along the last axis."""
        return np.partition(values, values.shape[-1] - count, axis=-1)[..., -count:].mean(axis=-1)

    @staticmethod
    def window_means(values: np.ndarray, size: int) -> Any:
        """Return the means over windows of size × size blocks that lie inside; a block is 2 × 2 values.

        Args:
            values: Values, (frames, candidates, height, width) float32, contiguous.
            size: Side of a window, in blocks.

        Returns:
            (frames, candidates, windows).
        """
        frames, candidates, height, width = values.shape
        rows, columns = height // 2, width // 2
        if height % 2 or width % 2:
            values = np.ascontiguousarray(values[:, :, : 2 * rows, : 2 * columns])
        tall = values.reshape(-1, 2 * columns)
        blocks = cv2.resize(tall, (columns, len(tall) // 2), interpolation=cv2.INTER_AREA)
        means = np.asarray(cv2.blur(blocks, (size, size), anchor=(0, 0))).reshape(frames, candidates, rows, columns)
        inside = means[:, :, : rows - size + 1, : columns - size + 1]
        return inside.reshape(frames, candidates, -1)

    @staticmethod
    def explained(table: np.ndarray, basis: np.ndarray) -> Any:
        """Return the square of each reference's part in the span of each frame's basis, |QᵀG|²: see `screening`.

        Args:
            table: Thumbnails of the references, (references, pixels) float32.
            basis: Orthonormal basis of each frame, (frames, pixels, 4) float32.

        Returns:
            (frames, references) float32.
        """
        frames, pixels, few = basis.shape
        # The bases of all frames side by side, (pixels, 4 frames): one product for the batch, in blocks of rows of the
        # table that are small enough for OpenBLAS to stay in this thread.
        together = np.ascontiguousarray(basis.transpose(1, 2, 0)).reshape(pixels, few * frames)
        block = max(1, _MAX_MULTIPLICATIONS // together.size)
        whole = len(table) // block * block
        inside = np.empty((len(table), few * frames), np.float32)
        blocks = table[:whole].reshape(-1, block, pixels)
        np.matmul(blocks, together, out=inside[:whole].reshape(len(blocks), block, few * frames))
        np.matmul(table[whole:], together, out=inside[whole:])
        inside *= inside
        return np.ascontiguousarray(inside.reshape(len(table), few, frames).sum(axis=1).T)

    @staticmethod
    def dot(first: np.ndarray, second: np.ndarray) -> Any:
        """Return the sums of products along the last axis."""
        return np.einsum("...p,...p->...", first, second)

    @staticmethod
    def sum(values: np.ndarray, axis: int) -> Any:
        """Return sums along an axis."""
        return values.sum(axis=axis)

    @staticmethod
    def stack(values: Sequence[np.ndarray]) -> Any:
        """Join along a new last axis."""
        return np.stack(values, axis=-1)

    @staticmethod
    def concat(values: Sequence[np.ndarray]) -> Any:
        """Join along the last axis."""
        return np.concatenate(values, axis=-1)

    @staticmethod
    def clip(values: np.ndarray, low: float, high: float) -> Any:
        """Return values clipped to [low, high]."""
        return np.minimum(np.maximum(values, np.float32(low)), np.float32(high))

    @staticmethod
    def where(condition: np.ndarray, first: Any, second: Any) -> Any:
        """Return `first` where the condition holds, else `second`."""
        return np.where(condition, first, second)

    sqrt, sin, cos, atan = (staticmethod(function) for function in (np.sqrt, np.sin, np.cos, np.arctan))
