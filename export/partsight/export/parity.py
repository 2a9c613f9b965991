"""Parity: Keras and ONNX Runtime must give every golden image the same label, from the image file on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.export.diagnosis import likeliest_cause
from partsight.runtime.core import FloatArray, ParityError, Pixels, RunError, progress, sha256_bytes
from partsight.runtime.inference import SCORE_NAME, PrototypeSearch, Session
from partsight.runtime.package import Manifest, Parity
from partsight.runtime.recognition import decide
from partsight.train.interrupts import interrupts_kept
from partsight.train.run_folder import GoldenRecord

MAX_SCORE_DIFFERENCE = 1e-4
BATCH = 32

_RANKED_ALIKE = 0.01
"""Difference of two scores below which their order may depend on the machine, because a GPU computes in TF32."""


@dataclass(frozen=True)
class ParityComparison:
    """Answers of both sides to every golden image.

    Attributes:
        difference: Largest absolute difference of scores for each image, (images,).
        keras_best, onnx_best: Best score for each image, (images,).
        keras_label, onnx_label: Best label for each image, accepted or not.
        is_pixels_equal: Whether the prepared pixels equal the pixels of the training, (images,) bool.
        is_as_trained: Whether Keras still gives the label of the end of training, or one whose score is hardly higher,
            (images,) bool.
    """

    difference: FloatArray
    keras_best: FloatArray
    onnx_best: FloatArray
    keras_label: tuple[str, ...]
    onnx_label: tuple[str, ...]
    is_pixels_equal: np.ndarray
    is_as_trained: np.ndarray

    @property
    def is_label_equal(self) -> np.ndarray:
        """Whether both sides name the same part, for each image."""
        return np.array([first == second for first, second in zip(self.keras_label, self.onnx_label, strict=True)])


@interrupts_kept()
def check_parity(
    network: Any,
    model: bytes,
    manifest: Manifest,
    goldens: Sequence[GoldenRecord],
    frames: Pixels,
    search: PrototypeSearch | None = None,
) -> Parity:
    """Compare Keras and ONNX Runtime on all golden images.

    Args:
        network: The run's keras.Model.
        model: Bytes of the ONNX file.
        manifest: Manifest of the package; this function uses its labels and preprocessing.
        goldens: Records of training, in the order of the classes.
        frames: Golden images as export read and prepared them for the network, (images, height, width, 3) uint8 BGR.
        search: Plain search for a model that gives bounds of scores, so that the function compares every score.

    Raises:
        ParityError: The prepared pixels or the label of an image differ, or its scores differ by more than 1e-4. The
            message names the worst image and the likeliest cause.
        RunError: Both sides agree, but on other labels than the run's record has.
    """
    session = Session(model, search=search)
    comparison = compare(network, session, manifest, goldens, frames)
    is_label_equal, difference = comparison.is_label_equal, comparison.difference
    is_close = difference <= MAX_SCORE_DIFFERENCE  # False for a score that is not a number
    if not (comparison.is_pixels_equal & is_label_equal & is_close).all():
        raise ParityError(_describe(comparison, network, session, manifest, goldens, frames))
    if not comparison.is_as_trained.all():
        raise RunError(_describe_other_network(comparison, goldens))
    own_labels = [golden.label for golden in goldens]
    return Parity(
        images=len(frames),
        labels_equal=int(is_label_equal.sum()),
        max_score_difference=float(difference.max()),
        top1_accuracy=float(np.mean([a == b for a, b in zip(comparison.onnx_label, own_labels, strict=True)])),
    )


def compare(
    network: Any, session: Session, manifest: Manifest, goldens: Sequence[GoldenRecord], frames: Pixels
) -> ParityComparison:
    """Answer every image on both sides."""
    # It does not keep the scores: for 100,000 parts they would take 40 GB.
    difference, keras_best, onnx_best, is_equal = [], [], [], []
    is_as_trained: list[bool] = []
    keras_label: list[str] = []
    onnx_label: list[str] = []
    trained_labels = [golden.label for golden in goldens]
    index_of = {label: index for index, label in enumerate(trained_labels)}
    starts = range(0, len(frames), BATCH)
    for start in progress(starts, len(starts), "Keras against ONNX Runtime", f"×{BATCH}"):
        batch = np.ascontiguousarray(frames[start : start + BATCH])
        expected = goldens[start : start + BATCH]
        is_equal += [
            sha256_bytes(row.tobytes()) == golden.pixels_sha256 for row, golden in zip(batch, expected, strict=True)
        ]
        keras, found = keras_score(network, batch), session.run(batch).score
        is_as_trained += [
            golden.predicted in index_of and row[index_of[golden.predicted]] >= row.max() - _RANKED_ALIKE
            for row, golden in zip(keras, expected, strict=True)
        ]
        difference.append(np.abs(keras - found).max(axis=1))
        keras_best.append(keras.max(axis=1))
        onnx_best.append(found.max(axis=1))
        keras_label += _best(keras, trained_labels)
        onnx_label += _best(found, manifest.labels)
    best = np.concatenate(keras_best), np.concatenate(onnx_best)
    return ParityComparison(
        np.concatenate(difference),
        *best,
        tuple(keras_label),
        tuple(onnx_label),
        is_pixels_equal=np.array(is_equal),
        is_as_trained=np.array(is_as_trained),
    )


def keras_score(network: Any, batch: Pixels) -> FloatArray:
    """Return Keras' scores of at most 32 frames, (frames, classes); it pads the batch to 32, the only compiled size."""
    padded = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
    padded[: len(batch)] = batch
    score: FloatArray = network.predict_on_batch(padded)[SCORE_NAME]
    return score[: len(batch)]


def _best(score: FloatArray, labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(answer.top[0][0] for answer in decide(score, labels, threshold=-np.inf, top=1))


def _describe_other_network(comparison: ParityComparison, goldens: Sequence[GoldenRecord]) -> str:
    first = int(comparison.is_as_trained.argmin())
    return (
        "the run's model is not the network of its record, so export wrote no package: "
        f"{int((~comparison.is_as_trained).sum())} of {len(goldens)} golden images get another label than at the end "
        f"of training, such as {goldens[first].file}: received {comparison.keras_label[first]}, expected "
        f"{goldens[first].predicted}. The reject thresholds belong to another network too: train again"
    )


def _describe(
    comparison: ParityComparison,
    network: Any,
    session: Session,
    manifest: Manifest,
    goldens: Sequence[GoldenRecord],
    frames: Pixels,
) -> str:
    difference = np.nan_to_num(comparison.difference, nan=np.inf)
    # Other pixels are worse than another label, and another label is worse than any difference of scores.
    badness = difference + 1e3 * ~comparison.is_label_equal + 1e6 * ~comparison.is_pixels_equal
    worst = int(badness.argmax())
    batch = np.ascontiguousarray(frames[worst : worst + 1])
    cause = likeliest_cause(
        manifest,
        [golden.label for golden in goldens],
        is_prepared_alike=bool(comparison.is_pixels_equal.all()),
        keras_score=keras_score(network, batch)[0],
        onnx_score=lambda batch: session.run(batch).score[0],
        batch=batch,
        is_same_as_trained=comparison.keras_label[worst] == goldens[worst].predicted,
    )
    return (
        f"ONNX Runtime and Keras disagree, so export wrote no package: {int((~comparison.is_label_equal).sum())} of "
        f"{len(frames)} labels differ, {int((~comparison.is_pixels_equal).sum())} images have other pixels than in "
        f"training, the largest score difference is {difference.max():.2g}; expected 0, 0 and at most "
        f"{MAX_SCORE_DIFFERENCE:g}. Worst image: {goldens[worst].file}: Keras gives "
        f"{comparison.keras_label[worst]} ({comparison.keras_best[worst]:.4f}), ONNX Runtime "
        f"{comparison.onnx_label[worst]} ({comparison.onnx_best[worst]:.4f}). Likeliest cause: {cause}"
    )
