"""Why do both sides differ? Each suspect is tried on the worst image; the one that explains it is named."""

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
    """Return the likeliest cause of a difference, for a person.

    Args:
        manifest: of the package in the making.
        trained_labels: in the order that training used.
        is_prepared_alike: whether the prepared pixels are those that training saw.
        is_same_as_trained: whether Keras answers as at the end of training.
        keras_score: (classes,) of the worst image.
        onnx_score: (classes,) of a batch of one, through ONNX Runtime.
        batch: the worst image, prepared: (1, height, width, 3) uint8 BGR.
    """
    if not is_prepared_alike:
        return "preprocessing: resize, region or image reader differ from the training; train again with this version"
    if tuple(trained_labels) != manifest.labels:
        return "labels: their order is not that of the training"
    if _is_close(onnx_score(batch[..., ::-1].copy()), keras_score):
        return "channel order: ONNX Runtime agrees when red and blue are swapped"
    if not np.isfinite(onnx_score(batch)).all():
        return "numbers: the ONNX graph gives values that are not finite; are the weights?"
    if not is_same_as_trained:
        return "Keras answers differently than at the end of training; compare its versions with the run's record"
    return "conversion or folding: the graphs differ; please report it with the backbone's name"


def _is_close(first: FloatArray, second: FloatArray) -> bool:
    return bool(np.abs(first - second).max() <= _CLOSE)
