"""The decision of a commissioned package, fitted to the frames of the line."""

import msgspec
import numpy as np
from msgspec.structs import astuple

from partsight.runtime.calibration.answers import answer_by_matches
from partsight.runtime.calibration.commissioning.line_answers import LineAnswers
from partsight.runtime.calibration.rule_fit import UNKNOWN_PRICE, rule_for
from partsight.runtime.calibration.thresholds import choose_threshold
from partsight.runtime.matching import MatchingSpec, Rule
from partsight.runtime.package import Decision

PRIOR_FRAMES = 20
"""Number of frames that the package's own rule counts as."""

_NOTHING = Rule(1.0)
"""Accepts no frame: no frame is right, so that no rule can be fitted."""


def fit_line_rule(answers: LineAnswers, before: Rule, max_false_reject: float) -> Rule:
    """Fit a rule to frames of the line. Unknown frames, and frames without their own part, stand for unknown parts.

    A few frames say little, so the package's own rule counts as `PRIOR_FRAMES` frames: the new rule lies between it and
    the fitted one. It refuses no larger share of the frames of the fit than permitted.

    Args:
        answers: Answers to frames, at least one of a taught part.
        before: Rule of the package.
        max_false_reject: Share of frames of taught parts that may get no label, in [0, 1].
    """
    repeated = _repeated(answers)
    rule = rule_for(
        repeated.taught, repeated.left_out, repeated.classes, repeated.spec, max_false_reject, UNKNOWN_PRICE
    )
    if rule is None:
        return _NOTHING
    share = PRIOR_FRAMES / (PRIOR_FRAMES + int(repeated.is_right_first.sum()))
    mixed = Rule(*(share * old + (1 - share) * new for old, new in zip(astuple(before), astuple(rule), strict=True)))
    right = repeated.taught.evidence(mixed)[repeated.is_right_first & repeated.taught.is_distinct(repeated.spec)]
    limit = float(np.quantile(right, max_false_reject, method="higher"))
    return msgspec.structs.replace(mixed, threshold=min(mixed.threshold, limit))


def fit_decision(answers: LineAnswers, before: Rule, max_false_reject: float) -> Decision:
    """Return the decision of the rule that `fit_line_rule` finds, with the rates on the same frames."""
    rule, repeated = fit_line_rule(answers, before, max_false_reject), _repeated(answers)
    varied = answer_by_matches(repeated.taught, repeated.left_out, repeated.classes, repeated.spec, rule)
    return choose_threshold(varied.of_frames(repeated.is_taught), "agreement", max_false_reject, rule)


def strict_rule(answers: LineAnswers, rule: Rule, share: float) -> Rule:
    """Return a rule with the same weights that refuses at least a share of the frames, those that fit worst.

    Args:
        answers: Answers to frames.
        rule: Rule to start from.
        share: Share of the frames whose best golden image is of their own part, in [0, 1].
    """
    right = answers.taught.evidence(rule)[answers.is_right_first]
    if not len(right):
        return rule
    return msgspec.structs.replace(rule, threshold=max(rule.threshold, float(np.quantile(right, share))))


def fit_tolerances(answers: LineAnswers) -> MatchingSpec:
    """Return the specification with tolerances that fit the frames: the same, as no measurement favours another."""
    return answers.spec


def _repeated(answers: LineAnswers) -> LineAnswers:
    """Return each frame as often as the line saw frames like it."""
    return answers.of_frames(np.repeat(np.arange(len(answers)), answers.weights))
