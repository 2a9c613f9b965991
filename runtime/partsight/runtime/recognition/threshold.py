"""The threshold: the good frames that a user's threshold refuses, and the unknown parts that it accepts."""

import logging
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from partsight.runtime.core import is_number
from partsight.runtime.package import Decision

SCORE_RANGES: Mapping[str, tuple[float, float]] = {"agreement": (0, 1), "probability": (0, 1), "cosine": (-1, 1)}
"""The lowest and the highest score of each kind."""

MORE_REFUSED, MORE_ACCEPTED = 0.1, 0.25
"""Largest increase of a share, compared with the package's own threshold, without a warning: share of good frames that
are refused, and share of frames of unknown parts that get a label."""

_FAR_ABOVE, _FAR_BELOW = 0.25, 0.5  # shares of the way from the package's own threshold to the extreme score

_log = logging.getLogger("partsight.runtime")


def check_threshold(threshold: float | None) -> None:
    """Refuse a user's threshold that is no finite number; None stands for the package's own.

    Raises:
        ValueError: It is infinite, NaN, or of another kind.
    """
    if threshold is None or (is_number(threshold) and math.isfinite(threshold)):  # no score is below or above NaN
        return
    raise ValueError(
        f"threshold is {threshold!r}; expected a finite number, or None for the package's own. A "
        "threshold of 9 refuses all frames, and -9 refuses none"
    )


def threshold_warning(decision: Decision, threshold: float) -> str:
    """Return a warning about a user's threshold; empty if the threshold is usable.

    Args:
        decision: Decision of the package, with its own threshold.
        threshold: The user's threshold.
    """
    own = f"use {_own(decision)}"
    least, most = _range(decision)
    if threshold > most:
        return f"threshold {threshold:g} refuses all frames: no score is above {most:g}; {own}"
    if threshold <= least:
        return f"threshold {threshold:g} refuses no frame: no score is below {least:g}; {own}"
    if not decision.taught_scores or not decision.unknown_scores:
        return _by_distance(decision, threshold)
    both = (threshold, decision.threshold)
    refused, own_refused = (share_below(decision.taught_scores, score) for score in both)
    accepted, own_accepted = (1 - share_below(decision.unknown_scores, score) for score in both)
    if refused - own_refused >= MORE_REFUSED:
        return f"threshold {threshold:g} refuses {refused:.0%} of good frames, by varied golden images; {own}"
    if accepted - own_accepted >= MORE_ACCEPTED:
        return f"threshold {threshold:g} gives {accepted:.0%} of frames of unknown parts a label; {own}"
    return ""


def warn_of_threshold(decision: Decision, threshold: float, package: str) -> None:
    """Log the warning about a user's threshold for a package; see `threshold_warning`."""
    if warning := threshold_warning(decision, threshold):
        _log.warning("%s", warning, extra={"event": "threshold_unfit", "package": package})


def share_below(quantiles: Sequence[float], score: float) -> float:
    """Return the share of scores below a score, by linear interpolation between quantiles.

    Args:
        quantiles: At least two quantiles of the scores at equal steps, in rising order, from the lowest to the highest.
        score: Score to compare with.
    """
    index = bisect_left(quantiles, score)
    if index in (0, len(quantiles)):
        return float(index > 0)
    low, high = quantiles[index - 1 : index + 1]
    return (index - 1 + (score - low) / (high - low)) / (len(quantiles) - 1)


def _range(decision: Decision) -> tuple[float, float]:
    """Return the lowest and the highest score: margin and lead, at most 1 each, may add to it."""
    least, most = SCORE_RANGES[decision.score]
    return least, most + decision.by_margin + decision.by_network


def _own(decision: Decision) -> str:
    share = f"{decision.expected_false_reject:.1%}"
    return f"the package's own, {decision.threshold:.3g}, which refuses {share} of good frames"


def _by_distance(decision: Decision, threshold: float) -> str:
    """Judge a threshold by its distance from the package's own: for a package without quantiles of scores."""
    least, most = _range(decision)
    above = (threshold - decision.threshold) / max(most - decision.threshold, 1e-9)
    below = (decision.threshold - threshold) / max(decision.threshold - least, 1e-9)
    if above < _FAR_ABOVE and below < _FAR_BELOW:
        return ""
    effect = "refuse many good frames" if above > 0 else "accept unknown parts"
    return (
        f"threshold {threshold:g} may {effect}: it is far from {_own(decision)}; this package cannot say how many: "
        "train and export it again with this partsight"
    )
