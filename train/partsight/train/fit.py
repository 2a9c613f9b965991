"""Training of a head on bottleneck features until it recognises every golden image."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from partsight.runtime.core import FloatArray, progress
from partsight.train.framework import keras
from partsight.train.heads import Head, score_output

BATCH = 256  # large, because Adam's update of a dense head's 63 million weights dominates a step


class Epoch(msgspec.Struct, frozen=True):
    """One pass over the golden images; epoch 0 is the state before the first.

    Attributes:
        epoch: Number of the epoch.
        loss: Mean training loss; None for epoch 0.
        golden_accuracy: Share of golden images that the network recognises after the epoch, in [0, 1].
    """

    epoch: int
    loss: float | None
    golden_accuracy: float


@dataclass(frozen=True)
class HeadFit:
    """Course of the training of a head.

    Attributes:
        history: Figures of every epoch.
        reached: Whether training reached the target accuracy.
        outcome: Reason why it stopped, for a person.
    """

    history: tuple[Epoch, ...]
    reached: bool
    outcome: str


def fit_head(head: Head, model: Any, features: FloatArray, target: float, max_epochs: int) -> HeadFit:
    """Train a head on the golden images' features; class i is row i.

    Args:
        head: Kind of the head.
        model: Result of `head.build`; training changes it in place.
        features: Features of the golden images, (classes, d) float32.
        target: Golden accuracy that ends the training, in [0, 1].
        max_epochs: Largest number of epochs.
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
    """Return the share of golden images that get their own class: row i of `features` belongs to class i."""
    score = scorer.predict(features, BATCH, verbose=0)
    return float(np.mean(score.argmax(axis=1) == np.arange(len(features))))


def _judge(history: tuple[Epoch, ...], target: float) -> HeadFit:
    last = history[-1]
    if last.golden_accuracy >= target:
        when = f"after {last.epoch} epochs" if last.epoch else "before the first epoch, by initialisation alone"
        return HeadFit(history, True, f"reached a golden accuracy of {last.golden_accuracy:.4f} {when}")
    losses = [epoch.loss for epoch in history if epoch.loss is not None]
    if not all(np.isfinite(losses)):
        why = "the loss is not a number: the weights do not fit the backbone; check --weights"
    elif len(losses) <= 4:
        why = "too few epochs to find a cause: raise --max-epochs"
    elif losses[-1] < 0.97 * losses[-4]:
        why = "the loss was still falling: raise --max-epochs"
    else:
        why = "the loss no longer falls: some parts look too alike; see the look-alikes in the report"
    return HeadFit(history, False, f"stopped after {last.epoch} epochs at {last.golden_accuracy:.4f} < {target}: {why}")
