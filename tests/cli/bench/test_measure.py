"""Measurements: labels, stages and pace of recognisers that are made up."""

import pytest

from partsight.cli.bench.facts import LabelAgreement, PacedRun, Speed, StageShares
from partsight.cli.bench.measure import compare_labels, measure_pace, measure_stages, percentile_99
from tests.cli.bench.made_up import CPU_INT8, OV_BF16, OV_FP32, FakeRecognizer, StepClock, no_tick, shades


def test_labels_and_drift() -> None:
    clock = StepClock()
    baseline, same, other, unknown = (
        FakeRecognizer(clock, 0.1, label=label, score=score).as_recognizer
        for label, score in (("red", 0.5), ("red", 0.75), ("blue", 0.5), (None, 0.5))
    )
    compared = {CPU_INT8: same, OV_BF16: other, OV_FP32: unknown}
    found = compare_labels(compared, baseline, iter(shades(10)), 60.0, clock, no_tick)
    assert found == [
        LabelAgreement("cpu", "int8", 10, 10, 0, 0.125, 0.25),
        LabelAgreement("openvino", "bf16", 10, 0, 10, 0.0, 0.0),
        LabelAgreement("openvino", "fp32", 10, 0, 0, 0.0, 0.0),
    ]
    assert [labels.share for labels in found] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(("seconds", "least", "most"), [(1.0, 8, 196), (0.0, 4, 4)])
def test_labels_stop_with_the_time(seconds: float, least: int, most: int) -> None:
    clock = StepClock()
    one = FakeRecognizer(clock, 0.1).as_recognizer
    (found,) = compare_labels({CPU_INT8: one}, one, iter(shades(200)), seconds, clock, no_tick)
    assert least <= found.frames <= most


def test_stages_belong_to_batches_of_the_recommended_size() -> None:
    recognizer = FakeRecognizer(StepClock(), 0.01)
    found = measure_stages(recognizer.as_recognizer, shades(3), 4, 0.1, recognizer.clock, no_tick)
    assert found == StageShares(pytest.approx(0.1), pytest.approx(0.6), pytest.approx(0.3))
    assert set(recognizer.sizes) == {4}


def paced(recognizer: FakeRecognizer) -> PacedRun:
    """Ten frames a second for five seconds."""
    speed = Speed("cpu", "fp32", 4, 10 / 0.7, None, 10.0)
    return measure_pace(recognizer.as_recognizer, shades(3), speed, 100.0, 5.0, recognizer.clock, no_tick)


def test_a_pace_that_the_recogniser_keeps() -> None:
    recognizer = FakeRecognizer(StepClock(), 0.02)
    pace = paced(recognizer)
    assert (pace.frames_per_s, pace.frames, pace.overdue) == (pytest.approx(10), 50, 0)
    assert recognizer.sizes == [1] * 50
    assert 0 < pace.p50_ms <= pace.p99_ms < 100


def test_a_pace_that_is_too_fast() -> None:
    """Waiting frames are answered together, up to the batch size; frames without an answer are overdue."""
    recognizer = FakeRecognizer(StepClock(), 1.0)
    pace = paced(recognizer)
    assert pace.overdue == pace.frames == 50
    assert set(recognizer.sizes) == {1, 4}
    assert sum(recognizer.sizes) < 50


def test_the_99th_percentile_is_a_measured_value() -> None:
    assert percentile_99(list(range(1, 101))) == 99
    assert percentile_99([3.0]) == 3.0
