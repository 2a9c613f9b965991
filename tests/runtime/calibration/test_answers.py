"""Answers by the network's score, against one frame at a time; answers by matching of parts with a twin."""

from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.calibration import VariedAnswers, answer_by_agreement, answer_by_score
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import Matcher, Rule, matching_spec
from partsight.runtime.package import prepare_gallery
from tests.laid import golden

FRAMES, CLASSES = 40, 6


@pytest.mark.parametrize("share", [0, 0.5])
def test_scores_of_a_batch_are_answered_frame_by_frame(share: float) -> None:
    rng = np.random.default_rng(3)
    score = rng.uniform(-1, 1, (FRAMES, CLASSES)).astype(np.float32)
    classes = rng.integers(0, CLASSES, FRAMES)
    excluded = (rng.random(score.shape) < share) & (np.arange(CLASSES) != classes[:, None])
    found = answer_by_score(score, classes, excluded)
    for frame, own in enumerate(classes.tolist()):
        kept = [index for index in range(CLASSES) if not excluded[frame, index]]
        others = [score[frame, index] for index in kept if index != own]
        assert found.taught[frame] == max(score[frame, kept])
        assert found.left_out[frame] == max(others, default=-1)
        assert found.is_right[frame] == (score[frame, own] == found.taught[frame])
    assert found.taught.dtype == found.left_out.dtype == np.float32


def test_one_part_has_no_others() -> None:
    found = answer_by_score(np.float32([[0.3], [0.7]]), np.zeros(2, np.intp))
    assert found.left_out.tolist() == [-1, -1]
    assert found.is_right.all()


def test_batches_are_joined_in_order() -> None:
    batches = [answer_by_score(np.float32([[level, 0]]), np.array([0])) for level in (0.25, 0.5, 0.75)]
    assert VariedAnswers.joined(batches).taught.tolist() == [0.25, 0.5, 0.75]
    assert len(VariedAnswers.joined([])) == 0
    chosen = VariedAnswers.joined(batches).of_frames(np.array([True, False, True]))
    assert chosen.taught.tolist() == [0.25, 0.75]


def test_a_frame_that_two_parts_fit_agrees_with_none(example_parts: Path) -> None:
    """Until one of the twins is left out: then the other fits alone."""
    names = ("TO-8-2", "PinHeader_1x12_P2.00mm_Horizontal", "TO-8-2")
    goldens, network = [golden(example_parts, name) for name in names], PreprocessSpec(32, 32)
    spec = matching_spec(goldens[0], network)
    matcher = Matcher(prepare_gallery(goldens, network, spec).bank, spec)
    frames, score = preprocess(goldens, spec.preprocess(network)), np.zeros((3, 3), np.float32)
    found = answer_by_agreement(matcher, frames, score, np.arange(3), Rule(0.0))
    assert found.is_right.tolist() == [False, True, False]
    assert (found.taught > 0.5).tolist() == [False, True, False]
    assert (found.left_out > 0.5).tolist() == [True, False, True]
    excluded = np.zeros((3, 3), bool)
    excluded[0, 2] = excluded[2, 0] = True
    assert answer_by_agreement(matcher, frames, score, np.arange(3), Rule(0.0), excluded).is_right.all()
