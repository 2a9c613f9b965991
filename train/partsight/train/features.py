"""Bottleneck features: outputs of the frozen backbone for each image, computed once and cached on disk."""

import contextlib
import hashlib
import io
import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from partsight.runtime.core import BatchMap, FloatArray, Pixels, map_here, progress, sha256_bytes, write_file
from partsight.runtime.images import PreprocessSpec, preprocess, read_image
from partsight.runtime.matching import usable_cores
from partsight.train.catalog_checks import PartImage
from partsight.train.cuts import describe
from partsight.train.framework import keras, keras_settings, tf

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


@dataclass
class FeatureBatch:
    """Computes the features of image files; it pickles, so that other processes can do it, too.

    Attributes:
        extractor: Frozen network; another process loads it from the bytes that pickle.
        threads: Threads of TensorFlow, as many as in the process of the command: with another number the last digits
            of features differ.
    """

    extractor: Extractor | None
    threads: int = field(default_factory=usable_cores)
    _model: bytes = b""
    _spec: PreprocessSpec | None = None

    def __getstate__(self) -> dict[str, Any]:
        if self.extractor is None:
            return self.__dict__
        model, spec = _encode_model(self.extractor.network), self.extractor.spec
        return {"extractor": None, "threads": self.threads, "_model": model, "_spec": spec}

    def __call__(self, paths: Sequence[Path]) -> FloatArray:
        """Return the features of at most 32 image files, (files, d) float32.

        Raises:
            ImageError: A file cannot be read.
        """
        extractor = self.extractor = self.extractor or self._load()
        return extractor.run(preprocess([read_image(path) for path in paths], extractor.spec))

    def _load(self) -> Extractor:
        assert self._spec is not None
        tf.config.experimental.enable_op_determinism()  # as in the training
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already: this process is the command's
            tf.config.threading.set_intra_op_parallelism_threads(self.threads)
        with keras_settings():
            return Extractor(_decode_model(self._model), self._spec, "")


@dataclass(frozen=True)
class FeatureCache:
    """Features on disk, one file for each image content and extractor; trainings may share it."""

    folder: Path

    def golden_features(
        self, extractor: Extractor, goldens: Sequence[PartImage], run: BatchMap = map_here
    ) -> tuple[FloatArray, int]:
        """Return the features of golden images; compute only features that the cache lacks.

        Args:
            extractor: Frozen network.
            goldens: Golden images.
            run: Map over the batches.

        Returns:
            Features, (images, d) float32, and the number of images computed in this call.
        """
        folder = self.folder / extractor.identity[:32]
        rows = [_load(_file(folder, golden)) for golden in goldens]
        missing = [index for index, row in enumerate(rows) if row is None]
        chunks = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
        batches = [tuple(goldens[index].path.absolute() for index in chunk) for chunk in chunks]
        done = run(FeatureBatch(extractor), batches)
        shown = progress(zip(chunks, done, strict=True), len(chunks), "features of golden images", f"×{BATCH}")
        for chunk, found in shown:
            for index, row in zip(chunk, found, strict=True):
                rows[index] = row
                # No flush: thousands would take minutes on a hard disk, and each file carries a digest of its content.
                write_file(_file(folder, goldens[index]), _encode(row), is_flushed=False)
        return np.stack([row for row in rows if row is not None]), len(missing)


def _encode_model(network: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        return path.read_bytes()


def _decode_model(data: bytes) -> Any:
    from partsight.train import layers  # noqa: F401, PLC0415 (their import tells Keras about them)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(data)
        return keras.saving.load_model(path, compile=False)


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
