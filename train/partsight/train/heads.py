"""Heads: the last layers of the network, from features to one score for each part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from partsight.runtime.core import FloatArray, TrainingError
from partsight.runtime.inference import EMBEDDING_NAME, SCORE_NAME
from partsight.train.framework import keras, ops
from partsight.train.layers import CenteredUnit, CosineSimilarity

COSINE_SHARPNESS = 32.0
"""Factor for cosines before the softmax of the training loss. Cosines differ by at most 2, and the softmax of so small
differences is nearly uniform, so that the loss would hardly fall."""

LOGIT_LEAD = 10.0
"""Lead of a golden image's own logit over the next one in a new dense head. Two logits 10 apart give a probability of
1 - 5e-5: near 1, but not so near that gradients vanish."""


@dataclass(frozen=True)
class Head:
    """A kind of head.

    Attributes:
        name: Value of the option `--head`.
        pooling: Way from the backbone's output, (batch, h, w, channels), to the features, (batch, d).
        score: Kind of its scores.
        build: Function of feature size and number of classes; returns a keras.Model from features, (batch, d), to
            {score, embedding}.
        initialise: Function that sets the weights of such a model from the golden images' features, (classes, d).
        loss: Function of class indices, (batch,), and scores, (batch, classes).
        learning_rate: Learning rate of Adam.
    """

    name: str
    pooling: Literal["average", "flatten"]
    score: Literal["cosine", "probability"]
    build: Callable[[int, int], Any]
    initialise: Callable[[Any, FloatArray], None]
    loss: Callable[[Any, Any], Any]
    learning_rate: float


def find_head(name: str) -> Head:
    """Return the head called `name`.

    Raises:
        TrainingError: No head has that name.
    """
    try:
        return HEADS[name]
    except KeyError:
        raise TrainingError(f"head {name!r} is not known; expected one of {', '.join(HEADS)}") from None


def score_output(model: Any) -> Any:
    """Return the symbolic scores, (batch, classes), of a head or of a stacked model."""
    return model(model.inputs[0])[SCORE_NAME]


def _build_dense(feature_size: int, classes: int) -> Any:
    features = keras.Input((feature_size,))
    embedding = keras.layers.Dense(1000, activation="relu", name=EMBEDDING_NAME)(features)
    score = keras.layers.Dense(classes, activation="softmax", name=SCORE_NAME)(embedding)
    return keras.Model(features, {SCORE_NAME: score, EMBEDDING_NAME: embedding}, name="dense_head")


def _build_cosine(feature_size: int, classes: int) -> Any:
    features = keras.Input((feature_size,))
    embedding = CenteredUnit(name=EMBEDDING_NAME)(features)
    score = CosineSimilarity(classes, name=SCORE_NAME)(embedding)
    return keras.Model(features, {SCORE_NAME: score, EMBEDDING_NAME: embedding}, name="cosine_head")


def _nearest_golden(model: Any, features: FloatArray) -> None:
    """Make a new dense head a nearest-golden-image classifier, so that training starts near its goal.

    First layer: bottleneck features are large, positive and alike, so random units would all answer the same. The
    function scales each unit so that its input has mean 0 and variance 1 over the golden images (data-dependent
    initialisation, arXiv 1602.07868).

    Second layer: the wanted logit of class k is -s·|e - g_k|². Here e is the embedding, g_k the embedding of golden
    image k, both (1000,), and s the sharpness. Let m be the mean of all g_k, and p_k = g_k - m. Then the logit equals
    2s·p_k·e - s·(|p_k|² + 2·p_k·m), plus a term without k that softmax cancels. The first term gives the kernel, the
    second the bias (prototypical networks, arXiv 1703.05175, section 2.4). Subtracting m keeps the numbers small.
    """
    hidden = model.get_layer(EMBEDDING_NAME)
    kernel = np.asarray(hidden.kernel)
    projected = features @ kernel
    spread = projected.std(axis=0)
    scale = np.where(spread > 0, 1 / np.maximum(spread, 1e-6), 1.0).astype(np.float32)
    bias = -projected.mean(axis=0) * scale
    hidden.kernel.assign(kernel * scale)
    hidden.bias.assign(bias)
    embedding = np.maximum(projected * scale + bias, 0).astype(np.float64)
    center = embedding.mean(axis=0)
    prototypes = embedding - center
    squares = (prototypes**2).sum(axis=1)
    sharpness = _sharpness(prototypes, squares)
    model.get_layer(SCORE_NAME).kernel.assign(2 * sharpness * prototypes.T)
    model.get_layer(SCORE_NAME).bias.assign(-sharpness * (squares + 2 * prototypes @ center))


def _sharpness(prototypes: FloatArray, squares: FloatArray) -> float:
    """Return the factor that gives the median golden image's own logit a lead of `LOGIT_LEAD`.

    Args:
        prototypes: Embeddings of the golden images without their mean, (classes, 1000).
        squares: Squared lengths of the prototypes, (classes,).
    """
    if len(prototypes) == 1:
        return 1.0
    distances = squares[:, None] + squares[None, :] - 2 * prototypes @ prototypes.T
    np.fill_diagonal(distances, np.inf)
    return LOGIT_LEAD / max(float(np.median(distances.min(axis=1))), 1e-6)


def _imprint(model: Any, features: FloatArray) -> None:
    """Set each prototype to its golden image's own embedding (weight imprinting, arXiv 1712.07136).

    The mean of all features, (d,), becomes the center of `CenteredUnit`. With one part there is nothing to subtract.
    """
    center = features.mean(axis=0) if len(features) > 1 else np.zeros_like(features[0])
    centered = features - center
    model.get_layer(EMBEDDING_NAME).center.assign(center)
    lengths = np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-12)  # 0 if all parts look the same
    model.get_layer(SCORE_NAME).prototypes.assign((centered / lengths).T)


def _probability_loss(labels: Any, score: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(labels, score)


def _cosine_loss(labels: Any, score: Any) -> Any:
    logits = ops.multiply(score, COSINE_SHARPNESS)
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


HEADS = {
    head.name: head
    for head in (
        Head("cosine", "average", "cosine", _build_cosine, _imprint, _cosine_loss, 1e-3),
        Head("dense", "flatten", "probability", _build_dense, _nearest_golden, _probability_loss, 3e-4),
    )
}
