"""Diagnosis: the likeliest cause why Keras and ONNX Runtime give different answers."""

from collections.abc import Callable, Sequence

import numpy as np

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.package import Manifest

_CLOSE = 1e-3


def likeliest_cause(
    manifest: Manifest,
    trained_labels: Sequence[str],
    *,
    is_prepared_alike: bool,
    is_same_as_trained: bool,
    keras_score: FloatArray,
    onnx_score: Callable[[Pixels], FloatArray],
    batch: Pixels,
) -> str:
    """Test each possible cause on the worst image, and return the first that explains the difference, for a person.

    Args:
        manifest: Manifest of the package.
        trained_labels: Labels in the order of the training.
        is_prepared_alike: Whether the prepared pixels equal the pixels of the training.
        is_same_as_trained: Whether Keras answers as at the end of training.
        keras_score: Scores of Keras for the worst image, (classes,).
        onnx_score: Function of a batch of one frame; returns ONNX Runtime's scores, (classes,).
        batch: Worst image, prepared, (1, height, width, 3) uint8 BGR.
    """
    if not is_prepared_alike:
        return "preprocessing: resize, region or image reader differ from the training; train again with this version"
    if tuple(trained_labels) != manifest.labels:
        return "labels: their order is not that of the training"
    if _is_close(onnx_score(batch[..., ::-1].copy()), keras_score):
        return "channel order: ONNX Runtime agrees when red and blue are swapped"
    if not np.isfinite(onnx_score(batch)).all():
        return "numbers: the ONNX graph gives values that are not finite; check the weights and train again"
    if not is_same_as_trained:
        return "Keras answers differently than at the end of training; compare the versions here with the run's record"
    return "conversion or folding: the graphs differ; please report it with the backbone's name"


def _is_close(first: FloatArray, second: FloatArray) -> bool:
    return bool(np.abs(first - second).max() <= _CLOSE)
