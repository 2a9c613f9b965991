import numpy as np
import pytest

from partsight.runtime.core.topk import best_first, find_reaching, lower_limit

SIZES = [1, 2, 50, 1023, 1024, 5000, 100_003]
"""Too few for blocks, the border, and with a rest that fills no block."""


def ranked(scores: np.ndarray, count: int) -> list[int]:
    """The definition: sorted from the best, equal scores by index, NaN last."""
    order = sorted(range(len(scores)), key=lambda index: (np.isnan(scores[index]), -scores[index], index))
    return order[:count]


@pytest.mark.parametrize("classes", SIZES)
@pytest.mark.parametrize("levels", [3, 1_000_000])
@pytest.mark.parametrize("count", [1, 2, 8, 33, 256])
def test_equals_a_full_sort(classes: int, levels: int, count: int) -> None:
    scores = np.random.default_rng([classes, levels, count]).integers(-levels, levels, classes).astype(np.float32)
    assert best_first(scores, count).tolist() == ranked(scores, count)


@pytest.mark.parametrize("classes", SIZES)
@pytest.mark.parametrize("numbers", [0, 1, 40])
@pytest.mark.parametrize("count", [1, 5, 33])
def test_what_is_no_number_comes_last(classes: int, numbers: int, count: int) -> None:
    scores = np.full(classes, np.nan, np.float32)
    rng = np.random.default_rng(numbers)
    scores[rng.integers(0, classes, numbers)] = rng.random(numbers, np.float32)
    assert best_first(scores, count).tolist() == ranked(scores, count)


@pytest.mark.parametrize(
    "scores", [np.arange(20_000), -np.arange(20_000), np.zeros(20_000)], ids=["up", "down", "flat"]
)
def test_scores_in_order(scores: np.ndarray) -> None:
    assert best_first(scores.astype(np.float32), 33).tolist() == ranked(scores, 33)


@pytest.mark.parametrize("count", [1, 33, 256])
def test_the_limit_is_reached_by_few_more_than_asked(count: int) -> None:
    scores = np.random.default_rng(count).standard_normal(100_000).astype(np.float32)
    reaching = find_reaching(scores, lower_limit(scores, count))
    assert count <= len(reaching) < 1.3 * count + 4


def test_infinite_scores() -> None:
    scores = np.zeros(20_000, np.float32)
    scores[[7, 9]] = np.inf, -np.inf
    assert best_first(scores, 2).tolist() == [7, 0]
    assert best_first(scores, 20_000)[-1] == 9
    none = np.full(4, -np.inf, np.float32)
    assert best_first(none, 3).tolist() == [0, 1, 2]
