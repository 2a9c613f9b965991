"""The fit of a rule: how much agreement, margin and the network's lead count, and where the threshold lies.

Agreement and margin together tell taught parts from unknown ones better than either, and the network's lead helps where
golden images differ in texture more than in outline. A logistic regression on the three weighs them, with the weights
of both kinds of frames balanced (D. R. Cox, "The regression analysis of binary sequences", Journal of the Royal
Statistical Society B 20, 1958); a small ridge penalty keeps it finite where the kinds do not overlap (S. le Cessie and
J. C. van Houwelingen, "Ridge estimators in logistic regression", Applied Statistics 41, 1992). Its boundary, solved for
the agreement, is a `matching.Rule`.

The threshold is a quantile of the right frames: it refuses the share that the user permits. Of few frames of a line,
one or two odd ones would decide it. There it is the one of least detection cost (A. Martin and M. Przybocki, "The NIST
1999 speaker recognition evaluation", Digital Signal Processing 10, 2000): the share of refused taught frames plus a
price times the share of accepted unknown frames; the quantile is its upper limit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray
from partsight.runtime.matching import Matches, MatchingSpec, Rule

UNKNOWN_PRICE = 20.0
"""Price of an accepted unknown frame, in refused taught frames, for each unit of the permitted share of refused frames:
0.2 at 1 %. Simulated unknown parts are siblings of taught ones, and far harder to refuse than what a line meets."""

_RIDGE = 0.01  # of the mean information of a frame
_NEWTON_STEPS = 30
_MIN_THRESHOLD = 1e-3  # no rule accepts evidence of 0, that of a frame that two parts fit
_MAX_LOGIT = 30.0


@dataclass(frozen=True)
class Evidence:
    """What a rule sees of frames; each (frames,) float64.

    Attributes:
        agreement: Best agreement.
        margin: Its lead over the second.
        lead: Lead of the network's score for the best part; see `Matches.lead`.
    """

    agreement: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float64]
    lead: npt.NDArray[np.float64]

    @classmethod
    def of(cls, matches: Matches, chosen: npt.NDArray[np.bool_]) -> "Evidence":
        """Return the evidence of some frames; `chosen` is (frames,)."""
        values: list[FloatArray] = [matches.agreement[:, 0], matches.margin, matches.lead]
        return cls(*(value[chosen].astype(np.float64) for value in values))

    def joined(self, other: "Evidence") -> "Evidence":
        """Return both, one after the other."""
        return Evidence(*np.concatenate([self.table, other.table]).T)

    @property
    def table(self) -> npt.NDArray[np.float64]:
        """All three, (frames, 3)."""
        return np.stack([self.agreement, self.margin, self.lead], axis=1)


def fit_rule(right: Evidence, unknown: Evidence, max_false_reject: float, price: float = 0.0) -> Rule:
    """Fit a rule that gives right frames a label, and unknown ones none.

    Args:
        right: Frames whose best golden image is of their own part, at least one.
        unknown: Frames of unknown parts, or frames without their own part to choose from; may be empty.
        max_false_reject: Largest share of `right` to refuse, in [0, 1].
        price: Price of an accepted unknown frame, see `UNKNOWN_PRICE`; 0 for the quantile alone.
    """
    weights = _weights(right.table, unknown.table)
    is_right, is_unknown = right.table @ weights, unknown.table @ weights
    threshold = _quantile(is_right, max_false_reject)
    if price and len(is_unknown):
        threshold = _cheapest(is_right, is_unknown, max_false_reject, price)
    return Rule(max(threshold, _MIN_THRESHOLD), float(weights[1]), float(weights[2]))


def rule_for(
    matches: Matches,
    left_out: Matches,
    classes: npt.NDArray[np.intp],
    spec: MatchingSpec,
    max_false_reject: float,
    price: float = 0.0,
) -> Rule | None:
    """Fit a rule to frames whose part is known.

    Without its own part to choose from, a frame shows an unknown part; a frame whose best golden image is of another
    part counts as such, too. Frames that two golden images fit are refused anyway.

    Args:
        matches: Comparison of the frames with all parts.
        left_out: Comparison without each frame's own part.
        classes: Class of each frame's own part, (frames,); negative for a part that is not taught.
        spec: Specification of matching.
        max_false_reject: Largest share of right frames to refuse, in [0, 1].
        price: Price of an accepted unknown frame; see `fit_rule`.

    Returns:
        None if no frame is right.
    """
    is_right = (matches.classes[:, 0] == classes) & (matches.agreement[:, 0] > 0)
    right = is_right & matches.is_distinct(spec)
    if not right.any():
        return None
    siblings = Evidence.of(left_out, (classes >= 0) & left_out.is_distinct(spec))
    unknown = siblings.joined(Evidence.of(matches, ~is_right & matches.is_distinct(spec)))
    return fit_rule(Evidence.of(matches, right), unknown, max_false_reject, price)


def _weights(right: npt.NDArray[np.float64], unknown: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the weights of agreement, margin and lead, (3,), that of agreement being 1 and none negative."""
    used = [0, 1, 2]
    while len(used) > 1 and len(unknown):
        found = _logistic(right[:, used], unknown[:, used])
        if found[0] <= 0:
            break
        if (found >= 0).all():
            weights = np.zeros(3)
            weights[used] = found / found[0]
            return weights
        # More margin or lead never speaks against a label: such a weight is chance.
        used = [column for column, weight in zip(used, found, strict=True) if weight >= 0]
    return np.array([1.0, 0.0, 0.0])


def _logistic(right: npt.NDArray[np.float64], unknown: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the weights of a logistic regression, (columns,), by Newton's method."""
    values, is_right = np.concatenate([right, unknown]), np.repeat([1.0, 0.0], [len(right), len(unknown)])
    balance = np.where(is_right, 0.5 / len(right), 0.5 / len(unknown)) * len(values)
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-9
    design = np.column_stack([(values - mean) / scale, np.ones(len(values))])
    ridge = np.diag([*[1.0] * values.shape[1], 0.0]) * _RIDGE * len(values)
    weights = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -_MAX_LOGIT, _MAX_LOGIT)))
        information = (design * (balance * chance * (1 - chance) + 1e-9)[:, None]).T @ design + ridge
        weights = weights + np.linalg.solve(information, design.T @ (balance * (is_right - chance)) - ridge @ weights)
    return np.asarray(weights[:-1] / scale)


def _quantile(right: npt.NDArray[np.float64], share: float) -> float:
    return float(np.quantile(right, share, method="lower"))


def _cheapest(
    right: npt.NDArray[np.float64], unknown: npt.NDArray[np.float64], max_false_reject: float, price: float
) -> float:
    """Return the threshold of least cost, at most the quantile of right frames; see the module's docstring."""
    tried = np.unique(np.concatenate([right, unknown]))
    refused = np.searchsorted(np.sort(right), tried) / len(right)
    accepted = 1 - np.searchsorted(np.sort(unknown), tried) / len(unknown)
    cost = refused + price * max_false_reject * accepted
    cheapest = np.flatnonzero(cost <= cost.min() + 1e-12)[-1]  # of equal costs the strictest
    return min(float(np.quantile(right, max_false_reject, method="higher")), float(tried[cheapest]))
