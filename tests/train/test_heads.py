from typing import Any

import numpy as np
import pytest

from partsight.runtime.core.arrays import FloatArray
from partsight.runtime.core.errors import TrainingError
from partsight.train.heads import COSINE_SHARPNESS, HEADS, find_head, score_output


def features(classes: int = 12, size: int = 40, offset: float = 0.0) -> FloatArray:
    """Return positive, similar features, as a backbone's are."""
    rng = np.random.default_rng(classes)
    return (np.abs(rng.standard_normal((classes, size))) + offset).astype(np.float32)


def answers(name: str, taught: FloatArray, asked: FloatArray | None = None) -> dict[str, FloatArray]:
    """Score and embedding of a head that was initialised and not trained."""
    head = find_head(name)
    model = head.build(taught.shape[1], len(taught))
    head.initialise(model, taught)
    found: dict[str, Any] = model.predict_on_batch(taught if asked is None else asked)
    return found


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("classes", [2, 12, 100])
def test_initialisation_alone_knows_every_golden_image(name: str, offset: float, classes: int) -> None:
    score = answers(name, features(classes, offset=offset))["score"]
    assert score.shape == (classes, classes)
    assert (score.argmax(axis=1) == np.arange(classes)).all()


def test_cosine_scores_by_hand() -> None:
    taught, asked = features(), features(7)
    center = taught.mean(axis=0)
    rows, columns = asked - center, taught - center
    expected = (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ (
        columns / np.linalg.norm(columns, axis=1, keepdims=True)
    ).T
    found = answers("cosine", taught, asked)
    np.testing.assert_allclose(found["score"], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.diag(answers("cosine", taught)["score"]), 1, atol=1e-5)


def test_dense_scores_are_of_the_nearest_golden_image() -> None:
    """For any features: the softmax of minus a multiple of the squared distance in the hidden layer."""
    taught, asked = features(), features(200)
    golden = answers("dense", taught)["embedding"].astype(np.float64)
    found = answers_of_same_model(taught, asked)
    hidden = found["embedding"].astype(np.float64)
    distances = ((hidden[:, None] - golden_of(found)[None]) ** 2).sum(axis=2)
    assert golden.shape == (12, 1000)
    assert (found["score"].argmax(axis=1) == distances.argmin(axis=1)).all()


def answers_of_same_model(taught: FloatArray, asked: FloatArray) -> dict[str, FloatArray]:
    both = answers("dense", taught, np.concatenate([taught, asked]))
    return {"golden": both["embedding"][:12], "embedding": both["embedding"][12:], "score": both["score"][12:]}


def golden_of(found: dict[str, FloatArray]) -> FloatArray:
    return found["golden"].astype(np.float64)


def test_dense_scores_are_probabilities_that_can_still_learn() -> None:
    score = answers("dense", features())["score"]
    np.testing.assert_allclose(score.sum(axis=1), 1, atol=1e-5)
    own = np.diag(score)
    assert (own > 0.9).all()
    assert (own < 1 - 1e-6).all()


def test_dense_hidden_units_are_neither_dead_nor_saturated() -> None:
    hidden = answers("dense", features(offset=100))["embedding"]
    assert 0.3 < (hidden > 0).mean() < 0.7
    assert 0.5 < np.sqrt((hidden**2).mean()) < 1.5


def test_one_class() -> None:
    taught = features(1)
    np.testing.assert_allclose(answers("cosine", taught)["score"], [[1]], atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_parts_that_look_the_same_to_the_network(name: str, value: float) -> None:
    """The network sees no difference between them, and the scores must still be numbers."""
    found = answers(name, np.full((2, 40), value, np.float32))
    assert np.isfinite(found["score"]).all()
    assert np.isfinite(found["embedding"]).all()


@pytest.mark.parametrize("name", HEADS)
def test_a_unit_that_is_always_zero(name: str) -> None:
    taught = features()
    taught[:, 5] = 0
    assert (answers(name, taught)["score"].argmax(axis=1) == np.arange(12)).all()


def test_dense_layers_are_those_of_the_seed() -> None:
    model = find_head("dense").build(40, 12)
    assert [weight.shape for weight in model.get_weights()] == [(40, 1000), (1000,), (1000, 12), (12,)]


def test_the_mean_is_not_trained() -> None:
    model = find_head("cosine").build(40, 12)
    assert [weight.shape for weight in model.trainable_weights] == [(40, 12)]


@pytest.mark.parametrize(
    ("name", "pooling", "score"), [("cosine", "average", "cosine"), ("dense", "flatten", "probability")]
)
def test_facts(name: str, pooling: str, score: str) -> None:
    head = find_head(name)
    assert (head.name, head.pooling, head.score) == (name, pooling, score)


def test_unknown_head() -> None:
    with pytest.raises(TrainingError, match=r"'linear'.*cosine, dense"):
        find_head("linear")


def test_score_output() -> None:
    model = find_head("cosine").build(40, 12)
    assert score_output(model).shape == (None, 12)


def test_cosine_loss_by_hand() -> None:
    score = np.array([[0.5, 0.25, -0.5], [0.0, 0.75, 0.5]], np.float32)
    labels = np.array([0, 2])
    logits = score.astype(np.float64) * COSINE_SHARPNESS
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[[0, 1], labels]
    np.testing.assert_allclose(find_head("cosine").loss(labels, score), expected, rtol=1e-3)


def test_dense_loss_by_hand() -> None:
    score = np.array([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]], np.float32)
    np.testing.assert_allclose(find_head("dense").loss(np.array([0, 2]), score), -np.log([0.5, 0.2]), rtol=1e-5)
