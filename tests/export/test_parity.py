"""Export checks that a run's model is the network in its record."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partsight.export.parity import BATCH, compare
from partsight.runtime.images import preprocess
from partsight.runtime.inference.engine import SCORE_NAME
from partsight.train.run_folder import GoldenRecord
from tests.tiny import COLOURS_BGR, solid, tiny_manifest


@pytest.mark.parametrize(
    ("scores", "predicted", "is_as_trained"),
    [((0.9, 0.2), 0, True), ((0.9, 0.896), 1, True), ((0.9, 0.88), 1, False), ((0.9, 0.88), None, False)],
    ids=["same", "as high", "lower", "no label"],
)
def test_the_label_of_the_training(scores: tuple[float, float], predicted: int | None, is_as_trained: bool) -> None:
    """Labels with nearly equal scores may swap on another machine; the run is still sound."""
    labels = list(COLOURS_BGR)
    said = "gone" if predicted is None else labels[predicted]
    goldens = [GoldenRecord(label, "", "", "", said if label == labels[0] else label, 1, 1, label) for label in labels]
    score = np.eye(BATCH, len(labels), dtype=np.float32)
    score[0, :2] = scores
    network: Any = SimpleNamespace(predict_on_batch=lambda _: {SCORE_NAME: score})
    session: Any = SimpleNamespace(run=lambda batch: SimpleNamespace(score=score[: len(batch)]))
    frames = preprocess([solid(label) for label in labels], tiny_manifest().preprocess)
    found = compare(network, session, tiny_manifest(), goldens, frames)
    assert found.is_as_trained.tolist() == [is_as_trained] + [True] * (len(labels) - 1)
