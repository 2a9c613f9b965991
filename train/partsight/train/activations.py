"""Activations at the cut: outputs of the frozen trunk, computed once and cached on disk for all epochs."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration import Variation, vary
from partsight.runtime.core import FloatArray, Pixels, TrainingError, new_file, progress
from partsight.runtime.images import preprocess, read_image
from partsight.train.catalog_checks import PartImage
from partsight.train.features import BATCH, Extractor

_LOG = logging.getLogger("partsight.train")
_HELD_OUT = 0
"""Number of the copy that training never sees. Copies for training have the numbers 1, 2, …"""

IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Copies:
    """Varied copies of golden images. Copy `number` of an image depends on nothing but the image and the seed.

    Attributes:
        goldens: Golden images, one for each class.
        variation: Ranges of the changes, such as turn and light, that a copy may get.
        seed: Seed of the random changes.
        trunk: Frozen network from frames to the activation at the cut.
    """

    goldens: tuple[PartImage, ...]
    variation: Variation
    seed: int
    trunk: Extractor

    @property
    def identity(self) -> str:
        """SHA-256 of all inputs: trunk, variation, seed and golden images."""
        digest = hashlib.sha256(f"{self.trunk.identity}\n{self.variation}\n{self.seed}\n".encode())
        for golden in self.goldens:
            digest.update(golden.sha256.encode())
        return digest.hexdigest()

    def prepared(self, index: int, number: int | None) -> Pixels:
        """Return copy `number` of golden image `index`, (height, width, 3) uint8 BGR; None means the image itself."""
        golden = self.goldens[index]
        image = read_image(golden.path)
        if number is not None:
            rng = np.random.default_rng([self.seed, number, int(golden.sha256[:16], 16)])
            image = vary(image, self.variation, rng)
        prepared: Pixels = preprocess([image], self.trunk.spec)[0]
        return prepared

    def batches(self, wanted: Sequence[tuple[int, int | None]]) -> Iterator[FloatArray]:
        """Yield activations of (index, number) pairs, at most 32 at a time, (batch, h, w, c) float32.

        Other threads prepare the next images while the trunk runs.
        """
        chunks = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead = [pool.submit(self.prepared, *pair) for pair in chunks[0]]
            for following in [*chunks[1:], ()]:
                images = [future.result() for future in ahead]
                ahead = [pool.submit(self.prepared, *pair) for pair in following]
                yield self.trunk.run(np.stack(images))


class ActivationSource(Protocol):
    """Activations for fine-tuning."""

    @property
    def classes(self) -> int:
        """Number of parts."""

    @property
    def copies(self) -> int:
        """Number of varied copies of each part in an epoch, without its golden image."""

    @property
    def goldens(self) -> FloatArray:
        """Activations of the golden images, (classes, h, w, c) float32; the drop guard needs them exact."""

    @property
    def held_out(self) -> FloatArray:
        """Activations of one copy of each part that training never sees, (classes, h, w, c) float16."""

    def batch(self, epoch: int, items: IndexArray) -> FloatArray:
        """Return activations of items, (items, h, w, c) float32.

        Item i stands for class `i % classes` and its copy `i // classes`. Copy number `copies` is the golden image.
        """
        ...


@dataclass(frozen=True)
class CachedSource:
    """Activations of a fixed set of copies, memory-mapped; see `ActivationSource`."""

    goldens: FloatArray
    held_out: FloatArray
    stored: tuple[FloatArray, ...]

    @property
    def classes(self) -> int:
        """Number of parts."""
        return len(self.goldens)

    @property
    def copies(self) -> int:
        """Number of varied copies of each part."""
        return len(self.stored)

    def batch(self, epoch: int, items: IndexArray) -> FloatArray:  # noqa: ARG002 (every epoch sees the same copies)
        """Return activations of items; they are the same in every epoch."""
        files = (*self.stored, self.goldens)
        return np.stack([files[item // self.classes][item % self.classes] for item in items]).astype(np.float32)


@dataclass(frozen=True)
class FreshSource:
    """New copies for each epoch, which the trunk computes when they are needed; see `ActivationSource`."""

    goldens: FloatArray
    held_out: FloatArray
    drawn: Copies
    copies: int

    @property
    def classes(self) -> int:
        """Number of parts."""
        return len(self.goldens)

    def batch(self, epoch: int, items: IndexArray) -> FloatArray:
        """Return the activations of copies that no other epoch sees."""
        indices, copies = items % self.classes, items // self.classes
        first = 1 + (epoch - 1) * self.copies
        wanted = [
            (int(index), int(first + copy) if copy < self.copies else None)
            for index, copy in zip(indices, copies, strict=True)
        ]
        return np.concatenate(list(self.drawn.batches(wanted)))


@dataclass(frozen=True)
class ActivationCache:
    """Activations on disk, one memory-mapped file for each copy.

    A file gets its name only when it is complete, so an interrupt leaves no damaged file.
    """

    folder: Path
    max_bytes: float

    def open(self, copies: Copies, count: int) -> CachedSource:
        """Return the activations of `count` copies; compute the missing ones.

        If `count` copies do not fit into `max_bytes`, it logs a warning and uses as many as fit.

        Raises:
            TrainingError: Not even one copy fits, or the activations are too large for float16.
            OutputError: The folder cannot be written.
        """
        affordable = self._affordable(copies)
        if affordable < 1:
            raise TrainingError(
                f"received a limit of {self.max_bytes / 1e9:.2f} GB for cached activations; one copy of each image "
                f"needs {self._bytes(copies, 1) / 1e9:.2f} GB: raise the limit with --max-cache-gb, cut later with "
                "--cut, or use --fresh-variation"
            )
        if affordable < count:
            _LOG.warning(
                "%d copies of each image need %.2f GB of cache, but only %d fit into %.2f GB: training uses %d",
                count, self._bytes(copies, count) / 1e9, affordable, self.max_bytes / 1e9, affordable,
            )  # fmt: skip
        goldens, held_out = self._fixed(copies)
        stored = tuple(self._file(copies, number, np.float16) for number in range(1, min(count, affordable) + 1))
        return CachedSource(goldens, held_out, stored)

    def fresh(self, copies: Copies, count: int) -> FreshSource:
        """Return a source of new copies for each epoch; it caches only the golden images."""
        return FreshSource(*self._fixed(copies), copies, count)

    def _fixed(self, copies: Copies) -> tuple[FloatArray, FloatArray]:
        return self._file(copies, None, np.float32), self._file(copies, _HELD_OUT, np.float16)

    def _bytes(self, copies: Copies, count: int) -> int:
        values = len(copies.goldens) * int(np.prod(copies.trunk.network.outputs[0].shape[1:]))
        # 2 bytes a value (float16) for each copy and the held-out copy, 4 (float32) for the golden images.
        return values * (2 * (count + 1) + 4)

    def _affordable(self, copies: Copies) -> int:
        fixed, each = self._bytes(copies, 0), self._bytes(copies, 1) - self._bytes(copies, 0)
        return int((self.max_bytes - fixed) // each)

    def _file(self, copies: Copies, number: int | None, dtype: type) -> FloatArray:
        name = {None: "golden", _HELD_OUT: "held_out"}.get(number, f"copy_{number}")
        path = self.folder / "activations" / copies.identity[:32] / f"{name}.npy"
        rows = _read(path)
        if rows is None:
            _write(path, copies, number, np.dtype(dtype))
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        return rows


def _read(path: Path) -> FloatArray | None:
    """Return the activations in a file; None if the file is missing or damaged, so that it is computed again."""
    try:
        rows: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return rows


def _write(path: Path, copies: Copies, number: int | None, dtype: np.dtype) -> None:
    """Compute one copy of every image and write its activations into a file."""
    what = "activations of golden images" if number is None else f"activations, {path.stem.replace('_', ' ')}"
    shape = (len(copies.goldens), *copies.trunk.network.outputs[0].shape[1:])
    batches = copies.batches([(index, number) for index in range(len(copies.goldens))])
    # Not through a memory map: on a full disk, a write to a map kills the process.
    with new_file(path) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for batch in progress(batches, -(-shape[0] // BATCH), what, f"×{BATCH}"):
            _append(file, batch, dtype)


def _append(file: BinaryIO, batch: FloatArray, dtype: np.dtype) -> None:
    largest = np.abs(batch).max()
    if not largest <= np.finfo(dtype).max:  # true for NaN as well
        raise TrainingError(
            f"received an activation of {largest:g} at the cut, which {dtype} cannot hold; choose another --cut, or "
            "check that the weights belong to the backbone"
        )
    file.write(batch.astype(dtype).tobytes())
