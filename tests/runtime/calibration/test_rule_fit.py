"""The rule: what margin and lead weigh, and where the threshold lies."""

import numpy as np
import pytest

from partsight.runtime.calibration.rule_fit import UNKNOWN_PRICE, Evidence, fit_rule


def evidence(agreement: float, margin: float, lead: float, count: int = 400, seed: int = 0) -> Evidence:
    rng = np.random.default_rng(seed)
    return Evidence(*(rng.normal(mean, 0.1, count) for mean in (agreement, margin, lead)))


def values(rule: object, found: Evidence) -> np.ndarray:
    return found.agreement + rule.by_margin * found.margin + rule.by_network * found.lead  # type: ignore[attr-defined]


def refused(rule: object, found: Evidence) -> float:
    return float((values(rule, found) < rule.threshold).mean())  # type: ignore[attr-defined]


def test_each_kind_of_evidence_weighs_by_the_difference_it_makes() -> None:
    """Equal spreads: the weights of a logistic regression are as the differences of the means."""
    rule = fit_rule(evidence(0.6, 0.3, 0.2), evidence(0.4, 0.2, 0.0, seed=1), 0.05)
    assert rule.by_margin == pytest.approx(0.5, abs=0.2)
    assert rule.by_network == pytest.approx(1.0, abs=0.25)


def test_all_together_tell_more_than_the_agreement() -> None:
    right, unknown = evidence(0.6, 0.3, 0.2), evidence(0.4, 0.2, 0.0, seed=1)
    rule = fit_rule(right, unknown, 0.05)
    alone = float(np.mean(unknown.agreement < np.quantile(right.agreement, 0.05)))
    assert refused(rule, unknown) > alone + 0.1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5])
def test_no_larger_share_is_refused_than_permitted(share: float) -> None:
    right = evidence(0.6, 0.3, 0.2)
    for price in (0.0, UNKNOWN_PRICE):
        rule = fit_rule(right, evidence(0.5, 0.3, 0.1, seed=1), share, price)
        assert refused(rule, right) <= share + 1 / 400
    assert refused(fit_rule(right, evidence(0.5, 0.3, 0.1, seed=1), share), right) == pytest.approx(share, abs=0.005)


def test_evidence_that_speaks_against_a_label_weighs_nothing() -> None:
    rule = fit_rule(evidence(0.6, 0.2, 0.0), evidence(0.4, 0.3, 0.2, seed=1), 0.01)
    assert (rule.by_margin, rule.by_network) == (0, 0)


def test_without_unknown_frames_the_agreement_alone_counts() -> None:
    right = evidence(0.6, 0.3, 0.2)
    nothing = Evidence(*(np.zeros(0) for _ in range(3)))
    rule = fit_rule(right, nothing, 0.1, UNKNOWN_PRICE)
    assert (rule.by_margin, rule.by_network) == (0, 0)
    assert refused(rule, right) == pytest.approx(0.1, abs=0.005)


def test_an_odd_frame_does_not_open_the_gate() -> None:
    """One of 100 right frames fits badly: the quantile of 1 % would follow it, the cost does not."""
    good, unknown = evidence(0.7, 0.5, 0.3, 100), evidence(0.3, 0.1, 0.0, 100, seed=1)
    odd = good.joined(Evidence(np.array([0.2]), np.array([0.02]), np.array([0.0])))
    by_quantile, by_cost = fit_rule(odd, unknown, 0.005), fit_rule(odd, unknown, 0.01, UNKNOWN_PRICE)
    assert refused(by_quantile, unknown) < 0.9
    assert refused(by_cost, unknown) > 0.98
    assert refused(by_cost, odd) <= 0.02


def test_kinds_that_do_not_overlap_give_a_finite_rule() -> None:
    right, unknown = evidence(5.0, 3.0, 1.0), evidence(0.1, 0.0, -1.0, seed=1)
    rule = fit_rule(right, unknown, 0.01, UNKNOWN_PRICE)
    assert np.isfinite([rule.threshold, rule.by_margin, rule.by_network]).all()
    assert refused(rule, unknown) == 1


def test_no_rule_accepts_a_frame_that_two_parts_fit() -> None:
    """Its evidence is 0."""
    rule = fit_rule(evidence(0.0, 0.0, -1.0), evidence(0.0, 0.0, -1.0, seed=1), 0.5)
    assert rule.threshold > 0
