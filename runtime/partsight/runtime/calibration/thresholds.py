"""Thresholds: the score from which on a frame gets a label, and how many frames each threshold refuses."""

import msgspec
import numpy as np

from partsight.runtime.calibration.answers import VariedAnswers
from partsight.runtime.core import FloatArray
from partsight.runtime.matching import Rule
from partsight.runtime.package import Decision

_CURVE_POINTS = 200
_QUANTILES = 21


class RejectCurve(msgspec.Struct, frozen=True):
    """Rates of refused and accepted frames over thresholds, estimated on varied golden images.

    Attributes:
        threshold: Thresholds, rising.
        false_reject: Share of frames of taught parts below each threshold.
        false_accept: Share of frames of parts left out that reach each threshold.
    """

    threshold: tuple[float, ...]
    false_reject: tuple[float, ...]
    false_accept: tuple[float, ...]

    @classmethod
    def of(cls, answers: VariedAnswers) -> "RejectCurve":
        """Return the curve from the lowest score to the highest."""
        scores = np.concatenate([answers.taught, answers.left_out])
        thresholds = np.linspace(scores.min(), scores.max(), _CURVE_POINTS)
        return cls(
            tuple(float(value) for value in thresholds),
            tuple(false_reject(answers, value) for value in thresholds),
            tuple(false_accept(answers, value) for value in thresholds),
        )


def false_reject(answers: VariedAnswers, threshold: float | np.floating) -> float:
    """Return the share of frames of taught parts that a threshold refuses."""
    return float(np.mean(answers.taught < threshold))


def false_accept(answers: VariedAnswers, threshold: float | np.floating) -> float:
    """Return the share of frames of parts left out that get a label."""
    return float(np.mean(answers.left_out >= threshold))


def choose_threshold(answers: VariedAnswers, score: str, max_false_reject: float, rule: Rule | None = None) -> Decision:
    """Choose the threshold that refuses at most a share of the frames that would get their own label.

    A frame that would get the label of another part does not count: the threshold should refuse it.

    Args:
        answers: Answers to varied golden images.
        score: Kind of their scores: "agreement", "cosine" or "probability".
        max_false_reject: Share of frames, in [0, 1].
        rule: Rule that was fitted to the same frames, whose evidence the answers hold; None for a threshold alone.
    """
    counted = answers.taught[answers.is_right] if answers.is_right.any() else answers.taught
    threshold = rule.threshold if rule else float(np.quantile(counted, max_false_reject, method="lower"))
    if score == "agreement" and not answers.is_right.any():
        threshold = 1.0  # no threshold gives a frame its own label, so none may give it another
    size = len(answers)
    values = {
        "score": score,
        "threshold": threshold,
        "method": f"quantile of {size} varied golden images; each part left out in turn",
        "samples": size,
        "expected_false_reject": false_reject(answers, threshold),
        "expected_false_accept": false_accept(answers, threshold),
        "taught_scores": _quantiles(answers.taught),
        "unknown_scores": _quantiles(answers.left_out),
        "by_margin": rule.by_margin if rule else 0.0,
        "by_network": rule.by_network if rule else 0.0,
    }
    return msgspec.convert(values, Decision)


def _quantiles(scores: FloatArray) -> list[float]:
    return [round(float(score), 4) for score in np.quantile(scores, np.linspace(0, 1, _QUANTILES))]
