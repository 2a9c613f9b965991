"""Look-alikes: the parts whose golden images agree most, and the spot that tells them apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import FloatArray
from partsight.runtime.matching import MatchingSpec, Overlay, compare_golden_images
from partsight.runtime.package import Gallery, decode_golden_image
from partsight.train.records import LookAlike, VariedFrame

_MAX_COMPARED = 48
"""Number of pairs that are compared: a comparison takes some milliseconds."""

MAX_SHOWN = 12


@dataclass(frozen=True)
class Pair:
    """Two parts that look alike, and one golden image laid over the other."""

    record: LookAlike
    overlay: Overlay


def find_look_alikes(
    frames: Sequence[VariedFrame], scores: FloatArray, gallery: Gallery, spec: MatchingSpec
) -> tuple[Pair, ...]:
    """Return at most `MAX_SHOWN` pairs of parts, the most alike first.

    Varied frames and the network propose pairs; only the comparison of their golden images orders them.

    Args:
        frames: Answers to varied golden images.
        scores: Scores of the network for the golden images, (parts, parts) float32.
        gallery: Golden images of all parts.
        spec: Specification of matching.
    """
    files = gallery.golden_files
    found = [_compared(min(pair), max(pair), files, spec) for pair in _proposed(frames, scores)]
    found.sort(key=lambda pair: -pair.record.agreement)
    return tuple(found[:MAX_SHOWN])


def _proposed(frames: Sequence[VariedFrame], scores: FloatArray) -> list[frozenset[int]]:
    """Return the pairs to compare: first those that frames agree with, then those that the network finds alike."""
    by_agreement = sorted(frames, key=lambda frame: -frame.other_agreement)
    compared = [frozenset((frame.part, frame.other)) for frame in by_agreement if frame.other_agreement]
    own = np.eye(len(scores), dtype=bool)
    others = np.where(own, -np.inf, scores)
    nearest = others.argmax(axis=1)
    by_network = np.argsort(np.diag(scores) - others.max(axis=1), kind="stable")
    alike = [frozenset((int(index), int(nearest[index]))) for index in by_network]
    pairs = dict.fromkeys([*list(dict.fromkeys(compared))[: _MAX_COMPARED // 2], *alike])
    return [pair for pair in pairs if len(pair) > 1][:_MAX_COMPARED]


def _compared(first: int, second: int, files: Sequence[bytes], spec: MatchingSpec) -> Pair:
    """Lay each golden image over the other, and keep the better fit."""
    images = {part: decode_golden_image(files[part], f"golden image {part}") for part in (first, second)}
    ways = {(a, b): compare_golden_images(images[a], images[b], spec) for a, b in ((first, second), (second, first))}
    (first, second), overlay = max(ways.items(), key=lambda item: item[1].agreement)
    spot, distortion = overlay.spot, math.hypot(overlay.pose.shear, overlay.pose.stretch)
    return Pair(LookAlike(first, second, overlay.agreement, spot.where, spot.tolerances, distortion), overlay)
