import numpy as np
import pytest

from partsight.runtime.matching import Matches, MatchingSpec
from partsight.runtime.matching.poses import Poses
from partsight.runtime.recognition.results import decide, decide_matched

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


SPEC = MatchingSpec(height=72, width=72, least_margin=0.05)


def matched(*agreement: tuple[float, ...]) -> Matches:
    """Frames with finalists 7, 2, 5, …, which agree so well."""
    values = np.array(agreement, np.float32)
    classes = np.tile(np.array([7, 2, 5, 0, 9]), (len(values), 1))[:, : values.shape[1]]
    return Matches(classes, values, Poses(*[np.zeros_like(values)] * 5), classes)


def test_matched_and_known() -> None:
    (answer,) = decide_matched(matched((0.75, 0.5, 0.25)), SPEC, LABELS, 0.75, 2)
    assert (answer.label, answer.score, answer.margin, answer.accepted) == ("part 7", 0.75, 0.25, True)
    assert answer.top == (("part 7", 0.75), ("part 2", 0.5))


@pytest.mark.parametrize("agreement", [(0.74, 0.5), (0.9, 0.86), (0.9, 0.9), (float("nan"), 0.5)])
def test_matched_and_unknown(agreement: tuple[float, ...]) -> None:
    """Because it agrees too little, or another agrees as well."""
    (answer,) = decide_matched(matched(agreement), SPEC, LABELS, 0.75, 5)
    assert (answer.label, answer.accepted) == (None, False)
    assert answer.score == pytest.approx(agreement[0], nan_ok=True)
    named = [label for label, _ in answer.top]
    assert named == (["part 7", "part 2"] if agreement[0] > 0 else ["part 2"])


def test_matched_among_one() -> None:
    (answer,) = decide_matched(matched((0.8125,)), SPEC, LABELS, 0.75, 5)
    assert (answer.label, answer.margin, answer.top) == ("part 7", 0.8125, (("part 7", 0.8125),))


def test_each_frame_has_an_answer_of_its_own() -> None:
    answers = decide_matched(matched((0.875, 0.5), (0.5, 0.25), (0.75, 0.625)), SPEC, LABELS, 0.75, 1)
    assert [answer.label for answer in answers] == ["part 7", None, "part 7"]
    assert [answer.score for answer in answers] == [0.875, 0.5, 0.75]
    assert [answer.margin for answer in answers] == [0.375, 0.25, 0.125]
    assert [answer.top for answer in answers] == [(("part 7", score),) for score in (0.875, 0.5, 0.75)]
    assert decide_matched(matched((0.5, 0.25)), SPEC, LABELS, 0.5, 1)[0].accepted  # at the threshold


def test_an_agreement_of_zero_names_no_candidate() -> None:
    """Fewer classes than finalists were among the candidates."""
    (answer,) = decide_matched(matched((0.875, 0.5, 0.0, 0.0)), SPEC, LABELS, 0.75, 4)
    assert [label for label, _ in answer.top] == ["part 7", "part 2"]


def test_types_of_a_matched_answer_are_pythons_own() -> None:
    (answer,) = decide_matched(matched((0.875, 0.5)), SPEC, LABELS, 0.75, 2)
    values = (answer.label, answer.score, answer.margin, answer.accepted, answer.top[0][1])
    assert [type(value) for value in values] == [str, float, float, bool, float]
