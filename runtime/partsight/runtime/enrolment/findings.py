"""Findings: what to expect of parts that were enrolled, and what enrolment did to the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.calibration import Answered
from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.enrolment.evaluation import Frame, Subject
from partsight.runtime.enrolment.new_parts import Newcomer
from partsight.runtime.images import preprocess
from partsight.runtime.package import Manifest

TWIN_AGREEMENT = 0.5
"""From here on two golden images differ nowhere by more than noise and light explain."""

TWIN_COSINE = 0.999
"""The same for packages that compare no golden images."""


@dataclass(frozen=True)
class Lookalike:
    """The other part whose golden image fits a new one best.

    Attributes:
        label: of the other part.
        likeness: agreement of the two golden images; cosine where the package compares none.
        is_confusable: whether the new part, were it not taught, would be given the other's label.
        is_twin: whether they differ by no more than noise and light explain: frames of both will often be answered
            unknown, or as the other.
    """

    label: str
    likeness: float
    is_confusable: bool
    is_twin: bool


@dataclass(frozen=True)
class NewPart:
    """A part that was added or replaced, and what to expect of it on the line.

    Attributes:
        label: its name.
        replaced: whether the package had it before.
        images: golden images it was learned from.
        frames: varied golden images on which the next three were estimated.
        right, refused, wrong: shares of them that got its label, were answered unknown, got another part's label.
        lookalike: the other part that it looks most like.
        misfits: sentences on what its golden images have not in common with those of the package: scale, sharpness,
            light, size; see `golden_check`.
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


def judge(
    subject: Subject, place: int, newcomer: Newcomer, frames: Sequence[Frame], misfits: tuple[str, ...]
) -> NewPart:
    """Say what to expect of a new part.

    Args:
        subject: the package.
        place: of the part among the labels.
        newcomer: the part.
        frames: of `recheck.evaluate`, those of other parts among them.
        misfits: see `NewPart`.
    """
    own = [frame for frame in frames if frame.sample.place == place]
    accepted = [_is_accepted(subject.manifest, frame.final.best) for frame in own]
    right = [is_accepted and frame.final.is_right for is_accepted, frame in zip(accepted, own, strict=True)]
    image = newcomer.images[0]
    score = subject.session.run(preprocess([image], subject.manifest.preprocess)).score[0]
    return NewPart(
        label=newcomer.label,
        replaced=newcomer.label in subject.manifest.provenance.enrolments[-1].replaced,
        images=len(newcomer.images),
        frames=len(own),
        right=float(np.mean(right)),
        refused=1 - float(np.mean(accepted)),
        wrong=float(np.mean(accepted)) - float(np.mean(right)),
        lookalike=_find_lookalike(subject, place, image, score),
        misfits=misfits,
    )


def _is_accepted(manifest: Manifest, score: float) -> bool:
    decision = manifest.matching.decision if manifest.matching else manifest.decision
    return bool(score >= np.float32(decision.threshold))


def find_harmed(manifest: Manifest, frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return the old parts with a frame that got its label without the new parts, and with them does not."""

    def is_right(answered: Answered) -> bool:
        return answered.is_right and _is_accepted(manifest, answered.best)

    old = [frame for frame in frames if not frame.sample.is_new]
    harmed = (frame for frame in old if is_right(frame.final_before) and not is_right(frame.final))
    return tuple(manifest.labels[frame.sample.place] for frame in harmed)


def _find_lookalike(subject: Subject, place: int, image: Pixels, score: FloatArray) -> Lookalike | None:
    """Compare a new golden image with those of all other parts.

    Args:
        subject: the package, with the new part.
        place: of the new part among the labels.
        image: its golden image, as read.
        score: (classes,) float32, the network's, of that image.

    Returns:
        None if there is no other part.
    """
    manifest = subject.manifest
    matching = manifest.matching
    if len(score) < 2:
        return None
    is_own = np.arange(len(score)) == place
    if matching and subject.matcher:
        frame = preprocess([image], matching.spec.preprocess(manifest.preprocess))
        matches = subject.matcher.match(frame, score[None], is_own[None])
        other, likeness = int(matches.classes[0, 0]), float(matches.agreement[0, 0])
        threshold, twin = matching.decision.threshold, TWIN_AGREEMENT
    else:
        others = np.where(is_own, -np.inf, score)
        other, threshold, twin = int(others.argmax()), manifest.decision.threshold, TWIN_COSINE
        likeness = float(others[other])
    return Lookalike(manifest.labels[other], likeness, likeness >= threshold, likeness >= twin)
