"""Each suspect is named when it, and nothing before it, explains the difference."""

from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.export.diagnosis import likeliest_cause
from tests.tiny import COLOURS_BGR, solid, tiny_manifest

LABELS = tuple(COLOURS_BGR)
SCORE = np.float32([0.1, 0.2, 0.9, 0, 0, 0])


def cause(labels: tuple[str, ...] = LABELS, swapped: Any = -SCORE, straight: Any = SCORE + 1, **facts: bool) -> str:
    """Return the cause if ONNX Runtime answers `straight` to a blue image and `swapped` to a red one."""

    def onnx_score(batch: np.ndarray) -> np.ndarray:
        is_swapped = batch[0, 0, 0].tolist() == [0, 0, 255]
        return np.asarray(swapped if is_swapped else straight, np.float32)

    facts = {"is_prepared_alike": True, "is_same_as_trained": True} | facts
    return likeliest_cause(
        msgspec.structs.replace(tiny_manifest(), labels=labels),
        LABELS,
        keras_score=SCORE,
        onnx_score=onnx_score,
        batch=solid("blue")[None],
        **facts,
    )


def test_preprocessing_before_all() -> None:
    assert cause(LABELS[::-1], swapped=SCORE, is_prepared_alike=False).startswith("preprocessing")


def test_labels() -> None:
    assert cause(LABELS[::-1], swapped=SCORE).startswith("labels")


@pytest.mark.parametrize(("difference", "is_it"), [(0.0005, True), (0.002, False)])
def test_channel_order(difference: float, is_it: bool) -> None:
    assert cause(swapped=SCORE + difference).startswith("channel order") == is_it


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers(value: float) -> None:
    broken = np.full_like(SCORE, value)
    assert cause(swapped=broken, straight=broken, is_same_as_trained=False).startswith("numbers")


def test_keras_itself() -> None:
    assert cause(is_same_as_trained=False).startswith("Keras")


def test_nothing_else() -> None:
    assert cause().startswith("conversion or folding")
