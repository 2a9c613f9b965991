import dataclasses
import re
from typing import Any

import keras
import numpy as np
import pytest

from partsight.runtime.core.arrays import FloatArray
from partsight.train.fit import HeadFit, fit_head, golden_accuracy
from partsight.train.heads import HEADS, Head, find_head, score_output


def features(classes: int = 12, size: int = 40) -> FloatArray:
    return np.abs(np.random.default_rng(3).standard_normal((classes, size))).astype(np.float32)


def alike() -> FloatArray:
    """Of twelve parts, the last nine are one to the network."""
    rows = features()
    rows[3:] = rows[3]
    return rows


def uninitialised(name: str) -> Head:
    return dataclasses.replace(find_head(name), initialise=lambda *_: None)


def fit(head: Head, rows: FloatArray, target: float, max_epochs: int) -> tuple[HeadFit, Any]:
    keras.utils.set_random_seed(5)
    model = head.build(rows.shape[1], len(rows))
    return fit_head(head, model, rows, target, max_epochs), model


def accuracy(model: Any, rows: FloatArray) -> float:
    score = model.predict_on_batch(rows)["score"]
    return float(np.mean([row.argmax() == index for index, row in enumerate(score)]))


@pytest.mark.parametrize("name", HEADS)
def test_no_epoch_is_needed(name: str) -> None:
    found, model = fit(find_head(name), features(), 1.0, 60)
    assert found.reached
    assert re.findall(r"[\d.]+", found.outcome) == ["1.0000"]
    assert [(epoch.epoch, epoch.loss, epoch.golden_accuracy) for epoch in found.history] == [(0, None, 1.0)]
    assert accuracy(model, features()) == 1


def two_exchanged(model: Any, rows: FloatArray) -> None:
    """Initialise a cosine head, but take the first two parts for one another."""
    find_head("cosine").initialise(model, rows)
    prototypes = model.get_layer("score").prototypes
    columns = np.array(prototypes)
    columns[:, :2] = 0.2 * columns[:, :2] + 0.3 * columns[:, 1::-1]
    prototypes.assign(columns)


@pytest.mark.parametrize(
    "head",
    [uninitialised("dense"), dataclasses.replace(find_head("cosine"), initialise=two_exchanged)],
    ids=["dense", "cosine"],
)
def test_training_where_initialisation_is_not_enough(head: Head) -> None:
    found, model = fit(head, features(), 1.0, 100)
    assert found.history[0].golden_accuracy < 0.9
    assert found.reached
    assert accuracy(model, features()) == found.history[-1].golden_accuracy == 1
    assert re.findall(r"[\d.]+", found.outcome) == ["1.0000", str(len(found.history) - 1)]
    assert [epoch.epoch for epoch in found.history] == list(range(len(found.history)))
    assert all(epoch.golden_accuracy < 1 for epoch in found.history[:-1])  # stopped as soon as it was reached
    losses = [epoch.loss for epoch in found.history[1:]]
    assert losses[-1] < losses[0]


def test_a_lower_target_stops_earlier() -> None:
    found, _ = fit(uninitialised("dense"), features(), 0.5, 100)
    assert found.reached
    assert 0.5 <= found.history[-1].golden_accuracy < 1
    assert found.history[-2].golden_accuracy < 0.5


def test_not_enough_epochs() -> None:
    found, _ = fit(uninitialised("cosine"), features(), 1.0, 6)
    assert not found.reached
    assert len(found.history) == 7
    assert found.outcome.startswith("stopped after 6 epochs at 0.")
    assert found.outcome.endswith("< 1.0: the loss was still falling: raise --max-epochs")


@pytest.mark.parametrize("name", HEADS)
def test_parts_that_are_too_alike(name: str) -> None:
    found, _ = fit(find_head(name), alike(), 1.0, 12)
    assert not found.reached
    assert found.history[-1].golden_accuracy == pytest.approx(4 / 12)
    assert "stopped after 12 epochs at 0.3333 < 1.0: the loss no longer falls" in found.outcome
    assert "too alike" in found.outcome


@pytest.mark.parametrize("max_epochs", [0, 1, 4])
def test_too_few_epochs_to_say_why(max_epochs: int) -> None:
    found, _ = fit(uninitialised("dense"), features(), 1.0, max_epochs)
    assert not found.reached
    assert len(found.history) == max_epochs + 1
    assert f"stopped after {max_epochs} epochs" in found.outcome
    assert "--max-epochs" in found.outcome
    assert "no longer falls" not in found.outcome


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_explained(name: str, value: float) -> None:
    rows = features()
    rows[4, 7] = value
    with np.errstate(invalid="ignore"):
        found, _ = fit(find_head(name), rows, 0.99, 2)
    assert not found.reached
    assert "the loss is not a number" in found.outcome


def test_the_same_seed_gives_the_same_weights() -> None:
    models = [fit(uninitialised("dense"), features(), 1.0, 5)[1] for _ in range(2)]
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(first, second)


def test_golden_accuracy() -> None:
    head, rows = find_head("cosine"), features()
    model = head.build(rows.shape[1], len(rows))
    head.initialise(model, rows)
    scorer = keras.Model(model.inputs, score_output(model))
    assert golden_accuracy(scorer, rows) == 1
    exchanged = rows.copy()
    exchanged[[0, 1, 2]] = rows[[1, 2, 0]]
    assert golden_accuracy(scorer, exchanged) == pytest.approx(9 / 12)
