"""Look-alikes."""

from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.images import PreprocessSpec
from partsight.runtime.matching import MatchingSpec, matching_spec
from partsight.runtime.package import Gallery, prepare_gallery
from partsight.train import look_alikes as module
from partsight.train.look_alikes import find_look_alikes
from partsight.train.records import VariedFrame
from tests.laid import golden

PARTS = [
    "PinHeader_1x11_P2.00mm_Horizontal",
    "PinHeader_1x12_P2.00mm_Horizontal",
    "PinHeader_1x12_P2.54mm_Horizontal",
    "PinSocket_1x10_P2.00mm_Horizontal",
]


@pytest.fixture(scope="module")
def spec(example_parts: Path) -> MatchingSpec:
    return matching_spec(golden(example_parts, PARTS[0]), PreprocessSpec(64, 64))


@pytest.fixture(scope="module")
def gallery(example_parts: Path, spec: MatchingSpec) -> Gallery:
    """Headers and a socket; the second part has a further reference, which is the first part's image."""
    images = [golden(example_parts, part) for part in PARTS]
    return prepare_gallery([*images[:2], images[0], *images[2:]], PreprocessSpec(64, 64), spec, (0, 1, 1, 2, 3))


def frame(part: int, other: int, agreement: float) -> VariedFrame:
    return VariedFrame(part, part, "right", 0.9, 0.5, other, agreement)


def test_the_most_alike_come_first(gallery: Gallery, spec: MatchingSpec) -> None:
    """The order is that of the comparison, not that of frames or network; each pair comes once."""
    frames = [frame(0, 1, 0.1), frame(1, 0, 0.2), frame(3, 0, 0.4)]
    found = find_look_alikes(frames, np.eye(4, dtype=np.float32), gallery, spec)
    pairs = [frozenset((pair.record.first, pair.record.second)) for pair in found]
    assert len(set(pairs)) == len(pairs)
    assert {frozenset((0, 1)), frozenset((0, 3))} <= set(pairs)
    agreement = [pair.record.agreement for pair in found]
    assert agreement == sorted(agreement, reverse=True)
    assert agreement[0] < 0.9  # golden images are compared; the further reference of part 1 is part 0's own


def test_the_spot_is_that_of_the_overlay(gallery: Gallery, spec: MatchingSpec) -> None:
    for pair in find_look_alikes([frame(0, 1, 0.1)], np.eye(4, dtype=np.float32), gallery, spec):
        assert (pair.record.where, pair.record.tolerances) == (pair.overlay.spot.where, pair.overlay.spot.tolerances)
        assert pair.overlay.golden.shape == (*spec.size_hw, 3)
        assert pair.record.distortion**2 == pytest.approx(pair.overlay.pose.shear**2 + pair.overlay.pose.stretch**2)


def test_the_network_proposes_pairs_for_parts_without_frames(gallery: Gallery, spec: MatchingSpec) -> None:
    scores = np.eye(4, dtype=np.float32)
    scores[2, 3] = scores[3, 2] = 0.99
    found = find_look_alikes([], scores, gallery, spec)
    assert frozenset((2, 3)) in {frozenset((pair.record.first, pair.record.second)) for pair in found}


def test_few_pairs_are_compared(gallery: Gallery, spec: MatchingSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_COMPARED", 2)
    frames = [frame(part, other, 0.1 * part) for part in range(4) for other in range(part)]
    assert len(find_look_alikes(frames, np.eye(4, dtype=np.float32), gallery, spec)) == 2


def test_one_part_has_no_look_alike(gallery: Gallery, spec: MatchingSpec) -> None:
    assert find_look_alikes([frame(0, 0, 0.0)], np.ones((1, 1), np.float32), gallery, spec) == ()
