"""Thresholds from answers whose scores are known."""

from collections.abc import Sequence

import numpy as np
import pytest

from partsight.runtime.calibration import RejectCurve, VariedAnswers, choose_threshold


def answers(taught: Sequence[float], left_out: Sequence[float], wrong: Sequence[int] = ()) -> VariedAnswers:
    is_right = ~np.isin(np.arange(len(taught)), wrong)
    return VariedAnswers(np.array(taught, np.float32), np.array(left_out, np.float32), is_right)


@pytest.mark.parametrize("share", [0, 0.05, 0.3, 1])
@pytest.mark.parametrize("score", ["cosine", "agreement"])
def test_no_more_than_the_share_is_refused(share: float, score: str) -> None:
    rng = np.random.default_rng(5)
    taught, left_out = (rng.uniform(*limits, 200).astype(np.float32) for limits in ((0.2, 1), (0.1, 0.7)))
    decision = choose_threshold(answers(taught, left_out), score, share)
    assert share - 0.01 <= (taught < decision.threshold).mean() <= share
    assert decision.expected_false_reject == (taught < decision.threshold).mean()
    assert decision.expected_false_accept == (left_out >= decision.threshold).mean()


def test_frames_that_would_get_another_label_do_not_count() -> None:
    taught, left_out = [0.1, 0.2, 0.3, 0.8, 0.9, 1.0], [0.1, 0.2, 0.3, 0.75, 0.8, 0.0]
    assert choose_threshold(answers(taught, left_out, wrong=[0, 1, 2]), "agreement", 0).threshold == pytest.approx(0.8)
    assert choose_threshold(answers(taught, left_out, wrong=[0, 1, 2]), "agreement", 0).expected_false_reject == 0.5
    assert choose_threshold(answers(taught, left_out), "agreement", 0).threshold == pytest.approx(0.1)
    assert choose_threshold(answers(taught, left_out, wrong=range(6)), "cosine", 0).threshold == pytest.approx(0.1)


def test_where_every_label_would_be_wrong_none_is_given() -> None:
    decision = choose_threshold(answers([0.6, 0.7, 0.8], [0.5, 0.6, 0.7], wrong=[0, 1, 2]), "agreement", 0.01)
    assert decision.threshold == 1.0
    assert (decision.expected_false_reject, decision.expected_false_accept) == (1.0, 0.0)


def test_a_curve_is_counted_from_the_scores() -> None:
    curve = RejectCurve.of(answers([0.5, 0.75, 1.0, 1.0], [0.0, 0.25, 0.5, 0.75]))
    for threshold, rejected, accepted in zip(curve.threshold, curve.false_reject, curve.false_accept, strict=True):
        assert rejected == sum(value < threshold for value in (0.5, 0.75, 1.0, 1.0)) / 4
        assert accepted == sum(value >= threshold for value in (0.0, 0.25, 0.5, 0.75)) / 4
    assert (curve.threshold[0], curve.threshold[-1]) == (0, 1)
