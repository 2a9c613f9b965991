"""The order of a review: frames of one answer in a row, the most doubtful first."""

from pathlib import Path
from typing import Any

from partsight.runtime.feedback import read_feedback, review_order
from partsight.runtime.sinks import open_sink
from tests.runtime.feedback.kept import sequences
from tests.runtime.sinks.kinds import event


def order(folder: Path, *events: dict[str, Any]) -> list[int]:
    with open_sink(f"images:{folder}?every=1") as sink:
        for sequence, changes in enumerate(events):
            sink.write(event(sequence, **changes))
    return sequences(review_order(read_feedback(folder).frames))


def refused(score: float, **changes: Any) -> dict[str, Any]:
    return {"label": None, "score": score, "threshold": 0.8, "reason": "agrees_with_none", **changes}


def test_refused_frames_near_the_threshold_come_first(tmp_path: Path) -> None:
    assert order(tmp_path, refused(0.1), refused(0.79), refused(0.5)) == [1, 2, 0]


def test_two_parts_fit_by_the_margin_that_lacks(tmp_path: Path) -> None:
    both = {"reason": "two_parts_fit", "least_margin": 0.04}
    assert order(tmp_path, refused(0.9, margin=0.0, **both), refused(0.9, margin=0.03, **both)) == [1, 0]


def test_accepted_frames_by_what_they_nearly_lacked(tmp_path: Path) -> None:
    least = {"threshold": 0.5, "least_margin": 0.04, "reason": "recognised"}
    scores = ({"score": 0.9, "margin": 0.9}, {"score": 0.52, "margin": 0.9}, {"score": 0.9, "margin": 0.05})
    assert order(tmp_path, *({**least, **score} for score in scores)) == [2, 1, 0]


def test_one_answer_in_a_row(tmp_path: Path) -> None:
    """By the most doubtful of each."""
    recognised = {"threshold": 0.5, "least_margin": 0.04, "reason": "recognised", "margin": 0.9}
    frames = [{"label": label, "score": score} for label, score in (("A", 0.9), ("B", 0.7), ("A", 0.6), ("C", 0.8))]
    assert order(tmp_path, *({**recognised, **frame} for frame in frames)) == [2, 0, 1, 3]


def test_records_of_an_earlier_partsight_and_without_candidates(tmp_path: Path) -> None:
    earlier = {"reason": None, "threshold": None, "least_margin": None, "pose": None}
    frames = ({"label": None, "top": ()}, {"label": None}, {"label": "M8x40"})
    assert order(tmp_path, *({**earlier, **frame} for frame in frames)) == [1, 2, 0]
