"""Parity: from image file to label, through Keras and through ONNX Runtime, over the whole catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.export.diagnose import likeliest_cause
from partsight.runtime.decision import decide
from partsight.runtime.errors import ParityError
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Manifest, Parity
from partsight.runtime.preprocess import preprocess
from partsight.runtime.session import SCORE_NAME, FloatArray, Session
from partsight.runtime.storage import sha256_bytes
from partsight.train.progress import progress
from partsight.train.run_folder import GoldenRecord

MAX_SCORE_DIFFERENCE = 1e-4
BATCH = 32


@dataclass(frozen=True)
class Comparison:
    """What both sides said of every golden image.

    Attributes:
        keras_score, onnx_score: (images, classes) float32.
        keras_label, onnx_label: the best label of each, whether accepted or not.
        is_pixels_equal: (images,) bool: whether the prepared pixels are those that training saw.
    """

    keras_score: FloatArray
    onnx_score: FloatArray
    keras_label: tuple[str, ...]
    onnx_label: tuple[str, ...]
    is_pixels_equal: np.ndarray

    @property
    def difference(self) -> FloatArray:
        """Largest absolute difference of the scores of each image."""
        worst: FloatArray = np.abs(self.keras_score - self.onnx_score).max(axis=1)
        return worst

    @property
    def is_label_equal(self) -> np.ndarray:
        """Whether both sides name the same part, for each image."""
        return np.array([first == second for first, second in zip(self.keras_label, self.onnx_label, strict=True)])


def check_parity(
    network: Any, model: bytes, manifest: Manifest, goldens: Sequence[GoldenRecord], images: Sequence[Pixels]
) -> Parity:
    """Compare both sides and refuse a difference.

    Args:
        network: the run's keras.Model.
        model: the ONNX file's bytes.
        manifest: that will be written beside it; its labels and preprocessing are used.
        goldens: what training recorded of each image, in the order of the classes.
        images: the golden images, as read from their files.

    Raises:
        ParityError: an image is prepared differently than in training, is given another label, or has scores
            that differ by more than 1e-4. The message names the worst image and the likeliest cause.
    """
    session = Session(model)
    comparison = compare(network, session, manifest, goldens, images)
    is_label_equal, difference = comparison.is_label_equal, comparison.difference
    is_close = difference <= MAX_SCORE_DIFFERENCE  # False for a score that is not a number
    if not (comparison.is_pixels_equal & is_label_equal & is_close).all():
        raise ParityError(_describe(comparison, session, manifest, goldens, images))
    own_labels = [golden.label for golden in goldens]
    return Parity(
        images=len(images),
        labels_equal=int(is_label_equal.sum()),
        max_score_difference=float(difference.max()),
        top1_accuracy=float(np.mean([a == b for a, b in zip(comparison.onnx_label, own_labels, strict=True)])),
    )


def compare(
    network: Any, session: Session, manifest: Manifest, goldens: Sequence[GoldenRecord], images: Sequence[Pixels]
) -> Comparison:
    """Answer every image on both sides, with a progress bar."""
    keras_scores, onnx_scores, is_equal = [], [], []
    starts = range(0, len(images), BATCH)
    for start in progress(starts, len(starts), "Keras against ONNX Runtime", f"×{BATCH}"):
        batch = preprocess(images[start : start + BATCH], manifest.preprocess)
        expected = goldens[start : start + BATCH]
        is_equal += [
            sha256_bytes(row.tobytes()) == golden.pixels_sha256 for row, golden in zip(batch, expected, strict=True)
        ]
        keras_scores.append(keras_score(network, batch))
        onnx_scores.append(session.run(batch).score)
    keras_all, onnx_all = np.concatenate(keras_scores), np.concatenate(onnx_scores)
    trained_labels = [golden.label for golden in goldens]
    return Comparison(
        keras_all, onnx_all, _best(keras_all, trained_labels), _best(onnx_all, manifest.labels), np.array(is_equal)
    )


def keras_score(network: Any, batch: Pixels) -> FloatArray:
    """Return Keras' scores of a batch of at most 32, padded to the one size that is compiled."""
    padded = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
    padded[: len(batch)] = batch
    score: FloatArray = network.predict_on_batch(padded)[SCORE_NAME]
    return score[: len(batch)]


def _best(score: FloatArray, labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(answer.top[0][0] for answer in decide(score, labels, threshold=-np.inf, top=1))


def _describe(
    comparison: Comparison,
    session: Session,
    manifest: Manifest,
    goldens: Sequence[GoldenRecord],
    images: Sequence[Pixels],
) -> str:
    difference = np.nan_to_num(comparison.difference, nan=np.inf)
    # An image with a wrong label is worse than any with a wrong score, one with other pixels than both.
    badness = difference + 1e3 * ~comparison.is_label_equal + 1e6 * ~comparison.is_pixels_equal
    worst = int(badness.argmax())
    cause = likeliest_cause(
        manifest,
        [golden.label for golden in goldens],
        is_prepared_alike=bool(comparison.is_pixels_equal.all()),
        keras_score=comparison.keras_score[worst],
        onnx_score=lambda batch: session.run(batch).score[0],
        batch=preprocess([images[worst]], manifest.preprocess),
        is_same_as_trained=comparison.keras_label[worst] == goldens[worst].predicted,
    )
    return (
        f"ONNX Runtime and Keras disagree, so nothing was written: {int((~comparison.is_label_equal).sum())} of "
        f"{len(images)} labels differ, {int((~comparison.is_pixels_equal).sum())} images are prepared differently than "
        f"in training, the largest score difference is {difference.max():.2g}; expected 0, 0 and at most "
        f"{MAX_SCORE_DIFFERENCE:g}. Worst image: {goldens[worst].file}: Keras says "
        f"{comparison.keras_label[worst]} ({comparison.keras_score[worst].max():.4f}), ONNX Runtime "
        f"{comparison.onnx_label[worst]} ({comparison.onnx_score[worst].max():.4f}). Likeliest cause: {cause}"
    )
