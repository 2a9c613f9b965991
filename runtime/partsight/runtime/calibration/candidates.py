"""Candidates: how many golden images a frame is aligned with, so that its own part is nearly always among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray
from partsight.runtime.matching import MatchingSpec

MAX_SCREENED_PARTS = 10_000
"""Number of parts above which frames are not compared with all thumbnails: the network takes less time."""

_MISSED_SHARE = 0.0005  # of the varied frames: their own part may be missing among the candidates
_MIN_BY_THUMBNAIL, _MIN_BY_NETWORK = 16, 4  # since a line varies more than varied golden images do
_MAX_CANDIDATES = 64


@dataclass(frozen=True)
class Ranks:
    """Number of other parts that rank before the right one, for varied frames; each (frames,).

    Attributes:
        by_thumbnail: Rank of the right part by its thumbnail.
        by_network: Rank of the right part by the network's score.
    """

    by_thumbnail: npt.NDArray[np.intp]
    by_network: npt.NDArray[np.intp]

    @classmethod
    def joined(cls, batches: Sequence["Ranks"]) -> "Ranks":
        """Return the ranks of all batches, in order."""
        return cls(
            np.concatenate([np.zeros(0, np.intp), *(batch.by_thumbnail for batch in batches)]),
            np.concatenate([np.zeros(0, np.intp), *(batch.by_network for batch in batches)]),
        )


def rank_by_score(score: FloatArray, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return how many other parts score higher than each frame's own, (frames,).

    Args:
        score: Scores of the network, (frames, classes) float32.
        classes: Index of each frame's own part, (frames,).
    """
    ranks: npt.NDArray[np.intp] = (score > np.take_along_axis(score, classes[:, None], 1)).sum(axis=1)
    return ranks


def with_candidates(spec: MatchingSpec, ranks: Ranks, parts: int) -> MatchingSpec:
    """Return the specification with the fewest candidates that hold the right part of nearly all varied frames.

    Fewer candidates save time. Those of the network are the more exact ones, and thumbnails find the parts that the
    network misses.

    Args:
        spec: Specification of matching.
        ranks: Ranks of the right part.
        parts: Number of parts in the package.
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
    """Return the specification with more candidates if the present ones miss the right part, never with fewer.

    A frame whose part no permitted number of candidates would hold does not count: more candidates would only cost
    time.

    Args:
        spec: Present specification of matching.
        ranks: Ranks of the right part.
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
    """Return how many candidates hold the parts of all these ranks except for an allowed number."""
    return int(np.sort(ranks)[::-1][allowed]) + 1 if len(ranks) > allowed else 0
