from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import CommissionError, ModelPackage, Recognizer
from partsight.runtime.calibration.commissioning import LineFrames, read_line_frames
from partsight.runtime.calibration.commissioning.failures import find_confusions, find_failed, find_weak_parts
from partsight.runtime.calibration.commissioning.held_out import hold_out, judge, rate_outcome
from partsight.runtime.calibration.commissioning.line_answers import UNKNOWN, LineAnswers, SeenFrames, answer, see
from partsight.runtime.matching import Bank, Rule
from partsight.runtime.recognition import load_bank
from tests.runtime.calibration.commissioning.lines import LABELS, SPEC, part, save


@pytest.fixture(scope="module")
def seen(package: Path, frames: Path, unknown: Path) -> SeenFrames:
    with Recognizer(package) as recognizer:
        return see(recognizer, read_line_frames(frames, LABELS, unknown), SPEC)


@pytest.fixture(scope="module")
def answers(seen: SeenFrames, package: Path) -> LineAnswers:
    return answer(seen, Bank.of(load_bank(ModelPackage.examine(package)).records), SPEC)


def drawn(answers: LineAnswers, rng: np.random.Generator, parts: int) -> LineAnswers:
    """Frames of many parts with other agreements: one in twenty fits badly."""
    rows = np.zeros(parts, int)
    right, others = rng.normal(0.6, 0.1, parts), rng.uniform(0, 0.3, parts)
    right[rng.random(parts) < 0.05] -= 0.3
    found = replace(answers.of_frames(rows), groups=np.arange(parts))
    taught, left_out = (
        replace(matches, agreement=np.stack([best, np.zeros(parts)], axis=1).astype(np.float32))
        for matches, best in ((found.taught, right), (found.left_out, others))
    )
    return replace(found, taught=taught, left_out=left_out)


def lowest(answers: LineAnswers) -> Rule:
    """Refuse the lowest 2 % of the frames."""
    return Rule(float(np.quantile(answers.taught.agreement[:, 0], 0.02, method="lower")))


def test_a_frame_is_answered_with_and_without_its_part(seen: SeenFrames, answers: LineAnswers) -> None:
    taught = seen.is_taught
    assert answers.is_right_first[taught].all()
    assert not (answers.left_out.classes[taught, 0] == seen.classes[taught]).any()
    assert (answers.own_agreement()[taught] == answers.taught.agreement[taught, 0]).all()
    assert (answers.taught.agreement[~taught] == answers.left_out.agreement[~taught]).all()


def test_some_frames_keep_their_answers(answers: LineAnswers) -> None:
    chosen = answers.of_frames(np.array([3, 0]))
    assert chosen.taught.agreement.tolist() == answers.taught.agreement[[3, 0]].tolist()
    assert chosen.taught.poses.x.tolist() == answers.taught.poses.x[[3, 0]].tolist()


def test_printed_intervals_hold_the_rates_of_other_parts(answers: LineAnswers) -> None:
    rng = np.random.default_rng(0)
    many, held = drawn(answers, rng, parts=400), np.zeros(2, int)
    for _ in range(100):
        is_used = rng.permutation(np.arange(400) < 200)
        used, others = many.of_frames(is_used), many.of_frames(~is_used)
        printed, found = rate_outcome(used, hold_out(used, lowest)), rate_outcome(others, judge(others, lowest(used)))
        pairs = (printed.refused, found.refused), (printed.siblings, found.siblings)
        held += [interval.low <= other.rate <= interval.high for interval, other in pairs]
    assert held.min() >= 95


def test_the_rate_of_the_fit_itself_would_be_too_low(answers: LineAnswers) -> None:
    rng = np.random.default_rng(1)
    held, fitted = [], []
    for _ in range(30):
        few = drawn(answers, rng, parts=40)
        held.append(rate_outcome(few, hold_out(few, lowest)).refused.rate)
        fitted.append(rate_outcome(few, judge(few, lowest(few))).refused.rate)
    assert np.mean(held) > np.mean(fitted) + 0.01


def test_frames_that_fail_are_named(seen: SeenFrames, answers: LineAnswers) -> None:
    strict = Rule(2.0)
    failed = find_failed(answers, strict, seen.frames, LABELS)
    assert {frame.index for frame in failed} == set(np.flatnonzero(seen.is_taught).tolist())
    assert [part.label for part in find_weak_parts(answers, strict, LABELS)] != []
    assert {part.failed for part in find_weak_parts(answers, strict, LABELS)} == {5}
    loose = Rule(-1.0)
    accepted = answers.accepted(loose) & ~seen.is_taught
    assert [frame.label for frame in find_failed(answers, loose, seen.frames, LABELS)] == [None] * accepted.sum()


def test_a_folder_with_a_wrong_name_shows_as_confusion(answers: LineAnswers) -> None:
    red, blue = LABELS.index("red"), LABELS.index("blue")
    swapped = replace(answers, classes=np.where(answers.classes == red, blue, answers.classes))
    (confusion,) = find_confusions(swapped, Rule(0.0), LABELS)
    assert (confusion.label, confusion.other) == ("blue", "red")
    assert (confusion.frames, confusion.of_frames) == (5, 10)


def test_unknown_frames_have_no_part(seen: SeenFrames) -> None:
    assert (seen.classes == UNKNOWN).sum() == 12


def test_frames_that_cannot_be_used_are_refused(package: Path, tmp_path: Path) -> None:
    save(tmp_path / "red" / "grey.png", part("red")[:, :, 0])
    with Recognizer(package) as recognizer, pytest.raises(CommissionError, match=r"grey\.png"):
        see(recognizer, read_line_frames(tmp_path, LABELS), SPEC)
    with Recognizer(package) as recognizer, pytest.raises(CommissionError):
        see(recognizer, LineFrames(()), SPEC)
