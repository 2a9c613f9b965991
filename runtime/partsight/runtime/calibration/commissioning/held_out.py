"""Held out: rates that a commissioned package will show, estimated on frames that its decision was not fitted to.

Frames of one part are alike, so parts are held out, not frames. Each tenth of the parts is answered by the decision
that the others give.

A rate is printed with a prediction interval: in 19 of 20 cases the share of as many new frames lies in it. That is
wider than a confidence interval of the rate itself, since the new frames vary, too. The interval is that of the
beta-binomial distribution, whose beta distribution is the one of C. J. Clopper and E. S. Pearson, "The use of
confidence or fiducial limits", Biometrika 26 (1934), at each end. Frames of one part count less than independent ones
(the design effect of L. Kish, "Survey sampling", 1965).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.line_answers import LineAnswers
from partsight.runtime.calibration.intervals import RateInterval
from partsight.runtime.matching import Rule

Fit = Callable[[LineAnswers], Rule]
"""Fits a decision to answers."""

_Found = Callable[["HeldOut"], npt.NDArray[np.bool_]]

FOLDS = 10
_MAX_NEW_FRAMES = 20_000  # of a prediction; more change nothing
_PRIOR_CORRELATION, _PRIOR_WEIGHT = 0.3, 5.0  # of frames of one part, and the number of events that outweighs it


@dataclass(frozen=True)
class Outcome:
    """Rates of a decision on frames of the line.

    Attributes:
        right_first: Frames of taught parts whose best golden image is of their own part.
        refused: Frames of taught parts that get no label.
        wrong: Frames of taught parts that get another part's label.
        siblings: Frames that get a label if their own part is not taught: unknown parts that look like taught ones.
        unknown: Frames of unknown parts that get a label; None without such frames.
    """

    right_first: RateInterval
    refused: RateInterval
    wrong: RateInterval
    siblings: RateInterval
    unknown: RateInterval | None


@dataclass(frozen=True)
class HeldOut:
    """Decisions on frames, each by a rule that was fitted without the frame's part; each (frames,) bool.

    Attributes:
        accepted: Whether the frame gets a label.
        left_out: Whether it gets a label if its own part is not taught.
        rules: Rules of the folds; their differences show how much the rule depends on the frames.
    """

    accepted: npt.NDArray[np.bool_]
    left_out: npt.NDArray[np.bool_]
    rules: tuple[Rule, ...] = ()


def judge(answers: LineAnswers, rule: Rule) -> HeldOut:
    """Return the decisions of one rule that is not fitted to the frames."""
    return HeldOut(answers.accepted(rule), answers.accepted_left_out(rule))


def hold_out(answers: LineAnswers, fit: Fit, seed: int = 0) -> HeldOut:
    """Return the decisions on each frame by rules fitted to the frames of other parts.

    Args:
        answers: Answers to all frames.
        fit: Function that fits a rule.
        seed: Seed of the folds.
    """
    accepted, left_out = (np.zeros(len(answers), bool) for _ in range(2))
    is_one_part = len(np.unique(answers.groups[answers.is_taught])) < 2  # then frames are held out in place of parts
    groups = np.arange(len(answers)) if is_one_part else answers.groups
    rules = []
    for fold in folds(groups, FOLDS, seed):
        rules.append(fit(answers.of_frames(~fold)))
        judged = judge(answers.of_frames(fold), rules[-1])
        accepted[fold], left_out[fold] = judged.accepted, judged.left_out
    return HeldOut(accepted, left_out, tuple(rules))


def folds(groups: npt.NDArray[np.intp], count: int, seed: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield masks of frames, (frames,) bool, that together hold each frame once; a group stays together."""
    names = np.unique(groups)
    parts = np.random.default_rng(seed).permutation(names)
    for chosen in np.array_split(parts, min(count, len(names))):
        yield np.isin(groups, chosen)


def rate_outcome(answers: LineAnswers, decided: HeldOut) -> Outcome:
    """Return the rates of decisions on frames, with prediction intervals for as many new frames.

    Args:
        answers: Answers to the frames.
        decided: Decisions on them.
    """
    taught, right = answers.is_taught, answers.is_right_first
    judged = [judge(answers, rule) for rule in decided.rules]

    def rate(found: _Found, chosen: npt.NDArray[np.bool_], *, by_fit: bool = False) -> RateInterval:
        chosen = chosen & (answers.weights > 0)
        by_fold = [float(found(item)[chosen].mean()) for item in judged] if by_fit and chosen.any() else []
        return predicted_rate(
            found(decided)[chosen], answers.groups[chosen], answers.weights[chosen], spread=_jackknife(by_fold)
        )

    # A rule that is strict by chance refuses more held-out frames of taught parts, so their number shows how uncertain
    # the fit is. Frames without their part choose the threshold less: for them the rules of the folds show it.
    return Outcome(
        right_first=rate(lambda _: right, taught),
        refused=rate(lambda item: ~item.accepted, taught),
        wrong=rate(lambda item: item.accepted & ~right, taught),
        siblings=rate(lambda item: item.left_out, taught, by_fit=True),
        unknown=None if taught.all() else rate(lambda item: item.accepted, ~taught, by_fit=True),
    )


def _jackknife(by_fold: Sequence[float]) -> float:
    """Return the standard deviation of a rate by the fit, from its values by the rules of all folds.

    Source: M. H. Quenouille, "Notes on bias in estimation", Biometrika 43 (1956): the delete-a-group jackknife.
    """
    if not by_fold:
        return 0.0
    return float(np.sqrt((len(by_fold) - 1) * np.var(by_fold)))


def predicted_rate(
    is_hit: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.intp],
    weights: npt.NDArray[np.intp],
    new_frames: int | None = None,
    spread: float = 0.0,
) -> RateInterval:
    """Return a share of frames and its 95 % prediction interval.

    Args:
        is_hit: Whether each frame counts, (frames,).
        groups: Number of each frame's group, (frames,).
        weights: Number of frames of the line that each frame stands for, (frames,). Frames of unequal weight count as
            fewer ones of equal weight (L. Kish's effective sample size).
        new_frames: Number of the frames to predict; None for as many as these.
        spread: Standard deviation of the share by the fit of the decision. Frames count as fewer then.
    """
    total = int(weights.sum())
    if not total:
        return RateInterval(0, 0, 0.0, 1.0)
    hits = int(weights[is_hit].sum())
    effect = design_effect(is_hit, groups)
    seen = float(total**2 / (weights**2).sum() / effect)
    new = max(1, round(min((new_frames or len(is_hit)) / effect, _MAX_NEW_FRAMES)))
    variance = (hits + 0.5) * (total - hits + 0.5) / (total + 1) ** 2
    seen /= 1 + seen * spread**2 / variance
    counted = seen * hits / total
    low = _quantile(counted, seen - counted + 1, new, 0.025) / new if hits else 0.0
    high = _quantile(counted + 1, seen - counted, new, 0.975) / new if hits < total else 1.0
    return RateInterval(hits, total, min(low, hits / total), max(high, hits / total))


def design_effect(is_hit: npt.NDArray[np.bool_], groups: npt.NDArray[np.intp]) -> float:
    """Return how many frames count as much as one independent frame: 1 if each frame shows another part.

    The correlation of frames of one part is estimated from the frames, and drawn towards 0.3 while few frames count.
    """
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    total, parts = len(is_hit), len(sizes)
    if parts == total or parts < 2:
        return float(total / parts)
    rate, hits = is_hit.mean(), np.bincount(index.reshape(-1), is_hit, parts)
    within = float((hits - hits**2 / sizes).sum()) / (total - parts)
    between = float((sizes * (hits / sizes - rate) ** 2).sum()) / (parts - 1)
    size = (total - float((sizes**2).sum()) / total) / (parts - 1)
    variance = between + (size - 1) * within
    found = max(0.0, (between - within) / variance) if variance else 0.0
    weight = min(is_hit.sum(), total - is_hit.sum())
    correlation = (found * weight + _PRIOR_CORRELATION * _PRIOR_WEIGHT) / (weight + _PRIOR_WEIGHT)
    return float(1 + (float((sizes**2).sum()) / total - 1) * correlation)


def _quantile(alpha: float, beta: float, trials: int, share: float) -> int:
    """Return the least count of hits whose cumulated beta-binomial probability reaches a share."""
    count = np.arange(trials)
    steps = np.log((trials - count) / (count + 1)) + np.log((alpha + count) / (beta + trials - count - 1))
    first = _log_beta(alpha, beta + trials) - _log_beta(alpha, beta)
    cumulated = np.cumsum(np.exp(first + np.concatenate([[0.0], np.cumsum(steps)])))
    return int(np.searchsorted(cumulated, share * cumulated[-1]))


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
