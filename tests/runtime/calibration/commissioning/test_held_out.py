import numpy as np
import pytest

from partsight.runtime.calibration.commissioning import frames_for
from partsight.runtime.calibration.commissioning.held_out import FOLDS, design_effect, folds, predicted_rate


def rate_of(is_hit: np.ndarray, parts: int | None = None, new_frames: int | None = None) -> tuple[float, float]:
    groups = np.arange(len(is_hit)) if parts is None else np.arange(len(is_hit)) % parts
    found = predicted_rate(is_hit, groups, np.ones(len(is_hit), int), new_frames)
    return found.low, found.high


def hits(count: int, total: int) -> np.ndarray:
    return np.arange(total) < count


@pytest.mark.parametrize(("rate", "total"), [(0.01, 200), (0.05, 200), (0.3, 60), (0.002, 300)])
def test_new_frames_lie_in_the_interval_in_19_of_20_cases(rate: float, total: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        low, high = rate_of(rng.random(total) < rate)
        held += low <= (rng.random(total) < rate).mean() <= high
    assert held >= 380


def test_the_interval_of_few_new_frames_is_wider() -> None:
    (low, high), (low_few, high_few) = rate_of(hits(10, 400)), rate_of(hits(10, 400), new_frames=40)
    assert low_few <= low and high_few > high


def test_frames_of_few_parts_give_a_wider_interval() -> None:
    single, few = rate_of(hits(20, 400)), rate_of(hits(20, 400), parts=20)
    assert few[1] - few[0] > single[1] - single[0]


def test_parts_whose_frames_fail_together_count_as_one_frame_each() -> None:
    groups = np.repeat(np.arange(40), 10)
    assert design_effect(np.isin(groups, np.arange(20)), groups) > 8
    assert design_effect(np.arange(400) % 2 == 0, groups) < 2
    assert design_effect(hits(3, 40), np.arange(40)) == 1


def test_frames_of_unequal_weight_count_as_fewer() -> None:
    is_hit, groups = hits(4, 100), np.arange(100)
    even = predicted_rate(is_hit, groups, np.ones(100, int))
    uneven = predicted_rate(is_hit, groups, np.where(np.arange(100) < 50, 1, 20))
    assert (even.hits, even.total) == (4, 100)
    assert (uneven.hits, uneven.total) == (4, 1050)
    assert uneven.high > uneven.rate * 2


def test_without_frames_nothing_is_known() -> None:
    empty = predicted_rate(np.zeros(0, bool), np.zeros(0, int), np.zeros(0, int))
    assert (empty.low, empty.high, empty.total) == (0, 1, 0)


@pytest.mark.parametrize("parts", [1, 3, 40])
def test_folds_hold_each_frame_once_and_keep_parts_together(parts: int) -> None:
    groups = np.arange(120) % parts
    masks = list(folds(groups, FOLDS, seed=0))
    assert len(masks) == min(parts, FOLDS)
    assert (sum(mask.astype(int) for mask in masks) == 1).all()
    for mask in masks:
        assert not set(groups[mask]) & set(groups[~mask])


def test_frames_for_a_statement_follow_the_rule_of_three() -> None:
    assert (frames_for(0.01), frames_for(0.001)) == (300, 3000)
    assert 620 < frames_for(0.01, hits=2) < 640  # the Poisson limit of 2 events is 6.296
