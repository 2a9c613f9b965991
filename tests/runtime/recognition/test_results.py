import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from partsight.runtime.matching import Bank, Matches, MatchingSpec, PartPose, Rule
from partsight.runtime.matching.parallax import Parallax
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.preparation import record_type
from partsight.runtime.recognition.results import Answer, Result, Stages, decide, decide_matched

LABELS = [f"part {index}" for index in range(60)]


def row(*scores: float) -> np.ndarray:
    return np.array([scores], np.float32)


def test_known() -> None:
    (answer,) = decide(row(0.25, 0.75, 0.5), LABELS, 0.6, 2)
    assert answer.label == "part 1"
    assert answer.accepted
    assert (answer.score, answer.margin) == (0.75, 0.25)
    assert answer.top == (("part 1", 0.75), ("part 2", 0.5))


def test_unknown() -> None:
    (answer,) = decide(row(0.25, 0.5), LABELS, 0.6, 5)
    assert answer.label is None
    assert not answer.accepted
    assert answer.score == 0.5
    assert answer.top == (("part 1", 0.5), ("part 0", 0.25))


def test_a_score_at_the_threshold_is_accepted() -> None:
    assert decide(row(0.5, 0.25), LABELS, 0.5, 1)[0].accepted


def test_types_are_pythons_own() -> None:
    (answer,) = decide(row(0.25, 0.5), LABELS, 0.6, 5)
    assert [type(value) for value in (answer.score, answer.margin, answer.accepted, answer.top[0][1])] == [
        float,
        float,
        bool,
        float,
    ]


def test_one_class() -> None:
    (answer,) = decide(row(0.75), LABELS, 0.6, 5)
    assert (answer.label, answer.score, answer.margin) == ("part 0", 0.75, 0.75)
    assert answer.top == (("part 0", 0.75),)


def test_top_one_still_has_a_margin() -> None:
    (answer,) = decide(row(0.25, 1.0, 0.5), LABELS, 0.6, 1)
    assert answer.margin == 0.5
    assert answer.top == (("part 1", 1.0),)


def test_negative_scores() -> None:
    (answer,) = decide(row(-0.75, -0.25, -0.5), LABELS, -0.3, 2)
    assert (answer.label, answer.margin) == ("part 1", 0.25)


@pytest.mark.parametrize("top", [1, 2, 3, 5, 49])
def test_of_equal_scores_the_first_wins(top: int) -> None:
    score = np.zeros((2, 50), np.float32)
    score[1, [7, 20, 33, 41]] = 1
    nothing, four = decide(score, LABELS, 0.5, top)
    assert [label for label, _ in nothing.top] == LABELS[:top]
    rest = [index for index in range(50) if index not in (7, 20, 33, 41)]
    assert [label for label, _ in four.top] == [LABELS[index] for index in [7, 20, 33, 41, *rest][:top]]
    assert (four.label, four.margin) == ("part 7", 0.0)


@pytest.mark.parametrize("classes", [1, 3, 50])
def test_scores_that_are_no_numbers_are_not_accepted(classes: int) -> None:
    for answer in decide(np.full((2, classes), np.nan, np.float32), LABELS, -1.0, 3):
        assert answer.label is None
        assert not answer.accepted
        assert np.isnan(answer.score)
        assert [label for label, _ in answer.top] == LABELS[: min(3, classes)]


@pytest.mark.parametrize("top", [1, 2, 5])
def test_a_number_comes_before_one_that_is_none(top: int) -> None:
    score = np.full((1, 50), np.nan, np.float32)
    score[0, 30] = 0.75
    (answer,) = decide(score, LABELS, 0.5, top)
    assert (answer.label, answer.score) == ("part 30", 0.75)


@pytest.mark.parametrize("top", [1, 2, 5, 59, 60, 100])
@pytest.mark.parametrize("levels", [4, 1_000_000])
def test_equals_a_full_sort(top: int, levels: int) -> None:
    score = (np.random.default_rng(top).integers(0, levels, (200, 60)) / levels).astype(np.float32)
    for scores, answer in zip(score.tolist(), decide(score, LABELS, 0.5, top), strict=True):
        ranked = sorted(range(60), key=lambda index, scores=scores: (-scores[index], index))
        assert answer.top == tuple((LABELS[index], scores[index]) for index in ranked[:top])
        assert answer.score == scores[ranked[0]]
        assert answer.margin == scores[ranked[0]] - scores[ranked[1]]
        assert answer.accepted == (answer.label is not None) == (answer.score >= 0.5)


def test_no_rows() -> None:
    assert decide(np.empty((0, 60), np.float32), LABELS, 0.5, 5) == []


@pytest.mark.parametrize(("score", "reason"), [(0.75, "recognised"), (0.5, "agrees_with_none")])
def test_reason_and_threshold(score: float, reason: str) -> None:
    (answer,) = decide(row(0.25, score), LABELS, 0.6, 2)
    assert (answer.reason, answer.threshold, answer.least_margin) == (reason, 0.6, 0)
    assert (answer.pose, answer.reference) == (None, None)


def test_a_result_is_the_answer_and_its_time() -> None:
    (answer,) = answers_of(matched((0.875, 0.5)))
    result = Result.of(answer, 7.0, Stages(1.0, 2.0, 3.0))
    fields = [field.name for field in dataclasses.fields(Answer)]
    assert [getattr(result, name) for name in fields] == [getattr(answer, name) for name in fields]
    assert (result.latency_ms, result.stages.network_ms) == (7.0, 2.0)


SPEC = MatchingSpec(height=36, width=36, least_margin=0.05)


def bank_of(class_of: Sequence[int]) -> Bank:
    """Return a bank of empty references of classes."""
    records = np.zeros(len(class_of), record_type(SPEC.size_hw))
    records["class"] = class_of
    return Bank.of(records)


BANK, PLAIN = bank_of(range(10)), Rule(0.75)


def matched(*agreement: tuple[float, ...], lead: float = 0) -> Matches:
    """Frames with finalists 7, 2, 5, …, which agree so well."""
    values = np.array(agreement, np.float32)
    classes = np.tile(np.array([7, 2, 5, 0, 9]), (len(values), 1))[:, : values.shape[1]]
    poses = Poses(*(np.full_like(values, value) for value in (0.125, -0.25, np.pi / 4, 0.5, -0.5)))
    leads = np.full(len(values), lead, np.float32)
    return Matches(classes, values, poses, classes, Parallax(values, values), leads)


def answers_of(matches: Matches, rule: Rule = PLAIN, top: int = 5, bank: Bank = BANK) -> list[Answer]:
    return decide_matched(matches, bank, SPEC, LABELS, rule, top)


def test_matched_and_known() -> None:
    (answer,) = answers_of(matched((0.75, 0.5, 0.25)), top=2)
    assert (answer.label, answer.score, answer.margin, answer.accepted) == ("part 7", 0.75, 0.25, True)
    assert answer.top == (("part 7", 0.75), ("part 2", 0.5))


@pytest.mark.parametrize("agreement", [(0.74, 0.5), (0.9, 0.86), (0.9, 0.9), (float("nan"), 0.5)])
def test_matched_and_unknown(agreement: tuple[float, ...]) -> None:
    """Because it agrees too little, or another agrees as well."""
    (answer,) = answers_of(matched(agreement))
    assert (answer.label, answer.accepted) == (None, False)
    assert answer.score == pytest.approx(agreement[0], nan_ok=True)
    named = [label for label, _ in answer.top]
    assert named == (["part 7", "part 2"] if agreement[0] > 0 else ["part 2"])


def test_matched_among_one() -> None:
    (answer,) = answers_of(matched((0.8125,)))
    assert (answer.label, answer.margin, answer.top) == ("part 7", 0.8125, (("part 7", 0.8125),))


def test_each_frame_has_an_answer_of_its_own() -> None:
    answers = answers_of(matched((0.875, 0.5), (0.5, 0.25), (0.75, 0.625)), top=1)
    assert [answer.label for answer in answers] == ["part 7", None, "part 7"]
    assert [answer.score for answer in answers] == [0.875, 0.5, 0.75]
    assert [answer.margin for answer in answers] == [0.375, 0.25, 0.125]
    assert [answer.top for answer in answers] == [(("part 7", score),) for score in (0.875, 0.5, 0.75)]
    assert answers_of(matched((0.5, 0.25)), Rule(0.5))[0].accepted  # at the threshold


def test_an_agreement_of_zero_names_no_candidate() -> None:
    """Fewer classes than finalists were among the candidates."""
    (answer,) = answers_of(matched((0.875, 0.5, 0.0, 0.0)))
    assert [label for label, _ in answer.top] == ["part 7", "part 2"]


def test_types_of_a_matched_answer_are_pythons_own() -> None:
    (answer,) = answers_of(matched((0.875, 0.5)))
    values = (answer.label, answer.score, answer.margin, answer.accepted, answer.top[0][1])
    assert [type(value) for value in values] == [str, float, float, bool, float]
    assert answer.pose is not None
    facts = (answer.reason, answer.threshold, answer.least_margin, answer.pose.turn_deg, answer.reference)
    assert [type(value) for value in facts] == [str, float, float, float, int]


@pytest.mark.parametrize(
    ("agreement", "reason"),
    [
        ((0.875, 0.5), "recognised"),
        ((0.75, 0.5), "recognised"),
        ((0.74, 0.5), "agrees_with_none"),
        ((0.9, 0.86), "two_parts_fit"),
        ((0.7, 0.68), "agrees_with_none"),  # and a second fits as well
        ((float("nan"), 0.5), "agrees_with_none"),
    ],
)
def test_reason_of_a_matched_answer(agreement: tuple[float, float], reason: str) -> None:
    (answer,) = answers_of(matched(agreement))
    assert answer.reason == reason
    assert answer.accepted == (reason == "recognised")
    assert answer.threshold == 0.75
    assert answer.least_margin == pytest.approx(agreement[0] * SPEC.least_margin, nan_ok=True)


def test_threshold_of_each_frame_by_margin_and_network() -> None:
    rule = Rule(0.75, by_margin=0.5, by_network=0.25)
    frames = matched((0.625, 0.25), (0.625, 0.5), lead=0.5)
    answers = answers_of(frames, rule)
    assert [answer.threshold for answer in answers] == [0.4375, 0.5625]
    assert [answer.reason for answer in answers] == ["recognised", "recognised"]
    wrong = answers_of(dataclasses.replace(frames, lead=-frames.lead), rule)  # the network names another part
    assert [answer.threshold for answer in wrong] == [0.6875, 0.8125]
    assert [answer.reason for answer in wrong] == ["agrees_with_none", "agrees_with_none"]


@pytest.mark.parametrize("agreement", [(0.875, 0.5), (0.25, 0.125), (0.9, 0.9)])
def test_pose_of_the_best_candidate_in_degrees(agreement: tuple[float, float]) -> None:
    """Accepted or not."""
    (answer,) = answers_of(matched(agreement))
    assert answer.pose == PartPose(0.125, -0.25, pytest.approx(45), 0.5, -0.5)


def test_reference_counts_within_its_part() -> None:
    """Part 2 has 3 references, part 7 has 4."""
    bank = bank_of([0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 7, 7, 7, 8, 9])
    rows = np.array([[9, 2], [10, 4], [12, 3], [4, 9]])
    found = dataclasses.replace(matched(*[(0.875, 0.5)] * 4), references=rows, classes=bank.class_of[rows])
    answers = answers_of(found, bank=bank)
    assert [answer.label for answer in answers] == ["part 7", "part 7", "part 7", "part 2"]
    assert [answer.reference for answer in answers] == [0, 1, 3, 2]
