import pytest

from partsight.runtime.calibration.commissioning import (
    Confusion,
    FramesUsed,
    MeasuredLine,
    Outcome,
    PartFit,
    ReferenceTrial,
    Spread,
)
from partsight.runtime.calibration.commissioning.verdict import judge_outcome, list_tasks
from partsight.runtime.calibration.intervals import RateInterval
from partsight.runtime.core import Task

NONE = RateInterval(0, 400, 0, 0.01)
USED = FramesUsed(400, 200, 100, 0, 0, is_confirmed=True, unclear=0, faults={})


def share(hits: int, total: int = 400, high: float | None = None) -> RateInterval:
    return RateInterval(hits, total, 0, hits / total + 0.01 if high is None else high)


def outcome(**changed: RateInterval | None) -> Outcome:
    rates = {"right_first": share(400, high=1.0), "refused": share(3), "wrong": NONE, "siblings": NONE, "unknown": NONE}
    return Outcome(**{**rates, **changed})  # type: ignore[arg-type]


def measured(turn: float = 0.0, focus: float = 1.0, scale: float = 1.0) -> MeasuredLine:
    def spread(name: str, unit: str, middle: float) -> Spread:
        return Spread(name, unit, middle - 0.1, middle, middle + 0.1)

    sharp, size = spread("sharpness", "×", focus), spread("scale", "×", scale)
    return MeasuredLine(400, (spread("turn clockwise", "°", turn),), (), sharp, None, size)


def tasks(
    after: Outcome | None = None,
    used: FramesUsed = USED,
    misfit: str = "",
    line: MeasuredLine | None = None,
    confusions: tuple[Confusion, ...] = (),
    parts: tuple[PartFit, ...] = (),
    trials: tuple[ReferenceTrial, ...] = (),
) -> tuple[Task, ...]:
    rest = {"max_false_reject": 0.01, "package": "old.partsight", "out": "new package.partsight"}
    return list_tasks(
        after or outcome(refused=share(0)), used, misfit, line or measured(), confusions, parts, trials, **rest
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, "good"),
        ({"unknown": None}, "good"),
        ({"refused": share(12)}, "care"),
        ({"refused": share(40)}, "bad"),
        ({"refused": share(0, 40, high=0.09)}, "care"),
        ({"wrong": share(1)}, "care"),
        ({"wrong": share(8)}, "bad"),
        ({"unknown": share(40)}, "care"),
        ({"unknown": share(100)}, "bad"),
        ({"unknown": None, "siblings": share(40)}, "care"),
    ],
)
def test_the_rates_decide(changed: dict[str, RateInterval | None], level: str) -> None:
    assert judge_outcome(outcome(**changed), USED, "", 0.01).level == level


def test_frames_that_nobody_confirmed_prove_nothing() -> None:
    used = FramesUsed(400, 200, 0, 0, 0, is_confirmed=False, unclear=30, faults={})
    assert judge_outcome(outcome(), used, "", 0.01).level == "care"


def test_frames_of_another_set_up_prove_nothing() -> None:
    assert judge_outcome(outcome(), USED, "Correct the set-up: the light.", 0.01).level == "care"


def test_a_package_that_is_ready_only_has_to_run() -> None:
    run, undo = tasks()
    assert "'new package.partsight'" in run.command
    assert "--undo" in undo.command


def test_the_set_up_comes_first() -> None:
    assert tasks(misfit="Correct the set-up: the light.")[0].text == "Correct the set-up: the light."


@pytest.mark.parametrize(
    ("line", "number"), [({"turn": -4.0}, "4.0"), ({"focus": 0.5}, "0.50"), ({"scale": 1.03}, "1.030")]
)
def test_a_line_that_is_off_is_to_be_corrected(line: dict[str, float], number: str) -> None:
    assert number in tasks(line=measured(**line))[0].text


def test_a_part_whose_frames_all_fit_another_one_is_named() -> None:
    first, *_ = tasks(confusions=(Confusion("M8", "M6", 3, 3, 0),))
    assert "M8" in first.text and "M6" in first.text
    assert len(tasks(confusions=(Confusion("M8", "M6", 1, 3, 0),))) == 2


def test_a_weak_part_needs_a_golden_image_unless_a_reference_helps() -> None:
    weak = PartFit("M8", 4, 3, 0, 0.2)
    assert "--label M8" in tasks(parts=(weak,))[0].command
    assert len(tasks(parts=(weak,), trials=(ReferenceTrial("M8", 4, 3, (1,), 2),))) == 2
    assert len(tasks(parts=(PartFit("M8", 4, 1, 0, 0.2),))) == 2


def test_few_frames_and_no_unknown_ones_are_tasks() -> None:
    found = tasks(outcome(refused=share(0, 120), unknown=None))
    assert "300" in found[0].text and "120" in found[0].text
    assert "--unknown" in found[1].command


def test_unknown_parts_that_get_a_label_are_a_task() -> None:
    assert "enroll" in tasks(outcome(refused=share(0), unknown=share(60)))[0].command
