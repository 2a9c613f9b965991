"""The decision of a line: fitted to its frames, and near the package's own while they are few."""

import numpy as np
import pytest

from partsight.runtime.calibration.commissioning.decision import fit_decision, fit_line_rule, strict_rule
from partsight.runtime.calibration.commissioning.line_answers import LineAnswers
from partsight.runtime.matching import Matches, MatchingSpec, Rule
from partsight.runtime.matching.parallax import Parallax
from partsight.runtime.matching.poses import Poses

SPEC = MatchingSpec(height=72, width=72)
OWN = Rule(0.9)


def matches(best: np.ndarray, second: np.ndarray, classes: np.ndarray, lead: np.ndarray) -> Matches:
    agreement = np.stack([best, second], axis=1).astype(np.float32)
    named = np.stack([classes, classes + 1], axis=1)
    nothing = Parallax(*[np.zeros((*agreement.shape, 2, 2))] * 2)
    return Matches(named, agreement, Poses(*[agreement * 0] * 5), named, nothing, lead.astype(np.float32))


def answers(count: int) -> LineAnswers:
    """Frames of as many parts: right ones agree by 0.5 to 0.7, and without their own part by 0.1 to 0.3."""
    rng, parts = np.random.default_rng(count), np.arange(count)
    taught = matches(rng.uniform(0.5, 0.7, count), rng.uniform(0.1, 0.3, count), parts, np.full(count, 0.2))
    others = matches(rng.uniform(0.1, 0.3, count), rng.uniform(0.0, 0.05, count), parts + 1, np.full(count, -0.2))
    return LineAnswers(parts, parts, np.ones(count, int), taught, others, SPEC)


def test_few_frames_move_the_package_s_rule_less_than_many() -> None:
    few, many = (fit_line_rule(answers(count), Rule(0.45), 0.01) for count in (20, 2000))
    assert abs(few.by_margin) < abs(many.by_margin)
    assert abs(few.by_network) < abs(many.by_network)


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_no_larger_share_of_the_frames_is_refused_than_permitted(count: int, share: float) -> None:
    """The package's own rule would refuse all of them."""
    found = answers(count)
    assert not found.accepted(OWN).any()
    rule = fit_line_rule(found, OWN, share)
    assert (~found.accepted(rule)).mean() <= share + 1 / count


def test_a_decision_has_its_rule_and_its_rates() -> None:
    found = answers(200)
    decision = fit_decision(found, OWN, 0.01)
    assert decision.rule == fit_line_rule(found, OWN, 0.01)
    assert decision.expected_false_reject == pytest.approx(0, abs=0.01)
    assert decision.expected_false_accept == 0


def test_no_right_frame_gives_a_rule_that_accepts_none() -> None:
    found = answers(30)
    wrong = LineAnswers(found.classes + 5, found.groups, found.weights, found.taught, found.left_out, SPEC)
    assert not wrong.accepted(fit_line_rule(wrong, Rule(0.2), 0.01)).any()


def test_a_strict_rule_refuses_the_share_that_fits_worst() -> None:
    found = answers(200)
    rule = strict_rule(found, Rule(0.2), 0.25)
    assert (~found.accepted(rule)).mean() == pytest.approx(0.25, abs=0.01)
    assert strict_rule(found, OWN, 0.25) == OWN
