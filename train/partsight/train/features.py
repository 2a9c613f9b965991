"""Bottleneck features: outputs of the frozen backbone for each image, computed once and cached on disk."""

import hashlib
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from partsight.runtime.core import FloatArray, Pixels, progress, sha256_bytes, write_file
from partsight.runtime.images import PreprocessSpec, preprocess, read_image
from partsight.train.catalog_checks import PartImage
from partsight.train.cuts import describe
from partsight.train.framework import keras, tf

BATCH = 32

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Extractor:
    """A frozen network from frames to feature vectors.

    Attributes:
        network: A keras.Model from (batch, height, width, 3) uint8 BGR to (batch, d) float32.
        spec: Preprocessing of its frames.
        identity: SHA-256 of weights, layers and preprocessing; the name of its folder in the cache.
    """

    network: Any
    spec: PreprocessSpec
    identity: str

    @classmethod
    def of(cls, network: Any, spec: PreprocessSpec, architecture: str) -> "Extractor":
        """Return an extractor whose identity follows from weights, layers and preprocessing.

        Args:
            network: Frozen network, a keras.Model.
            spec: Preprocessing of its frames.
            architecture: Name of the network, for properties that its layers do not show.
        """
        seen = msgspec.structs.replace(spec, golden_hw=None)  # it changes no pixel
        parts = [architecture, describe(network), repr(seen), tf.__version__, keras.__version__]
        parts += [sha256_bytes(np.ascontiguousarray(weight).tobytes()) for weight in network.get_weights()]
        return cls(network, spec, sha256_bytes("\n".join(parts).encode()))

    def features(self, images: Iterable[Pixels], total: int, what: str) -> FloatArray:
        """Return the features of `total` images, (total, d) float32; show progress and read 32 images at a time."""
        source = iter(images)
        bar = progress(range(-(-total // BATCH)), -(-total // BATCH), what, f"×{BATCH}")
        return np.concatenate([self.run(preprocess(list(itertools.islice(source, BATCH)), self.spec)) for _ in bar])

    def run(self, batch: Pixels) -> FloatArray:
        """Return the features of at most 32 prepared images; it pads the batch to 32, the only compiled size."""
        padded = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
        padded[: len(batch)] = batch
        rows: FloatArray = self.network.predict_on_batch(padded)
        return rows[: len(batch)]


@dataclass(frozen=True)
class FeatureCache:
    """Features on disk, one file for each image content and extractor; trainings may share it."""

    folder: Path

    def golden_features(self, extractor: Extractor, goldens: Sequence[PartImage]) -> tuple[FloatArray, int]:
        """Return the features of golden images; compute only features that the cache lacks.

        Args:
            extractor: Frozen network.
            goldens: Golden images.

        Returns:
            Features, (images, d) float32, and the number of images computed in this call.
        """
        folder = self.folder / extractor.identity[:32]
        rows = [_load(_file(folder, golden)) for golden in goldens]
        missing = [index for index, row in enumerate(rows) if row is None]
        starts = range(0, len(missing), BATCH)
        for start in progress(starts, len(starts), "features of golden images", f"×{BATCH}"):
            chunk = missing[start : start + BATCH]
            images = [read_image(goldens[index].path) for index in chunk]
            found = extractor.run(preprocess(images, extractor.spec))
            for index, row in zip(chunk, found, strict=True):
                rows[index] = row
                # No flush: thousands would take minutes on a hard disk, and each file carries a digest of its content.
                write_file(_file(folder, goldens[index]), _encode(row), is_flushed=False)
        return np.stack([row for row in rows if row is not None]), len(missing)


def _file(folder: Path, golden: PartImage) -> Path:
    return folder / golden.sha256[:2] / f"{golden.sha256}.npy"


def _load(path: Path) -> FloatArray | None:
    """Return the features in a file; None if the file is missing or damaged, so that they are computed again."""
    try:
        data = path.read_bytes()
        content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        row: FloatArray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError):
        return None
    return row


def _encode(row: FloatArray) -> bytes:
    """Return the features as an .npy file, followed by its SHA-256."""
    buffer = io.BytesIO()
    np.save(buffer, row, allow_pickle=False)
    content = buffer.getvalue()
    return content + hashlib.sha256(content).digest()
