"""Explanation: why a frame got its answer, for people; `picture` draws it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from partsight.runtime.core import FloatArray, Pixels, best_first
from partsight.runtime.matching import Overlay, Rule, Spot, compare_golden_images, lay_over
from partsight.runtime.recognition.matching_stage import MatchingStage
from partsight.runtime.recognition.results import Answer, decide, decide_matched

_SHOWN = 2  # golden images that a frame is laid over: the best and the runner-up


@dataclass(frozen=True)
class Explanation:
    """Why a frame got its answer.

    Attributes:
        answer: The answer, as `Recognizer.recognize` gives it.
        frame: The frame as partsight compares it, (height, width, 3) uint8 BGR, cropped to the package's region.
        best_label: The best candidate, accepted or not.
        runner_up_label: The second best; None if the frame was compared with one part.
        best, runner_up: The frame laid over the reference of each that agrees best; None if frames are not compared
            with golden images, or there is no runner-up.
        pair: If two parts fit, the golden image of the runner-up laid over the best one's: its spot tells them apart.
    """

    answer: Answer
    frame: Pixels
    best_label: str
    runner_up_label: str | None = None
    best: Overlay | None = None
    runner_up: Overlay | None = None
    pair: Overlay | None = None

    @property
    def sentence(self) -> str:
        """The reason in one sentence of plain words."""
        return _SENTENCES[self.answer.reason](self)

    @property
    def is_refused_by_pose(self) -> bool:
        """Whether the difference is small enough for a label, and only the shear and stretch of the pose are not."""
        if self.best is None or self.answer.reason != "agrees_with_none":
            return False
        return 1 / (1 + self.best.spot.tolerances) >= self.answer.threshold  # the agreement without shear and stretch

    def to_json(self) -> bytes:
        """Return answer, sentence, spots and poses as JSON in UTF-8, without the images; docs/explain.md lists it."""
        answer = self.answer
        facts = {
            "label": answer.label,
            "reason": answer.reason,
            "sentence": self.sentence,
            "score": _number(answer.score),
            "threshold": _number(answer.threshold),
            "margin": _number(answer.margin),
            "least_margin": _number(answer.least_margin),
            "best": _facts_of(self.best_label, self.best),
            "runner_up": None if self.runner_up_label is None else _facts_of(self.runner_up_label, self.runner_up),
            "pair": None if self.pair is None else {"agreement": self.pair.agreement, "spot": asdict(self.pair.spot)},
            "golden_hw": None if self.best is None else self.best.golden.shape[:2],
        }
        return msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"


def explain(
    frame: Pixels,
    score: FloatArray,
    labels: Sequence[str],
    stage: MatchingStage | None,
    rule: Rule,
    top: int,
) -> Explanation:
    """Answer a frame as the pipeline does, and say why.

    Args:
        frame: Prepared frame, of the references' size if there is a stage, (height, width, 3) uint8 BGR.
        score: Scores of the network, (1, classes) float32.
        labels: Labels of the classes, in order.
        stage: Comparison with golden images; None for the network's scores alone.
        rule: Least score that is accepted.
        top: Number of candidates that the answer names.

    Raises:
        PackageError: A golden image is damaged or missing.
    """
    if stage is None:
        best, *others = (labels[index] for index in best_first(score[0], _SHOWN))
        (answer,) = decide(score, labels, rule.threshold, top)
        return Explanation(answer, frame, best, next(iter(others), None))
    matcher = stage.matcher  # on a card the graph finds the poses; the processor makes the overlays
    matches = matcher.match(frame[None], score)
    (answer,) = decide_matched(matches, matcher.bank, matcher.spec, labels, rule, top)
    shown = [index for index, agreement in enumerate(matches.agreement[0, :_SHOWN]) if agreement > 0] or [0]
    goldens = [
        stage.reference_image(index, row - int(matcher.bank.references_of[index, 0]))
        for index, row in zip(matches.classes[0, : len(shown)].tolist(), matches.references[0].tolist(), strict=False)
    ]
    best_overlay, *rest = lay_over(frame, matches, goldens, matcher.bank, matcher.spec)
    runner_up = next(iter(rest), None)
    pair = None
    if answer.reason == "two_parts_fit" and runner_up is not None:
        pair = compare_golden_images(best_overlay.golden, runner_up.golden, matcher.spec)
    return Explanation(
        answer,
        frame,
        best_label=labels[best_overlay.class_index],
        runner_up_label=None if runner_up is None else labels[runner_up.class_index],
        best=best_overlay,
        runner_up=runner_up,
        pair=pair,
    )


def _recognised(why: Explanation) -> str:
    text = f"recognised as {why.best_label} ({against(why.answer.score, why.answer.threshold)})"
    if why.runner_up_label is None:
        return f"{text}; there is no other part to compare with"
    return f"{text}; the next part, {why.runner_up_label}, is {why.answer.margin:.2f} behind"


def _agrees_with_none(why: Explanation) -> str:
    nearest = f"nearest is {why.best_label} ({against(why.answer.score, why.answer.threshold)})"
    if why.best is None:
        return f"the network's score is too low: {nearest}"
    text = f"agrees with no golden image: {nearest}; it differs most at the {_place_of(why.best.spot)}"
    if not why.is_refused_by_pose:
        return text
    shear = f"{100 * why.best.pose.distortion:.1f} %"
    return f"{text}, and its pose is sheared or stretched by {shear}: both together are too much"


def _two_parts_fit(why: Explanation) -> str:
    answer, other = why.answer, why.runner_up_label
    text = f"two parts fit: {why.best_label} ({answer.score:.2f}) and {other} ({answer.score - answer.margin:.2f})"
    lead = f"the lead is {against(answer.margin, answer.least_margin)}"
    if why.pair is None:
        return f"{text}; {lead}"
    return f"{text}; {lead}; their golden images {describe_pair(why.pair)}"


_SENTENCES = {"recognised": _recognised, "agrees_with_none": _agrees_with_none, "two_parts_fit": _two_parts_fit}


def describe_pair(overlay: Overlay) -> str:
    """Return how much two golden images differ, and where, in words that follow their names."""
    differ = "differ most" if overlay.spot.tolerances >= 1 else "hardly differ, most"
    return f"{differ} at the {_place_of(overlay.spot)}"


def _place_of(spot: Spot) -> str:
    return f"{spot.where}, {spot.tolerances:.1f} times the tolerance"


def against(value: float, needed: float) -> str:
    """Return a number and the least that is needed, with as many digits as tell them apart."""
    digits = next((digits for digits in (2, 3, 4) if f"{value:.{digits}f}" != f"{needed:.{digits}f}"), 5)
    return f"{value:.{digits}f}, needs {needed:.{digits}f}"


def _facts_of(label: str, overlay: Overlay | None) -> dict[str, Any]:
    if overlay is None:
        return {"label": label}
    return {
        "label": label,
        "agreement": overlay.agreement,
        "reference": overlay.reference,
        "pose": asdict(overlay.pose),
        "spot": asdict(overlay.spot),
    }


def _number(value: float) -> float | None:
    """Return None for infinity and NaN, for which JSON has no number."""
    return value if abs(value) < float("inf") else None
