"""The evaluation: a package before it is written answers varied golden images, with the new parts and without them.

The threshold stays. Varied golden images of the new parts show how often it refuses them. Varied golden images of old
parts that look like a new one show how enrolment changes their answers. The golden images of old parts are those in the
package, a little coarser than the network's input. Both answers suffer alike, so only their difference counts.

The number of candidates grows if a frame's own part is not among them, and never shrinks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration import (
    Ranks,
    Variation,
    VariedAnswers,
    answer_by_agreement,
    answer_by_score,
    rank_by_score,
    vary,
    with_more_candidates,
)
from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.inference import Session
from partsight.runtime.matching import Matcher, MatchingSpec
from partsight.runtime.package import Manifest

BATCH = 32
FRAMES = 256
"""Approximate number of varied images of new parts: at most 32 of each, at least one."""

_MAX_COPIES = 32

Track = Callable[[Sequence[int], str], Iterable[int]]
"""Yields the items, and may show the progress; takes the items and the name of the work."""


@dataclass(frozen=True)
class Sample:
    """A golden image to vary.

    Attributes:
        index: Index of its part among the labels.
        images: Golden images of the part, each (height, width, 3) or (height, width) uint8; an access may read a file.
        copy: Number of this copy; copies take the images in turn.
        is_new: Whether the part is enrolled; an old part looks like a new one.
    """

    index: int
    images: Sequence[Pixels]
    copy: int
    is_new: bool

    @property
    def image_index(self) -> int:
        """Index of the image among the images of the part."""
        return self.copy % len(self.images)


@dataclass(frozen=True)
class Draft:
    """A package before it is written.

    Attributes:
        session: Session of its network.
        manifest: Manifest of the package.
        matcher: Matcher with its references; None if the package has no matching.
        new: Indices of the new parts among the labels.
    """

    session: Session
    manifest: Manifest
    matcher: Matcher | None
    new: frozenset[int]

    def with_spec(self, spec: MatchingSpec) -> "Draft":
        """Return the package with another specification of matching."""
        if self.matcher is None or self.manifest.matching is None or spec == self.matcher.spec:
            return self
        matching = msgspec.structs.replace(self.manifest.matching, spec=spec)
        manifest = msgspec.structs.replace(self.manifest, matching=matching)
        return replace(self, manifest=manifest, matcher=Matcher(self.matcher.bank, spec))


@dataclass(frozen=True)
class AnswerPair:
    """Answers to the same frames, without the new parts and with them.

    Attributes:
        before: Answers without the new parts, except for the frame's own.
        after: Answers with all parts.
    """

    before: VariedAnswers
    after: VariedAnswers

    @classmethod
    def joined(cls, batches: Sequence["AnswerPair"]) -> "AnswerPair":
        """Return the answers of all batches, in order."""
        return cls(
            VariedAnswers.joined([batch.before for batch in batches]),
            VariedAnswers.joined([batch.after for batch in batches]),
        )


@dataclass(frozen=True)
class Evaluation:
    """Answers of a package to varied golden images.

    Attributes:
        draft: The package; it may compare a frame with more candidates than before.
        samples: Golden images that the frames were made from.
        by_network: Answers by the network's score.
        by_agreement: Answers by matching; None if the package has no matching.
        ranks: Ranks of each frame's own part, with the new parts.
    """

    draft: Draft
    samples: Sequence[Sample]
    by_network: AnswerPair
    by_agreement: AnswerPair | None
    ranks: Ranks

    @property
    def final(self) -> AnswerPair:
        """The answers that a line gives."""
        return self.by_network if self.by_agreement is None else self.by_agreement

    @property
    def index(self) -> npt.NDArray[np.intp]:
        """(frames,) index of each frame's part among the labels."""
        return np.array([sample.index for sample in self.samples], np.intp)

    @property
    def is_new(self) -> npt.NDArray[np.bool_]:
        """(frames,) whether the frame's part is new."""
        return np.array([sample.is_new for sample in self.samples], bool)


def draw_samples(parts: Sequence[Sequence[Pixels]], indices: Sequence[int]) -> list[Sample]:
    """Return the samples of new parts, as many of each as frames are made.

    Args:
        parts: Golden images of each new part, used in turn.
        indices: Index of each new part among the labels.
    """
    copies = max(1, min(_MAX_COPIES, FRAMES // max(1, len(parts))))
    return [
        Sample(index, images, copy, is_new=True)
        for images, index in zip(parts, indices, strict=True)
        for copy in range(copies)
    ]


def evaluate(draft: Draft, samples: Sequence[Sample], seed: int, track: Track) -> Evaluation:
    """Vary each sample once and answer the frame; do so again if the package needs more candidates.

    Args:
        draft: The package.
        samples: Samples; parts that look alike follow each other.
        seed: Seed of the variation.
        track: Shows the progress.
    """
    found = _answer_all(draft, samples, seed, track)
    if draft.matcher is None or not samples:
        return found
    grown = draft.with_spec(with_more_candidates(draft.matcher.spec, found.ranks))
    return found if grown is draft else _answer_all(grown, samples, seed, track)


def _answer_all(draft: Draft, samples: Sequence[Sample], seed: int, track: Track) -> Evaluation:
    rng, images = np.random.default_rng(seed), _images_of(samples)
    batches = []
    for start in track(range(0, len(samples), BATCH), "estimating the rates again"):
        batch = samples[start : start + BATCH]
        batches.append(_answer(draft, batch, [vary(next(images), Variation(), rng) for _ in batch]))
    compared = [batch.by_agreement for batch in batches if batch.by_agreement is not None]
    return Evaluation(
        draft,
        samples,
        by_network=AnswerPair.joined([batch.by_network for batch in batches]),
        by_agreement=AnswerPair.joined(compared) if draft.matcher else None,
        ranks=Ranks.joined([batch.ranks for batch in batches]),
    )


def _images_of(samples: Iterable[Sample]) -> Iterator[Pixels]:
    """Yield the image of each sample; copies of one image that follow each other read its file once."""
    known, image = None, None
    for sample in samples:
        if image is None or known != (sample.index, sample.image_index):
            known, image = (sample.index, sample.image_index), sample.images[sample.image_index]
        yield image


def _answer(draft: Draft, samples: Sequence[Sample], images: Sequence[Pixels]) -> Evaluation:
    """Answer a batch of varied images, one of each sample."""
    spec, matcher = draft.manifest.preprocess, draft.matcher
    score = draft.session.run(_prepared(samples, images, spec)).score
    classes = np.array([sample.index for sample in samples], np.intp)
    index = np.arange(score.shape[1])
    others_new = np.isin(index, list(draft.new)) & (index != classes[:, None])
    by_network = AnswerPair(answer_by_score(score, classes, others_new), answer_by_score(score, classes))
    by_agreement, by_thumbnail = None, np.full(len(samples), score.shape[1])
    if matcher is not None and draft.manifest.matching is not None:
        rule = draft.manifest.matching.decision.rule
        frames = _prepared(samples, images, matcher.spec.preprocess(spec))
        before = after = answer_by_agreement(matcher, frames, score, classes, rule)
        if others_new.any():
            before = answer_by_agreement(matcher, frames, score, classes, rule, others_new)
        by_agreement = AnswerPair(before, after)
        if matcher.spec.by_thumbnail:
            by_thumbnail = matcher.rank(frames, classes)
    return Evaluation(draft, samples, by_network, by_agreement, Ranks(by_thumbnail, rank_by_score(score, classes)))


def _prepared(samples: Sequence[Sample], images: Sequence[Pixels], spec: PreprocessSpec) -> Pixels:
    parts = [preprocess([image], _seen_by(spec, sample)) for sample, image in zip(samples, images, strict=True)]
    return np.concatenate(parts)


def _seen_by(spec: PreprocessSpec, sample: Sample) -> PreprocessSpec:
    """Return the preprocessing of a sample: export cropped the golden images in the package to the region."""
    return spec if sample.is_new else msgspec.structs.replace(spec, region=None)
