"""The recheck: what the reject threshold of a package does to parts that were enrolled, and they to the others.

The threshold stays. Golden images of the new parts, varied as a line varies, say how often those are refused. Parts
that look like a new one are varied, too: each of their frames is answered with the new parts and without them, and the
difference is what enrolment changed. That of the other parts is taken for nothing. Their golden images are those in the
package, a little coarser than the network's input, which both answers suffer alike.

The counts of candidates grow if a frame's own part is not among them, and never shrink.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from partsight.runtime.calibration import (
    Answered,
    Ranks,
    Trial,
    Variation,
    answer_by_agreement,
    answer_by_score,
    vary,
    with_more_candidates,
)
from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.inference import Session
from partsight.runtime.matching import Matcher, MatchingSpec
from partsight.runtime.package import Decision, Manifest

BATCH = 32
FRAMES = 256
"""About how many varied images of new parts there are, at most 32 of each and at least one."""

_MAX_COPIES = 32

Track = Callable[[Sequence[int], str], Iterable[int]]
"""Yields the items, and may show how far they are; takes them and what is being done."""


@dataclass(frozen=True)
class Sample:
    """A golden image that frames are made from.

    Attributes:
        place: of its part among the labels.
        images: of the part, each (height, width, 3) or (height, width) uint8; may be read from files when asked for.
        turn: which of them, counted round.
        is_new: whether the part is enrolled; else it is one that looks like a new one.
    """

    place: int
    images: Sequence[Pixels]
    turn: int
    is_new: bool

    @property
    def image(self) -> Pixels:
        """The image that the frame is made from."""
        return self.images[self.turn % len(self.images)]


@dataclass(frozen=True)
class Subject:
    """A package that is being made.

    Attributes:
        session: of its network.
        manifest: of it.
        matcher: None where frames are not compared with golden images.
        new: places of its new parts among the labels.
    """

    session: Session
    manifest: Manifest
    matcher: Matcher | None
    new: frozenset[int]

    def with_spec(self, spec: MatchingSpec) -> "Subject":
        """Return the package with frames compared in another way."""
        if self.matcher is None or self.manifest.matching is None or spec == self.matcher.spec:
            return self
        matching = msgspec.structs.replace(self.manifest.matching, spec=spec)
        manifest = msgspec.structs.replace(self.manifest, matching=matching)
        return replace(self, manifest=manifest, matcher=Matcher(self.matcher.bank, spec))


@dataclass(frozen=True)
class Frame:
    """How one varied image is answered.

    Attributes:
        sample: what it was made from.
        network, network_before: by the network's score, with the new parts and without them.
        agreement, agreement_before: by comparison with golden images; None where there is none.
        rank_by_network, rank_by_thumbnail: how many other parts come before its own, with the new parts.
    """

    sample: Sample
    network: Answered
    network_before: Answered
    agreement: Answered | None
    agreement_before: Answered | None
    rank_by_network: int
    rank_by_thumbnail: int

    @property
    def final(self) -> Answered:
        """The answer that the line gives."""
        return self.network if self.agreement is None else self.agreement

    @property
    def final_before(self) -> Answered:
        """The answer that the line gave before."""
        return self.network_before if self.agreement_before is None else self.agreement_before


@dataclass(frozen=True)
class Evaluation:
    """What varied images say of a package.

    Attributes:
        subject: the package; frames may be compared with more candidates than before.
        frames: as it answers them.
    """

    subject: Subject
    frames: Sequence[Frame]


def draw_samples(newcomers: Sequence[Sequence[Pixels]], places: Sequence[int]) -> list[Sample]:
    """Return as many samples of each new part as frames shall be made.

    Args:
        newcomers: golden images of each new part, used in turn.
        places: of each among the labels.
    """
    copies = max(1, min(_MAX_COPIES, FRAMES // max(1, len(newcomers))))
    return [
        Sample(place, images, copy, is_new=True)
        for images, place in zip(newcomers, places, strict=True)
        for copy in range(copies)
    ]


def evaluate(subject: Subject, samples: Sequence[Sample], seed: int, track: Track) -> Evaluation:
    """Vary each sample once and answer the frame; again, if more candidates are found to be needed.

    Args:
        subject: the package.
        samples: in an order in which parts that look alike follow each other.
        seed: of the variation.
        track: shows progress.
    """
    frames = _answer_all(subject, samples, seed, track)
    if subject.matcher is None:
        return Evaluation(subject, frames)
    ranks = Ranks(
        np.array([frame.rank_by_thumbnail for frame in frames], np.intp),
        np.array([frame.rank_by_network for frame in frames], np.intp),
    )
    grown = subject.with_spec(with_more_candidates(subject.matcher.spec, ranks))
    return Evaluation(grown, frames if grown is subject else _answer_all(grown, samples, seed, track))


def _answer_all(subject: Subject, samples: Sequence[Sample], seed: int, track: Track) -> list[Frame]:
    rng = np.random.default_rng(seed)
    frames: list[Frame] = []
    for start in track(range(0, len(samples), BATCH), "looking at the threshold again"):
        chunk = samples[start : start + BATCH]
        frames += _answer(subject, chunk, [vary(sample.image, Variation(), rng) for sample in chunk])
    return frames


def seen_by(spec: PreprocessSpec, sample: Sample) -> PreprocessSpec:
    """Return the preprocessing of a sample: golden images in the package were cropped when it was made."""
    return spec if sample.is_new else msgspec.structs.replace(spec, region=None)


def _prepared(samples: Sequence[Sample], images: Sequence[Pixels], spec: PreprocessSpec) -> Pixels:
    parts = [preprocess([image], seen_by(spec, sample)) for sample, image in zip(samples, images, strict=True)]
    return np.concatenate(parts)


def _answer(subject: Subject, samples: Sequence[Sample], images: Sequence[Pixels]) -> list[Frame]:
    spec, matcher = subject.manifest.preprocess, subject.matcher
    score = subject.session.run(_prepared(samples, images, spec)).score
    classes = np.array([sample.place for sample in samples], np.intp)
    index = np.arange(score.shape[1])
    others_new = np.isin(index, list(subject.new)) & (index != classes[:, None])
    network = [answer_by_score(row, place) for row, place in zip(score, classes.tolist(), strict=True)]
    network_before = [
        answer_by_score(row[~new], place - int(new[:place].sum()))
        for row, new, place in zip(score, others_new, classes.tolist(), strict=True)
    ]
    by_network = (score > np.take_along_axis(score, classes[:, None], 1)).sum(axis=1)
    agreement: Sequence[Answered | None] = [None] * len(samples)
    agreement_before, by_thumbnail = agreement, np.full(len(samples), score.shape[1])
    if matcher is not None:
        frames = _prepared(samples, images, matcher.spec.preprocess(spec))
        agreement = agreement_before = answer_by_agreement(matcher, frames, score, classes)
        if others_new.any():
            agreement_before = answer_by_agreement(matcher, frames, score, classes, others_new)
        if matcher.spec.by_thumbnail:
            by_thumbnail = matcher.rank(frames, classes)
    rows = zip(
        *(samples, network, network_before, agreement, agreement_before),
        *(by_network.tolist(), by_thumbnail.tolist()),
        strict=True,
    )
    return [Frame(*row) for row in rows]


def update_manifest(manifest: Manifest, frames: Sequence[Frame]) -> Manifest:
    """Return the manifest with the expected rates of the same thresholds, estimated again.

    Args:
        manifest: with the new labels.
        frames: answered with it.
    """
    decision = _estimate(manifest.decision, manifest, [(it.sample, it.network, it.network_before) for it in frames])
    matching = manifest.matching
    if matching:
        compared = [
            (frame.sample, frame.agreement, frame.agreement_before)
            for frame in frames
            if frame.agreement is not None and frame.agreement_before is not None
        ]
        matching = msgspec.structs.replace(matching, decision=_estimate(matching.decision, manifest, compared))
    return msgspec.structs.replace(manifest, decision=decision, matching=matching)


def _estimate(decision: Decision, manifest: Manifest, found: Sequence[tuple[Sample, Answered, Answered]]) -> Decision:
    new = [after for sample, after, _ in found if sample.is_new]
    if not new:
        return decision
    after = [item[1] for item in found if not item[0].is_new]
    before = [item[2] for item in found if not item[0].is_new]
    parts = len({sample.place for sample, _, _ in found if sample.is_new})
    kept = len(manifest.labels) - parts
    threshold = np.float32(decision.threshold)

    def pooled(rate: float, of: Callable[[Trial], float]) -> float:
        """Each part counts alike; of the old ones, those that were looked at bring their change."""
        change = len(after) * (of(Trial.of(after)) - of(Trial.of(before))) if after else 0.0
        return float(np.clip((kept * rate + change + parts * of(Trial.of(new))) / len(manifest.labels), 0, 1))

    accepts = decision.expected_false_accept
    return msgspec.structs.replace(
        decision,
        method=f"{decision.method.partition('; enrolment: ')[0]}; enrolment: rates estimated again on {len(new)} "
        f"varied images of {parts} new parts and {len(after)} of parts like them",
        expected_false_reject=pooled(
            decision.expected_false_reject, lambda trial: float(np.mean(trial.taught < threshold))
        ),
        expected_false_accept=None
        if accepts is None
        else pooled(accepts, lambda trial: float(np.mean(trial.left_out >= threshold))),
    )
