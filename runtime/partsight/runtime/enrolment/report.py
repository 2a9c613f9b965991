"""The report: what to expect of parts that were enrolled, of the other parts and of the package's rates."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration import VariedAnswers, false_accept, false_reject
from partsight.runtime.core import Pixels
from partsight.runtime.enrolment.evaluation import AnswerPair, Draft, Evaluation
from partsight.runtime.enrolment.new_parts import NewPartImages
from partsight.runtime.images import preprocess
from partsight.runtime.matching import Spot, worst_spots
from partsight.runtime.package import Decision, Manifest

TWIN_AGREEMENT = 0.5
"""Agreement from which on two golden images differ nowhere by more than noise and light explain."""

TWIN_COSINE = 0.999
"""Cosine for the same decision in packages without matching."""


@dataclass(frozen=True)
class Lookalike:
    """The other part with a reference that fits an image of the new part best.

    Attributes:
        label: Label of the other part.
        likeness: Agreement of the two images; their cosine if the package has no matching.
        is_confusable: Whether a frame of the new part would get the other's label if the new part were not taught.
        is_twin: Whether noise and light explain all differences: frames of both are often answered unknown, or as the
            other part.
        spot: Where the new image differs most from the other, in pixels of the other at the size of the
            comparison; None if the package has no matching.
    """

    label: str
    likeness: float
    is_confusable: bool
    is_twin: bool
    spot: Spot | None = None


@dataclass(frozen=True)
class NewPartReport:
    """Expected answers on the line for a part that was added or replaced.

    Attributes:
        label: Label of the part.
        replaced: Whether the package had the part before.
        images: Number of its images: the golden image and further references, with all of which frames are compared.
        frames: Number of varied copies of these images, on which the next three shares are estimated.
        right, refused, wrong: Shares of frames with its label, without a label, with another part's label.
        lookalike: Other part that it looks most like; None if there is no other part.
        misfits: Sentences on differences between its golden images and those of the package: scale, sharpness, light,
            size; see `golden_check`.
    """

    label: str
    replaced: bool
    images: int
    frames: int
    right: float
    refused: float
    wrong: float
    lookalike: Lookalike | None
    misfits: tuple[str, ...] = ()


def report_part(evaluation: Evaluation, index: int, part: NewPartImages, misfits: tuple[str, ...]) -> NewPartReport:
    """Return what to expect of a new part.

    Args:
        evaluation: Answers to frames of the new parts and of others.
        index: Index of the part among the labels.
        part: Golden images of the part.
        misfits: Sentences for the report.
    """
    draft, own = evaluation.draft, evaluation.final.after.of_frames(evaluation.index == index)
    accepted = _is_accepted(draft.manifest, own)
    right = accepted & own.is_right
    lookalikes = [_find_lookalike(draft, index, image) for image in part.images]
    return NewPartReport(
        label=part.label,
        replaced=part.label in draft.manifest.provenance.enrolments[-1].replaced,
        images=len(part.images),
        frames=len(own),
        right=float(np.mean(right)),
        refused=1 - float(np.mean(accepted)),
        wrong=float(np.mean(accepted)) - float(np.mean(right)),
        lookalike=max(filter(None, lookalikes), key=lambda item: item.likeness, default=None),
        misfits=misfits,
    )


def find_harmed(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the old parts with a frame that gets its label without the new parts, and not with them."""
    manifest, answers = evaluation.draft.manifest, evaluation.final
    was_right, is_right = (
        answer.is_right & _is_accepted(manifest, answer) for answer in (answers.before, answers.after)
    )
    lost = evaluation.index[~evaluation.is_new & was_right & ~is_right]
    return tuple(manifest.labels[index] for index in lost)


def _is_accepted(manifest: Manifest, answers: VariedAnswers) -> npt.NDArray[np.bool_]:
    """Return which frames get a label, (frames,)."""
    decision = manifest.matching.decision if manifest.matching else manifest.decision
    return np.asarray(answers.taught >= np.float32(decision.threshold))


def _find_lookalike(draft: Draft, index: int, image: Pixels) -> Lookalike | None:
    """Compare an image of a new part with the references of all other parts.

    Args:
        draft: The package, with the new part.
        index: Index of the new part among the labels.
        image: Golden image or further reference of the part, as read.

    Returns:
        None if there is no other part.
    """
    manifest, matching = draft.manifest, draft.manifest.matching
    score = draft.session.run(preprocess([image], manifest.preprocess)).score[0]
    if len(score) < 2:
        return None
    is_own = np.arange(len(score)) == index
    if matching and draft.matcher:
        frame = preprocess([image], matching.spec.preprocess(manifest.preprocess))
        matches = draft.matcher.match(frame, score[None], is_own[None])
        other, likeness = int(matches.classes[0, 0]), float(matches.agreement[0, 0])
        is_confusable = float(matches.evidence(matching.decision.rule)[0]) >= matching.decision.threshold
        twin = TWIN_AGREEMENT
        spot = worst_spots(frame[0], matches, draft.matcher.bank, draft.matcher.spec)[0]
    else:
        others = np.where(is_own, -np.inf, score)
        other, twin = int(others.argmax()), TWIN_COSINE
        likeness, spot = float(others[other]), None
        is_confusable = likeness >= manifest.decision.threshold
    return Lookalike(manifest.labels[other], likeness, is_confusable, likeness >= twin, spot)


def with_new_rates(evaluation: Evaluation) -> Manifest:
    """Return the manifest of the package with the expected rates of the same thresholds, estimated again."""
    manifest = evaluation.draft.manifest
    decision = _estimate(manifest.decision, evaluation, evaluation.by_network)
    matching = manifest.matching
    if matching and evaluation.by_agreement:
        estimated = _estimate(matching.decision, evaluation, evaluation.by_agreement)
        matching = msgspec.structs.replace(matching, decision=estimated)
    return msgspec.structs.replace(manifest, decision=decision, matching=matching)


def _estimate(decision: Decision, evaluation: Evaluation, answers: AnswerPair) -> Decision:
    if not evaluation.is_new.any():
        return decision
    pool = _Pool.of(evaluation, answers, np.float32(decision.threshold))
    accepts = decision.expected_false_accept
    return msgspec.structs.replace(
        decision,
        method=f"{decision.method.partition('; enrolment: ')[0]}; enrolment: rates estimated again on {len(pool.new)} "
        f"varied images of {pool.parts} new parts and {len(pool.after)} of parts like them",
        expected_false_reject=pool.rate(decision.expected_false_reject, false_reject),
        expected_false_accept=None if accepts is None else pool.rate(accepts, false_accept),
    )


@dataclass(frozen=True)
class _Pool:
    """Answers from which the rates of the whole package follow.

    Attributes:
        new: Answers to frames of new parts.
        before, after: Answers to frames of old parts, without the new parts and with them.
        parts: Number of new parts.
        labels: Number of all parts.
        threshold: Threshold of the package.
    """

    new: VariedAnswers
    before: VariedAnswers
    after: VariedAnswers
    parts: int
    labels: int
    threshold: np.float32

    @classmethod
    def of(cls, evaluation: Evaluation, answers: AnswerPair, threshold: np.float32) -> "_Pool":
        is_new = evaluation.is_new
        return cls(
            new=answers.after.of_frames(is_new),
            before=answers.before.of_frames(~is_new),
            after=answers.after.of_frames(~is_new),
            parts=len(set(evaluation.index[is_new].tolist())),
            labels=len(evaluation.draft.manifest.labels),
            threshold=threshold,
        )

    def rate(self, old_rate: float, estimate: Callable[[VariedAnswers, np.float32], float]) -> float:
        """Return the mean rate of all parts: old ones keep theirs, plus the change that the evaluation shows.

        Args:
            old_rate: Mean rate of the old parts before.
            estimate: Rate of some answers at the threshold.
        """
        kept = self.labels - self.parts
        change = 0.0
        if len(self.after):
            change = len(self.after) * (estimate(self.after, self.threshold) - estimate(self.before, self.threshold))
        whole = kept * old_rate + change + self.parts * estimate(self.new, self.threshold)
        return float(np.clip(whole / self.labels, 0, 1))
