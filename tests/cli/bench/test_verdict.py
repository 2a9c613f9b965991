"""The verdict: the choice of a configuration, and the figures in its sentences."""

import pytest

from partsight.cli.bench.facts import (
    BenchFacts,
    Configuration,
    LabelAgreement,
    Latency,
    OverlapSpeed,
    PacedRun,
    Speed,
    StageShares,
)
from partsight.cli.bench.verdict import choose, judge, milliseconds, rate, stages_of
from tests.cli.bench.made_up import CPU_FP32, CPU_INT8, OV_FP32, made_up, nothing_to_recommend


def sentences(facts: BenchFacts) -> str:
    return " ".join(judge(facts).sentences)


def test_the_verdict_holds_the_figures() -> None:
    verdict = judge(made_up())
    for figure in ("line3.partsight", "92 frames", "openvino, bf16, batches of 16", "3 cameras at 30 fps"):
        assert figure in verdict.headline
    single, pace, limit, gain, labels, start = verdict.sentences
    assert "14 ms" in single
    assert "p99 19 ms" in single
    for figure in ("64 frames", "5 s", "21 ms", "48 ms", "none of 324", "100 ms"):
        assert figure in pace
    for figure in ("11 ms", "preprocessing 10%", "network 66%", "comparison 24%"):
        assert figure in limit
    assert "2.0 times" in gain
    assert "cpu, fp32, batches of 16" in gain
    assert "1,998 of 2,000" in labels
    assert "0.9 s" in start
    assert "361 MB" in start
    (warning,) = verdict.warnings
    for figure in ("cpu int8", "3 of 2,000", "1 another part", "2 unknown", "130 frames"):
        assert figure in warning
    assert verdict.command == (
        "partsight run lines/line3.partsight --camera folder:photos --provider openvino --precision bf16 --batch 16"
    )
    assert verdict.code == ('Recognizer("lines/line3.partsight", provider="openvino", precision="bf16", batch_size=16)')


@pytest.mark.parametrize(
    ("frames_per_s", "count", "shown"),
    [(29.999, 0, "29 frames"), (30.0, 1, "30 frames"), (89.99, 2, "89 frames"), (4567.8, 152, "4,567 frames")],
)
def test_cameras_are_never_rounded_up(frames_per_s: float, count: int, shown: str) -> None:
    speed = Speed("cpu", "fp32", 1, frames_per_s, None, frames_per_s)
    assert speed.cameras == count
    headline = judge(made_up(speeds=(speed,), chosen=speed)).headline
    assert shown in headline
    assert f"{count} camera" in headline or (count == 0 and "less than one camera" in headline)


def test_numbers_have_few_digits() -> None:
    assert [rate(value) for value in (0.19, 9.99, 10.9, 1234.5)] == ["0.1", "9.9", "10", "1,234"]
    assert [milliseconds(value) for value in (0.014, 4.25, 14.6)] == ["0.01 ms", "4.2 ms", "15 ms"]


def test_the_slowest_stage_is_named() -> None:
    slow = Speed("openvino", "bf16", 16, 92.7, 400.0, 90.0)
    limit = judge(made_up(chosen=slow, stages=StageShares(0.1, 0.2, 0.7))).sentences[2]
    assert "comparison 70%" in limit
    assert "400 frames" in limit
    assert "matching=False" in limit
    assert "matching=False" not in sentences(made_up())


@pytest.mark.parametrize(("queue", "gain"), [(None, ""), ((92.7, 94.0), ""), ((92.7, 115.9), "1.3 times")])
def test_the_gain_of_a_queue_is_named_if_there_is_one(queue: tuple[float, float] | None, gain: str) -> None:
    text = sentences(made_up(queue=queue and OverlapSpeed(*queue)))
    assert ("--policy queue" in text) == bool(gain)
    assert gain in text


@pytest.mark.parametrize(("overdue", "is_too_many"), [(3, False), (4, True)])
def test_overdue_frames_are_counted(overdue: int, is_too_many: bool) -> None:
    """One of 100 is not too many."""
    none, some = (
        judge(made_up(pace=PacedRun(64.9, 5.0, 300, count, 100.0, 21.0, 148.0))).sentences[1] for count in (1, overdue)
    )
    assert f"{overdue} of 300" in some
    assert (len(some) > len(none)) == is_too_many


@pytest.mark.parametrize(("equal", "configuration"), [(1997, CPU_FP32), (1998, CPU_INT8)])
def test_other_labels_are_never_recommended(equal: int, configuration: Configuration) -> None:
    """99.85 % is too little, 99.9 % enough."""
    speeds = (Speed("cpu", "fp32", 1, 40.0, 50.0, 39.0), Speed("cpu", "int8", 1, 130.0, 300.0, 120.0))
    chosen = choose(speeds, [LabelAgreement("cpu", "int8", 2000, equal, 0, 0.02, 0.3)], CPU_FP32)
    assert chosen is not None
    assert chosen.configuration == configuration


@pytest.mark.parametrize(
    ("int8", "openvino", "expected"), [(41.0, 41.9, CPU_FP32), (45.0, 44.0, OV_FP32), (47.0, 44.0, CPU_INT8)]
)
def test_a_lower_precision_must_pay(int8: float, openvino: float, expected: Configuration) -> None:
    rates = {CPU_INT8: int8, OV_FP32: openvino, CPU_FP32: 40.0}
    speeds = [Speed(*configuration, 1, value, None, value) for configuration, value in rates.items()]
    labels = [LabelAgreement(*configuration, 100, 100, 0, 0.0, 0.0) for configuration in (CPU_INT8, OV_FP32)]
    chosen = choose(speeds, labels, CPU_FP32)
    assert chosen is not None
    assert chosen.configuration == expected


def test_a_configuration_without_compared_labels_is_not_recommended() -> None:
    assert choose([Speed("cpu", "int8", 1, 130.0, 300.0, 120.0)], [], CPU_FP32) is None


def test_a_busy_machine_gives_a_warning() -> None:
    calm, busy = (made_up(chosen=Speed("openvino", "bf16", 16, 100.0, 140.0, slowest)) for slowest in (75.0, 74.9))
    assert len(judge(calm).warnings) == 1
    assert "74 frames" in judge(busy).warnings[1]
    slow_before = judge(made_up(single=Latency(200, 8.0, 9.0))).warnings[1]  # in batches a frame took 10.8 ms
    assert "8.0 ms" in slow_before
    assert "11 ms" in slow_before


def test_nothing_is_recommended_if_all_labels_differ() -> None:
    verdict = judge(nothing_to_recommend())
    assert (verdict.command, verdict.code) == ("", "")
    assert "cpu int8" in verdict.warnings[0]
    assert str(CPU_FP32) in verdict.sentences[0]


@pytest.mark.parametrize("shares", [(0.094, 0.663, 0.243), (1 / 3, 1 / 3, 1 / 3), (0.005, 0.005, 0.99), (0, 0, 1.0)])
def test_stages_add_up(shares: tuple[float, float, float]) -> None:
    stages = stages_of(made_up(stages=StageShares(*shares)))
    assert sum(stage.percent for stage in stages) == 100
    assert sum(stage.ms for stage in stages) == pytest.approx(1000 / 92.7)
