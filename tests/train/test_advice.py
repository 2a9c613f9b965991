"""Advice: verdict and to-do list of a run."""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

from partsight.cli.main import build_parser
from partsight.runtime.core import Level
from partsight.train.advice import Advice, advise, shown
from partsight.train.records import LookAlike, VariedFrame
from partsight.train.run_folder import RunFolder, RunRecord

RUN = Path("runs") / "first"


@pytest.fixture
def good(small_run: RunFolder) -> RunRecord:
    """The record of a training without a flaw, on 1,000 frames."""
    return with_answers(msgspec.structs.replace(small_run.record, varied=(), look_alikes=(), twins=()), 995, 0)


def with_answers(record: RunRecord, right: int, wrong: int, false_accept: float | None = 0.01) -> RunRecord:
    """Return the record with other answers to 1,000 varied frames."""
    decision = msgspec.structs.replace(
        record.calibration.matched_decision, samples=1000, expected_false_accept=false_accept
    )
    calibration = msgspec.structs.replace(
        record.calibration, matched_decision=decision, expected_right=right / 1000, expected_wrong=wrong / 1000
    )
    return msgspec.structs.replace(record, calibration=calibration)


def advice(record: RunRecord, **changes: Any) -> Advice:
    return advise(msgspec.structs.replace(record, **changes), RUN)


def commands(found: Advice) -> list[list[str]]:
    """Return the words of the commands, which `partsight` must understand."""
    words = [shlex.split(task.command) for task in found.tasks if task.command]
    for command in words:
        build_parser().parse_args(command[1:])
    return words


def test_a_good_run_is_exported(good: RunRecord) -> None:
    found = advice(good)
    assert found.verdict.level == "good"
    assert commands(found) == [["partsight", "export", str(RUN), "--out", "first.partsight"]]
    assert any("995" in reason for reason in found.verdict.reasons)


def test_a_network_below_its_target_trains_again(good: RunRecord) -> None:
    found = advice(good, reached=False, golden_accuracy=0.5, outcome="stopped after 6 epochs")
    assert found.verdict.level == "bad"
    assert "stopped after 6 epochs" in found.verdict.reasons[0]
    ((program, verb, *options),) = commands(found)
    assert (program, verb, options[-4:]) == ("partsight", "train", ["--budget", "full", "--out", f"{RUN}-full"])
    config = msgspec.structs.replace(good.config, budget="full")
    assert commands(advice(good, reached=False, config=config)) == []  # no command makes better images


@pytest.mark.parametrize(
    ("right", "wrong", "level"),
    [
        (990, 0, "good"),
        (965, 0, "good"),
        (955, 0, "care"),
        (880, 0, "bad"),
        (989, 1, "care"),
        (975, 15, "care"),
        (970, 20, "bad"),
    ],
)
def test_answers_to_simulated_frames(good: RunRecord, right: int, wrong: int, level: Level) -> None:
    found = advise(with_answers(good, right, wrong), RUN)
    assert found.verdict.level == level
    assert any(f"{right} got" in reason for reason in found.verdict.reasons)


def test_the_allowed_share_of_refused_frames_is_no_reason(good: RunRecord) -> None:
    config = msgspec.structs.replace(good.config, max_false_reject=0.3)
    assert advice(with_answers(good, 690, 0), config=config).verdict.level == "good"


@pytest.mark.parametrize(("false_accept", "level"), [(0.05, "good"), (0.2, "care"), (None, "care")])
def test_unknown_parts(good: RunRecord, false_accept: float | None, level: Level) -> None:
    found = advise(with_answers(good, 995, 0, false_accept), RUN)
    assert found.verdict.level == level
    assert any("--unknown" in command for command in commands(found)) == (level == "care")


def test_twins_and_look_alikes_are_named_once(good: RunRecord) -> None:
    labels = good.labels
    alike = (
        LookAlike(0, 1, 0.9, "top", 0.1, 0.0),
        LookAlike(2, 3, 0.6, "left", 0.7, 0.0),
        LookAlike(4, 5, 0.2, "left", 4.0, 0.0),
    )
    found = advice(good, twins=((labels[1], labels[0]),), look_alikes=alike)
    assert found.verdict.level == "care"
    named = [{label for label in labels if label in reason} for reason in found.verdict.reasons]
    assert [names for names in named if names] == [{labels[0], labels[1]}, {labels[2], labels[3]}]


def test_weak_parts_are_named(good: RunRecord) -> None:
    frames = [VariedFrame(part, part, "unknown", 0.1, 0.1, 0, 0.0) for part in range(1, 8) for _ in range(2)]
    found = advice(good, varied=tuple(frames))
    assert found.verdict.level == "care"
    assert sum(any(label in reason for label in good.labels) for reason in found.verdict.reasons) == 5
    assert any("2 more" in reason for reason in found.verdict.reasons)
    assert sum("second image" in task.text for task in found.tasks) == 1  # the remedy stands there once


def test_the_worst_reason_comes_first(good: RunRecord) -> None:
    found = advice(with_answers(good, 500, 300), twins=(("bolt", "nut"),))
    assert found.verdict.level == "bad"
    assert "300" in found.verdict.reasons[0]
    assert "bolt" in found.verdict.reasons[1]
    assert not any("export" in command for command in commands(found))


def test_paths_in_commands() -> None:
    assert shown("runs/first") == "runs/first"
    assert shown("my runs/first") == '"my runs/first"'
