"""The recheck: what the reject threshold of a package does to parts that were enrolled, and they to the others.

The threshold stays. Golden images of the new parts, varied as a line varies, say how often those are refused. Parts
that look like a new one are varied, too: each of their frames is answered with the new parts and without them, and the
difference is what enrolment changed. That of the other parts is taken for nothing. Their golden images are those in the
package, a little coarser than the network's input, which both answers suffer alike.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np

from partsight.runtime.calibration import (
    CLEAR_SAFETY,
    Answered,
    Trial,
    answer_by_agreement,
    answer_by_score,
    find_candidates,
    lead,
)
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Decision, Manifest
from partsight.runtime.preprocess import PreprocessSpec, preprocess
from partsight.runtime.references import References
from partsight.runtime.session import FloatArray, Session
from partsight.runtime.variation import Variation, vary

BATCH = 32
FRAMES = 256
"""About how many varied images of new parts there are, at most 32 of each and at least one."""

_MOST_COPIES = 32
_MORE_CANDIDATES = 6  # than on the line, so that enough are left when new parts are not counted

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
        references: None where frames are not compared with golden images.
        new: places of its new parts among the labels.
    """

    session: Session
    manifest: Manifest
    references: References | None
    new: frozenset[int]


@dataclass(frozen=True)
class Frame:
    """How one varied image is answered.

    Attributes:
        sample: what it was made from.
        network, network_before: by the network's score, with the new parts and without them.
        agreement, agreement_before: by comparison with golden images; None where there is none.
        lead: of the network's best score where that is another part's, else 0.
    """

    sample: Sample
    network: Answered
    network_before: Answered
    agreement: Answered | None
    agreement_before: Answered | None
    lead: float

    @property
    def final(self) -> Answered:
        """The answer that the line gives."""
        return self.network if self.agreement is None else self.agreement

    @property
    def final_before(self) -> Answered:
        """The answer that the line gave before."""
        return self.network_before if self.agreement_before is None else self.agreement_before


def draw_samples(newcomers: Sequence[Sequence[Pixels]], places: Sequence[int]) -> list[Sample]:
    """Return as many samples of each new part as frames shall be made.

    Args:
        newcomers: golden images of each new part, used in turn.
        places: of each among the labels.
    """
    copies = max(1, min(_MOST_COPIES, FRAMES // max(1, len(newcomers))))
    return [
        Sample(place, images, copy, is_new=True)
        for images, place in zip(newcomers, places, strict=True)
        for copy in range(copies)
    ]


def answer_samples(subject: Subject, samples: Sequence[Sample], seed: int, track: Track) -> list[Frame]:
    """Vary each sample once and answer the frame.

    Args:
        subject: the package.
        samples: in an order in which parts that look alike follow each other.
        seed: of the variation.
        track: shows progress.
    """
    rng = np.random.default_rng(seed)
    frames: list[Frame] = []
    with ThreadPoolExecutor(2) as pool:
        for start in track(range(0, len(samples), BATCH), "looking at the threshold again"):
            chunk = samples[start : start + BATCH]
            varied = [vary(sample.image, Variation(), rng) for sample in chunk]
            frames += pool.map(lambda item: _answer(subject, *item), _scored(subject, chunk, varied))
    return frames


def _scored(
    subject: Subject, samples: Sequence[Sample], images: Sequence[Pixels]
) -> Iterator[tuple[Sample, Pixels, FloatArray]]:
    """Yield each image with the network's scores, (classes,)."""
    spec = subject.manifest.preprocess
    batch = np.concatenate(
        [preprocess([image], seen_by(spec, sample)) for sample, image in zip(samples, images, strict=True)]
    )
    yield from zip(samples, images, subject.session.run(batch).score, strict=True)


def seen_by(spec: PreprocessSpec, sample: Sample) -> PreprocessSpec:
    """Return the preprocessing of a sample: golden images in the package were cropped when it was made."""
    return spec if sample.is_new else msgspec.structs.replace(spec, region=None)


def _answer(subject: Subject, sample: Sample, image: Pixels, score: FloatArray) -> Frame:
    place = sample.place
    kept = [index for index in range(len(score)) if index not in subject.new or index == place]
    network = answer_by_score(score, place)
    network_before = answer_by_score(score[kept], kept.index(place))
    agreement = agreement_before = None
    verification = subject.manifest.verification
    if verification and subject.references:
        spec = verification.spec
        frame = preprocess([image], spec.preprocess(seen_by(subject.manifest.preprocess, sample)))[0]
        found = find_candidates(frame, score, subject.references, spec, _MORE_CANDIDATES)
        agreement = answer_by_agreement(found, place, spec)
        old = [item for item in found if item[0] not in subject.new or item[0] == place]
        agreement_before = answer_by_agreement(old, place, spec) if old else (0.0, 0.0, False)
    is_confused = not network[2] and len(score) > 1
    return Frame(sample, network, network_before, agreement, agreement_before, lead(score) if is_confused else 0.0)


def update_manifest(manifest: Manifest, frames: Sequence[Frame]) -> Manifest:
    """Return the manifest with the expected rates of the same thresholds, estimated again.

    Where the network was surer of a wrong part than it was in training, frames are also compared in full from a larger
    lead on.

    Args:
        manifest: with the new labels.
        frames: answered with it.
    """
    decision = _estimate(manifest.decision, manifest, [(it.sample, it.network, it.network_before) for it in frames])
    verification = manifest.verification
    if verification:
        compared = [
            (frame.sample, frame.agreement, frame.agreement_before)
            for frame in frames
            if frame.agreement is not None and frame.agreement_before is not None
        ]
        surest = max((frame.lead for frame in frames if frame.sample.is_new), default=0.0)
        clear_margin = max(verification.spec.clear_margin, CLEAR_SAFETY * surest)
        verification = msgspec.structs.replace(
            verification,
            spec=msgspec.structs.replace(verification.spec, clear_margin=clear_margin),
            decision=_estimate(verification.decision, manifest, compared),
        )
    return msgspec.structs.replace(manifest, decision=decision, verification=verification)


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
