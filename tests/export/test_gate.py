"""The gate counts equal answers, and passes or refuses a precision."""

import numpy as np
import pytest

from partsight.export.answers import UNKNOWN, Decider, labels_of
from partsight.export.frames import GateFrames, calibration_frames, gate_frames
from partsight.export.gate import ModelAnswers, PrecisionGate, compare_answers
from partsight.runtime.images.preprocessing import preprocess
from tests.export import nets

FRAMES = 1000


def scores(best: np.ndarray) -> np.ndarray:
    score = np.zeros((len(best), 5), np.float32)
    score[np.arange(len(best)), best] = 1
    return score


def answered(score: np.ndarray) -> ModelAnswers:
    """Return the answers of a package without matching."""
    return ModelAnswers(score, labels_of(score))


@pytest.mark.parametrize(("differing", "passes"), [(0, True), (1, True), (2, False)])
def test_disagreements_are_counted(differing: int, passes: bool) -> None:
    best = np.arange(FRAMES) % 5
    other = best.copy()
    other[:differing] = (best[:differing] + 1) % 5
    found = compare_answers(answered(scores(best)), answered(scores(other)), candidates=5)
    assert found.agreement == found.network_agreement == 1 - differing / FRAMES
    assert found.passes(0.999) == passes
    assert found.in_shortlist == 1
    assert found.max_drift == (1 if differing else 0)
    assert found.mean_drift == pytest.approx(2 * differing / (5 * FRAMES))


def test_whether_the_network_still_names_the_candidate() -> None:
    expected = np.array([[0.5, 0.4, 0.3], [0.5, 0.4, 0.3]], np.float32)
    score = np.array([[0.2, 0.4, 0.1], [0.1, 0.4, 0.3]], np.float32)
    assert compare_answers(answered(expected), answered(score), 1).in_shortlist == 0
    assert compare_answers(answered(expected), answered(score), 2).in_shortlist == 0.5
    assert compare_answers(answered(expected), answered(score), 3).in_shortlist == 1


def test_what_is_not_a_number_does_not_pass() -> None:
    best = np.arange(FRAMES) % 5
    score = scores(best)
    score[7, best[7]] = np.nan
    found = compare_answers(answered(scores(best)), answered(score), 5)
    assert found.agreement == 1 - 1 / FRAMES
    assert not found.passes(0.999)


def test_the_answer_counts_and_not_the_networks_choice() -> None:
    best = np.arange(FRAMES) % 5
    expected = ModelAnswers(scores(best), best)
    turned = scores((best + 1) % 5)
    found = compare_answers(expected, ModelAnswers(turned, best), candidates=5)
    assert (found.agreement, found.network_agreement) == (1, 0)
    unsure = best.copy()
    unsure[:2] = UNKNOWN
    assert compare_answers(expected, ModelAnswers(scores(best), unsure), candidates=5).agreement == 1 - 2 / FRAMES


def test_two_models_that_differ() -> None:
    frames = gate_frames(nets.images(), nets.manifest().preprocess)
    assert len(frames.catalog) == len(frames.varied) == nets.PARTS
    fp32, other = nets.network(), nets.network(shift=(-90.0, 60.0, 60.0))
    gate = PrecisionGate(fp32, frames, Decider())
    same, moved = gate.judge(fp32, "same"), gate.judge(other, "other")
    assert same.is_passed
    assert gate.would_pass(fp32)
    assert (same.catalog.agreement, same.varied.agreement, same.varied.max_drift) == (1, 1, 0)
    # A network trained with the shift recognises the golden images, but with other scores.
    assert moved.varied.max_drift > 0.01
    worse = nets.network()
    for item in worse.graph.initializer:
        if item.name == "prototypes":
            item.raw_data = np.roll(np.frombuffer(item.raw_data, np.float32), 1).tobytes()
    assert gate.judge(worse, "worse").catalog.agreement < 0.5
    assert not gate.judge(worse, "worse").is_passed
    assert not gate.would_pass(worse)


def test_frames_are_the_same_each_time_and_not_those_of_calibration() -> None:
    pictures, spec = nets.images(), nets.manifest().preprocess
    first, second = gate_frames(pictures, spec), gate_frames(pictures, spec)
    assert isinstance(first, GateFrames)
    np.testing.assert_array_equal(first.varied.network, second.varied.network)
    np.testing.assert_array_equal(first.catalog.network, preprocess(pictures, spec))
    assert first.catalog.compared is None
    calibration = calibration_frames(pictures, spec)
    np.testing.assert_array_equal(calibration, calibration_frames(pictures, spec))
    judged = {frame.tobytes() for frame in first.varied.network}
    assert not judged & {frame.tobytes() for frame in calibration}
