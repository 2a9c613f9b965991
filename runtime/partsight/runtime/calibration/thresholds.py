"""Calibration: what varied golden images say of a reject threshold, whatever network scores them.

Training chooses thresholds with it, enrolment looks at them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import MAX_PX, Bank, Matcher, Matches, MatchingSpec, prepare_all
from partsight.runtime.package import Decision, decode_reference, encode_reference

MAX_SCREENED_PARTS = 10_000
"""Packages of more parts screen no thumbnails: that would take longer than the network does."""

_MISSED_SHARE = 0.0005  # of varied frames whose part need not be among the candidates
_MIN_BY_THUMBNAIL, _MIN_BY_NETWORK = 16, 4  # as a line varies more than is simulated
_MAX_CANDIDATES = 64
_MULTIPLE_PX, _MIN_BLOCKS = 6, 6  # of a reference's sides: multiples of 6 px, at least 36 px
_CURVE_POINTS = 200
_QUANTILES = 21
_REFUSED = 0.0  # in place of an agreement, which is never so low: refused at any threshold


@dataclass(frozen=True)
class Answered:
    """How one varied frame is answered.

    Attributes:
        best: its best score.
        left_out: its best score with its own part left out.
        is_right: whether the best is its own part's, and can count.
    """

    best: float
    left_out: float
    is_right: bool


@dataclass(frozen=True)
class Ranks:
    """How many other parts come before the right one, of varied frames; each (frames,).

    Attributes:
        by_thumbnail: as thumbnails of all parts rank them.
        by_network: as the network does.
    """

    by_thumbnail: npt.NDArray[np.intp]
    by_network: npt.NDArray[np.intp]


class RejectCurve(msgspec.Struct, frozen=True):
    """What a threshold would cost, on varied golden images.

    Attributes:
        threshold: in rising order.
        false_reject: share of frames of taught parts that each would refuse.
        false_accept: share of frames of parts left out that each would give a label.
    """

    threshold: tuple[float, ...]
    false_reject: tuple[float, ...]
    false_accept: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """What varied golden images were answered; each (samples,).

    Attributes:
        taught: best score with all parts to choose from.
        left_out: best score with the frame's own part left out.
        is_right: whether `taught` is the score of the frame's own part, and no other part's golden image fits as well.
    """

    taught: FloatArray
    left_out: FloatArray
    is_right: np.ndarray

    @classmethod
    def of(cls, answers: Sequence[Answered]) -> "Trial":
        """Gather the answers to single frames."""
        return cls(
            np.array([answer.best for answer in answers], np.float32),
            np.array([answer.left_out for answer in answers], np.float32),
            np.array([answer.is_right for answer in answers], bool),
        )

    def decision(self, score: str, max_false_reject: float) -> Decision:
        """Choose the threshold that refuses at most a share of the frames that would get their own label.

        A frame that would get another's should be refused: it has no say.
        """
        counted = self.taught[self.is_right] if self.is_right.any() else self.taught
        threshold = float(np.quantile(counted, max_false_reject, method="lower"))
        if score == "agreement" and not self.is_right.any():
            threshold = 1.0  # no frame gets its own label, whatever the threshold: no other shall get one
        size = len(self.taught)
        values = {
            "score": score,
            "threshold": threshold,
            "method": f"quantile of the best scores of {size} varied golden images; each part left out in turn",
            "samples": size,
            "expected_false_reject": float(np.mean(self.taught < threshold)),
            "expected_false_accept": float(np.mean(self.left_out >= threshold)),
            "taught_scores": _quantiles(self.taught),
            "unknown_scores": _quantiles(self.left_out),
        }
        return msgspec.convert(values, Decision)

    def curve(self) -> RejectCurve:
        """Return what thresholds would cost, from the lowest that matters to the highest."""
        both = np.concatenate([self.taught, self.left_out])
        thresholds = np.linspace(both.min(), both.max(), _CURVE_POINTS)
        return RejectCurve(
            tuple(float(value) for value in thresholds),
            tuple(float(np.mean(self.taught < value)) for value in thresholds),
            tuple(float(np.mean(self.left_out >= value)) for value in thresholds),
        )


def _quantiles(scores: FloatArray) -> list[float]:
    return [round(float(score), 4) for score in np.quantile(scores, np.linspace(0, 1, _QUANTILES))]


def matching_spec(golden: Pixels, spec: PreprocessSpec) -> MatchingSpec:
    """Return how frames are compared, at the shape of what the network sees of a golden image.

    Height and width are multiples of 6: a third and a sixth of the size are then means over whole blocks of pixels.
    """
    sides = (spec.region.height, spec.region.width) if spec.region else golden.shape[:2]
    scale = MAX_PX / max(sides)
    height, width = (_MULTIPLE_PX * max(_MIN_BLOCKS, round(side * scale / _MULTIPLE_PX)) for side in sides)
    return MatchingSpec(height=height, width=width)


def first_size(network: PreprocessSpec, matching: MatchingSpec) -> tuple[int, int]:
    """Return the (height, width) that a frame is shrunk to once, for the network and for the comparison: `via`."""
    return max(network.height, matching.height), max(network.width, matching.width)


def reference_files(goldens: Sequence[Pixels], spec: PreprocessSpec, matching: MatchingSpec) -> Iterator[bytes]:
    """Yield each golden image as the package holds it to compare frames with, in the order of the classes."""
    prepared = matching.preprocess(spec)
    for golden in goldens:
        yield encode_reference(preprocess([golden], prepared)[0])


def golden_bank(goldens: Sequence[Pixels], spec: PreprocessSpec, matching: MatchingSpec) -> Bank:
    """Return the bank that a package with these golden images has, without a package."""
    # From the gallery's files: what is measured holds for the line, which compares with those.
    files = reference_files(goldens, spec, matching)
    images = (decode_reference(data, f"class {index}") for index, data in enumerate(files))
    return Bank.of(prepare_all(images, range(len(goldens))))


def answer_by_agreement(
    matcher: Matcher,
    frames: Pixels,
    score: FloatArray,
    classes: npt.NDArray[np.intp],
    excluded: npt.NDArray[np.bool_] | None = None,
) -> list[Answered]:
    """Return what the comparison says of frames, and what it says with their own parts left out.

    Args:
        matcher: with the package's references.
        frames: (frames, height, width, 3) uint8 BGR, prepared for it.
        score: (frames, classes) float32, the network's.
        classes: (frames,) of the frames' own parts.
        excluded: (frames, classes) other parts that are left out of both; None for none.
    """
    left_out = np.arange(score.shape[1]) == classes[:, None]
    if excluded is not None:
        left_out |= excluded
    found, others = matcher.match(frames, score, excluded), matcher.match(frames, score, left_out)
    best, best_of_others = _counted(found, matcher.spec), _counted(others, matcher.spec)
    is_right = (found.classes[:, 0] == classes) & (best > _REFUSED)
    return [Answered(*row) for row in zip(best.tolist(), best_of_others.tolist(), is_right.tolist(), strict=True)]


def _counted(matches: Matches, spec: MatchingSpec) -> FloatArray:
    """Return (frames,) best agreement, or `_REFUSED` where the next is too close for it to be accepted."""
    return np.where(matches.is_accepted(_REFUSED, spec), matches.agreement[:, 0], np.float32(_REFUSED))


def with_candidates(spec: MatchingSpec, ranks: Ranks, parts: int) -> MatchingSpec:
    """Return how frames are compared: with as few candidates as hold the right part of nearly all varied frames.

    A network that names its part among few saves time; thumbnails find what it misses.

    Args:
        spec: how frames are compared else.
        ranks: of the right part, by thumbnails and by the network.
        parts: how many the package has.
    """
    if parts > MAX_SCREENED_PARTS:
        return msgspec.structs.replace(spec, by_thumbnail=0, by_network=_MAX_CANDIDATES)
    allowed = int(_MISSED_SHARE * len(ranks.by_network))
    best = (_MAX_CANDIDATES, _MAX_CANDIDATES)
    for by_network in range(_MIN_BY_NETWORK, _MAX_CANDIDATES + 1):
        needed = _needed(ranks.by_thumbnail[ranks.by_network >= by_network], allowed)
        if needed <= _MAX_CANDIDATES:
            best = min(best, (max(needed, _MIN_BY_THUMBNAIL), by_network), key=sum)
    by_thumbnail, by_network = best
    return msgspec.structs.replace(spec, by_thumbnail=by_thumbnail, by_network=by_network)


def with_more_candidates(spec: MatchingSpec, ranks: Ranks) -> MatchingSpec:
    """Return how frames are compared: with more candidates if those of now miss the right part, never with fewer.

    Frames whose part no permitted count would hold have no say: they would cost time and win nothing.

    Args:
        spec: how frames are compared now.
        ranks: of the right part, by thumbnails and by the network.
    """
    most_by_network = max(spec.by_network, _MAX_CANDIDATES)
    most_by_thumbnail = max(spec.by_thumbnail, _MAX_CANDIDATES) if spec.by_thumbnail else 0
    can_be_held = (ranks.by_thumbnail < most_by_thumbnail) | (ranks.by_network < most_by_network)
    allowed = int(_MISSED_SHARE * len(ranks.by_network))
    fewest = (most_by_thumbnail, most_by_network)
    for by_network in range(spec.by_network, most_by_network + 1):
        needed = _needed(ranks.by_thumbnail[can_be_held & (ranks.by_network >= by_network)], allowed)
        if needed <= most_by_thumbnail:
            fewest = min(fewest, (max(needed, spec.by_thumbnail), by_network), key=sum)
    return msgspec.structs.replace(spec, by_thumbnail=fewest[0], by_network=fewest[1])


def _needed(ranks: npt.NDArray[np.intp], allowed: int) -> int:
    """Return how many candidates hold all parts of these ranks but so many."""
    return int(np.sort(ranks)[::-1][allowed]) + 1 if len(ranks) > allowed else 0


def answer_by_score(score: FloatArray, index: int) -> Answered:
    """Return what the network alone says of a frame of a class, from its (classes,) scores."""
    others = np.delete(score, index)
    return Answered(float(score.max()), float(others.max()) if len(others) else -1.0, int(score.argmax()) == index)
