"""Thresholds from golden images alone: even pictures with known scores, and real parts with siblings."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime.calibration import Ranks, RejectCurve
from partsight.runtime.core.arrays import FloatArray, Pixels
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess
from partsight.runtime.matching import Matcher, MatchingSpec, matching_spec
from partsight.runtime.package import decode_golden_image, prepare_gallery
from partsight.runtime.package.manifest import Decision
from partsight.train import calibration as module
from partsight.train.calibration import Calibrated, CalibrationInput, calibrate
from partsight.train.heads import find_head
from partsight.train.records import Calibration
from tests.laid import golden

NETWORK = PreprocessSpec(32, 32)
HEADERS = [
    *(f"PinHeader_1x{pins}_P2.00mm_Horizontal" for pins in (11, 12, 13, 15)),
    *(f"PinSocket_1x{pins}_P2.00mm_Horizontal" for pins in (10, 11, 12, 13)),
    "PinHeader_1x12_P2.54mm_Horizontal",
    "PinHeader_1x13_P2.54mm_Horizontal",
]


@dataclass
class Scorer:
    """Scores pictures by the distance of their brightness from each class, and keeps all pictures."""

    levels: Sequence[float]
    images: list[Pixels] = field(default_factory=list)
    scores: list[FloatArray] = field(default_factory=list)

    def __call__(self, images: Pixels) -> FloatArray:
        self.images += list(images)
        brightness = images.mean(axis=(1, 2, 3))[:, None]
        scores = (1 - np.abs(brightness - np.array(self.levels)) / 255).astype(np.float32)
        self.scores += list(scores)
        return scores

    @property
    def is_right(self) -> np.ndarray:
        """For a sample of all classes."""
        return np.array([row.argmax() for row in self.scores]) == np.arange(len(self.scores))

    @property
    def best(self) -> FloatArray:
        return np.array([row.max() for row in self.scores])


def even(count: int) -> list[Pixels]:
    """Pictures of even brightness, each brighter than the last by more than exposure varies."""
    levels = np.geomspace(20, 200, count)
    return [np.full((32, 32, 3), level, np.uint8) for level in levels]


def run(
    goldens: Sequence[Pixels], share: float, seed: int = 0, head: str = "cosine", spec: PreprocessSpec = NETWORK
) -> tuple[Calibration, Scorer]:
    found, scorer = calibrated(goldens, share, seed, head, spec)
    return found.calibration, scorer


def calibrated(
    goldens: Sequence[Pixels], share: float, seed: int = 0, head: str = "cosine", spec: PreprocessSpec = NETWORK
) -> tuple[Calibrated, Scorer]:
    scorer = Scorer([image.mean() for image in goldens])
    matching = matching_spec(goldens[0], spec)
    bank = prepare_gallery(goldens, spec, matching).bank
    return calibrate(CalibrationInput(goldens, spec, matching, bank, scorer, find_head(head)), share, seed), scorer


@pytest.fixture(scope="module")
def headers(example_parts: Path) -> list[Pixels]:
    """Siblings: headers and sockets that differ in a pin."""
    return [golden(example_parts, part) for part in HEADERS]


@pytest.fixture(scope="module")
def of_headers(headers: list[Pixels]) -> Calibration:
    return run(headers, 0.1)[0]


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.99, 1])
@pytest.mark.parametrize("count", [1, 2, 12, 60])
def test_no_more_than_the_share_is_refused(share: float, count: int) -> None:
    """Of the frames that would get their own label."""
    found, scorer = run(even(count), share)
    decision, right = found.decision, scorer.best[scorer.is_right]
    assert (right < decision.threshold).mean() <= share
    assert decision.threshold in right.astype(float)
    assert (right <= decision.threshold).mean() >= share - 1 / len(right)  # the next higher would refuse too many
    assert decision.expected_false_reject == (scorer.best < decision.threshold).mean()


def test_the_decision_and_its_curve() -> None:
    found, _ = run(even(12), 0.05)
    for decision, score in ((found.decision, "cosine"), (found.matched_decision, "agreement")):
        assert decision.score == score
        assert decision.samples == 12
        assert re.findall(r"\d+", decision.method) == ["12"]
    assert run(even(12), 0.05, head="dense")[0].decision.score == "probability"


def test_further_references_take_turns_with_the_golden_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_SAMPLE", 12)
    levels = np.array([20, 60, 200, 35, 110])
    images = [np.full((32, 32, 3), level, np.uint8) for level in levels]
    matching, scorer = matching_spec(images[0], NETWORK), Scorer([20, 60, 200])
    bank = prepare_gallery([images[row] for row in (0, 1, 3, 4, 2)], NETWORK, matching, [0, 1, 1, 1, 2]).bank
    head, further = find_head("cosine"), {1: images[3:]}
    calibrate(CalibrationInput(images[:3], NETWORK, matching, bank, scorer, head, further), 0.01, 0)
    shown = Counter(int(levels[np.abs(np.log(image.mean() / levels)).argmin()]) for image in scorer.images)
    assert shown == {20: 4, 200: 4, 60: 1, 35: 2, 110: 1}


def test_every_golden_image_is_varied_once() -> None:
    _, scorer = run(even(12), 0.01)
    for image, original in zip(sorted(scorer.images, key=np.mean), even(12), strict=True):
        assert image.mean() == pytest.approx(original.mean(), rel=0.10)
        assert (image != original).any()  # none is the golden image itself


def test_of_many_a_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.MAX_SAMPLE == 1000
    monkeypatch.setattr(module, "MAX_SAMPLE", 20)
    found, scorer = run(even(30), 0.01)
    assert found.decision.samples == found.matched_decision.samples == len(scorer.images) == 20
    assert len({round(image.mean()) for image in scorer.images}) > 12  # of all brightnesses, none twice


@pytest.mark.parametrize("count", [pytest.param(count, marks=pytest.mark.long) for count in (1, 3)])
def test_of_few_each_is_varied_often_enough(headers: list[Pixels], monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """So that the share which may be refused holds for other frames, and the worst of three does not decide."""
    monkeypatch.setattr(module, "MIN_SAMPLE", 300)
    found, other = (run(headers[:count], 0.01, seed)[0] for seed in (1, 2))
    decision, curve = found.matched_decision, other.matched_curve
    assert decision.samples == 300
    assert decision.expected_false_reject > 0  # the worst is refused
    assert np.interp(decision.threshold, curve.threshold, curve.false_reject) < 0.04


def test_the_seed_draws() -> None:
    first, again, other = (run(even(12), 0.5, seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first.decision.threshold != other.decision.threshold
    assert first.curve != other.curve


def test_left_out_scores_are_never_those_of_the_own_part() -> None:
    """Of the network: the best of the others is the neighbour, and the own is higher."""
    found, scorer = run(even(12), 0)
    others = [np.delete(row, row.argmax()).max() for row in scorer.scores]
    assert scorer.is_right.all()  # so the best is the own
    assert found.decision.expected_false_accept == np.mean(others >= scorer.best.min())
    assert found.curve.threshold[0] == pytest.approx(min(others))
    assert found.curve.threshold[-1] == pytest.approx(scorer.best.max())


def test_a_part_unlike_all_others_is_accepted_as_none(example_parts: Path) -> None:
    """A left-out part is not compared with its own golden image."""
    names = ("TO-8-2", "7SEGMENT-LED__HDSM531_HDSM533_SMD", "RV_Disc_D15.5mm_W4.3mm_P7.5mm", HEADERS[0])
    found, _ = run([golden(example_parts, name) for name in names], 0)
    assert found.matched_decision.expected_false_accept == 0
    assert found.matched_decision.threshold > 0.2
    assert found.matched_curve.false_accept[0] == 1  # at a threshold that nothing is below
    lowest_taught = found.matched_decision.threshold
    for threshold, accepted in zip(found.matched_curve.threshold, found.matched_curve.false_accept, strict=True):
        assert accepted == 0 or threshold < lowest_taught / 2


def test_siblings_are_separated(of_headers: Calibration) -> None:
    """By the comparison; the network, which sees brightness, cannot."""
    assert of_headers.matched_decision.threshold > 0.3
    assert of_headers.matched_decision.expected_false_accept == 0
    assert of_headers.decision.expected_false_accept >= 0.9
    assert of_headers.expected_right >= 0.8
    assert of_headers.expected_wrong == 0


def test_expected_rates_are_those_of_the_curve(of_headers: Calibration) -> None:
    between(of_headers.curve, of_headers.decision)
    between(of_headers.matched_curve, of_headers.matched_decision)
    of_even, _ = run(even(60), 0.1)
    between(of_even.curve, of_even.decision)


def between(curve: RejectCurve, decision: Decision) -> None:
    """Check that the rates at a threshold lie between the rates at the neighbouring points of the curve."""
    after = int(np.searchsorted(curve.threshold, decision.threshold))
    before, after = max(after - 1, 0), min(after, len(curve.threshold) - 1)
    assert curve.false_accept[after] <= decision.expected_false_accept <= curve.false_accept[before]
    assert curve.false_reject[before] <= decision.expected_false_reject <= curve.false_reject[after]


def test_curves_rise_and_fall(of_headers: Calibration) -> None:
    for curve in (of_headers.curve, of_headers.matched_curve, run(even(12), 0.1)[0].curve):
        assert len(curve.threshold) == len(curve.false_reject) == len(curve.false_accept) > 50
        assert (np.diff(curve.threshold) >= 0).all()
        assert (np.diff(curve.false_reject) >= 0).all()
        assert (np.diff(curve.false_accept) <= 0).all()
        assert curve.false_reject[0] == 0
        assert curve.false_accept[0] == 1
        assert curve.false_reject[-1] > 0.5


def test_twins_are_refused_and_do_not_open_the_gate(headers: list[Pixels]) -> None:
    """Frames that two golden images fit are refused whatever the threshold; it must still refuse unknown parts."""
    found, _ = run([*headers[:4], headers[0]], 0.01, seed=1)
    decision = found.matched_decision
    assert decision.threshold > 0.3
    assert decision.expected_false_reject == pytest.approx(2 / 5)
    # A twin that is left out still looks like the other twin.
    assert 0 < decision.expected_false_accept <= 2 / 5
    assert (found.expected_right, found.expected_wrong) == (pytest.approx(3 / 5), 0)


def test_parts_that_all_look_the_same(headers: list[Pixels]) -> None:
    found, _ = run([headers[0]] * 3, 0.01)
    assert found.matched_decision.expected_false_reject == 1
    assert found.matched_decision.expected_false_accept == 0
    assert (found.expected_right, found.expected_wrong) == (0, 0)


@pytest.mark.parametrize("share", [0, 0.01, 1])
def test_one_part(headers: list[Pixels], share: float) -> None:
    """Left out, it leaves nothing that could agree, and nothing to estimate."""
    found, _ = run(headers[:1], share)
    assert found.matched_decision.threshold > 0.3
    assert found.matched_decision.expected_false_accept is found.decision.expected_false_accept is None
    assert (found.expected_right, found.expected_wrong) == (1, 0)


def test_the_line_accepts_what_was_foreseen(headers: list[Pixels], of_headers: Calibration) -> None:
    """References as export writes them, frames at the threshold that calibration chose."""
    spec, rule = of_headers.matching, of_headers.matched_decision.rule
    matcher = Matcher(prepare_gallery(headers, NETWORK, spec).bank, spec)
    frames = preprocess(headers, spec.preprocess(NETWORK))
    found = matcher.match(frames, np.eye(len(headers), dtype=np.float32))
    assert found.classes[:, 0].tolist() == list(range(len(headers)))
    assert found.is_accepted(rule, spec).all()


def test_calibration_chooses_the_candidates(headers: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the ranks of all varied frames."""
    seen: list[Ranks] = []

    def kept(spec: MatchingSpec, ranks: Ranks, parts: int) -> MatchingSpec:
        seen.append(ranks)
        assert parts == len(headers)
        return msgspec.structs.replace(spec, by_thumbnail=7, by_network=3)

    monkeypatch.setattr(module, "with_candidates", kept)
    found, scorer = run(headers, 0.01)
    assert (found.matching.by_thumbnail, found.matching.by_network) == (7, 3)
    scores, own = np.array(scorer.scores), np.arange(len(headers))
    assert (seen[0].by_network == (scores > scores[own, own][:, None]).sum(axis=1)).all()
    assert seen[0].by_network.max() > 0
    assert seen[0].by_thumbnail.shape == (len(headers),)
    assert seen[0].by_thumbnail.max() < len(headers)


def test_grey_images(headers: list[Pixels]) -> None:
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in headers[:4]]
    found, scorer = run(grey, 0.01, spec=PreprocessSpec(32, 32, "mono"))
    assert all((image[:, :, 0] == image[:, :, 2]).all() for image in scorer.images)
    assert found.matched_decision.threshold > 0.3
    assert found.matched_decision.expected_false_accept == 0


def test_a_region(headers: list[Pixels]) -> None:
    """Calibration neither scores nor compares pixels outside the region."""
    region = Region(40, 40, 160, 176)
    framed = [np.full_like(image, 255 * (index % 2)) for index, image in enumerate(headers[:4])]
    for image, part in zip(framed, headers, strict=False):
        image[40:216, 40:200] = part[40:216, 40:200]
    found, _ = run(framed, 0.01, spec=PreprocessSpec(32, 32, region=region))
    assert (found.matching.height, found.matching.width) == (192, 174)
    for data in prepare_gallery(framed, PreprocessSpec(32, 32, region=region), found.matching).files:
        reference = decode_golden_image(data, "here")
        assert reference.shape == (192, 174, 3)
        assert 10 < reference[:2].mean() < 245


def test_answers_to_the_varied_frames(headers: list[Pixels]) -> None:
    """Counted, they are the rates; the pictures are those of frames that failed: twins."""
    goldens = [*headers, headers[0]]
    found, _ = calibrated(goldens, 0.01)
    frames = found.frames
    assert sorted(frame.part for frame in frames) == list(range(len(goldens)))
    count = Counter(frame.answer for frame in frames)
    assert count["right"] / len(frames) == found.calibration.expected_right
    assert count["wrong"] / len(frames) == found.calibration.expected_wrong
    assert count["unknown"] > 0
    for frame in frames:
        assert frame.other != frame.part
        assert (frame.answer == "right") <= (frame.best == frame.part)
        assert frame.best == frame.part or frame.other_agreement == frame.agreement
    assert found.failed.keys() == {index for index, frame in enumerate(frames) if frame.answer != "right"}
    height, width = found.calibration.matching.size_hw
    assert all(image.shape == (height, width, 3) for image in found.failed.values())


def test_pictures_of_few_failed_frames_are_kept(headers: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FAILED", 2)
    found, _ = calibrated([*headers[:2], *headers[:2]], 0.01)
    assert len(found.failed) == 2
    assert all(found.frames[index].answer != "right" for index in found.failed)
