"""Training a head on bottleneck features until it knows every golden image."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from partsight.runtime.core import FloatArray, progress
from partsight.train.framework import keras
from partsight.train.heads import Head, score_output

BATCH = 256  # large: with a dense head a step's cost is Adam's, over 63 million weights


class Epoch(msgspec.Struct, frozen=True):
    """One pass over the golden images; epoch 0 is the state before the first.

    Attributes:
        epoch: its number.
        loss: mean training loss in it; None for epoch 0.
        golden_accuracy: share of golden images recognised after it.
    """

    epoch: int
    loss: float | None
    golden_accuracy: float


@dataclass(frozen=True)
class HeadFit:
    """How training a head went.

    Attributes:
        history: every epoch.
        reached: whether the target accuracy was reached.
        outcome: why it stopped, for a person.
    """

    history: tuple[Epoch, ...]
    reached: bool
    outcome: str


def fit_head(head: Head, model: Any, features: FloatArray, target: float, max_epochs: int) -> HeadFit:
    """Train a head on the golden images' features; class i is row i.

    Args:
        head: its kind.
        model: from `head.build`; changed in place.
        features: (classes, d) float32.
        target: golden accuracy at which training stops, in [0, 1].
        max_epochs: after which it stops without.
    """
    head.initialise(model, features)
    scorer = keras.Model(model.inputs, score_output(model))
    scorer.compile(keras.optimizers.Adam(head.learning_rate), head.loss)
    history = [Epoch(0, None, golden_accuracy(scorer, features))]
    for number in progress(range(1, max_epochs + 1), max_epochs, "training the head", "epoch"):
        if history[-1].golden_accuracy >= target:
            break
        fitted = scorer.fit(features, np.arange(len(features)), BATCH, verbose=0)
        history.append(Epoch(number, float(fitted.history["loss"][0]), golden_accuracy(scorer, features)))
    return _judge(tuple(history), target)


def golden_accuracy(scorer: Any, features: FloatArray) -> float:
    """Return the share of rows i whose best score is class i."""
    score = scorer.predict(features, BATCH, verbose=0)
    return float(np.mean(score.argmax(axis=1) == np.arange(len(features))))


def _judge(history: tuple[Epoch, ...], target: float) -> HeadFit:
    last = history[-1]
    if last.golden_accuracy >= target:
        when = f"after {last.epoch} epochs" if last.epoch else "before the first epoch, by initialisation alone"
        return HeadFit(history, True, f"reached a golden accuracy of {last.golden_accuracy:.4f} {when}")
    losses = [epoch.loss for epoch in history if epoch.loss is not None]
    if not all(np.isfinite(losses)):
        why = "the loss is not a number: the weights or the normalisation do not fit the backbone"
    elif len(losses) <= 4:
        why = "too few epochs to tell more: allow more"
    elif losses[-1] < 0.97 * losses[-4]:
        why = "the loss was still falling: allow more epochs"
    else:
        why = "the loss no longer falls: the features of some parts are too alike; see the report's closest pairs"
    return HeadFit(history, False, f"stopped after {last.epoch} epochs at {last.golden_accuracy:.4f} < {target}: {why}")
