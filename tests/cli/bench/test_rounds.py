"""Rounds: speeds by a clock that is made up, in turns."""

from types import SimpleNamespace

import pytest

from partsight.cli.bench.facts import OverlapSpeed
from partsight.cli.bench.rounds import group_frames, measure_queue, measure_speeds, pool_size, take_turns
from tests.cli.bench.made_up import CPU_FP32, CPU_INT8, FakeRecognizer, StepClock, no_tick, shades


def test_speeds_are_frames_by_the_clock() -> None:
    """A turn has four frames, in four calls or in one; its two looks at the clock are 10 ms apart."""
    clock = StepClock()
    recognizers = {CPU_FP32: FakeRecognizer(clock, 0.4), CPU_INT8: FakeRecognizer(clock, 0.04)}
    opened = {configuration: fake.as_recognizer for configuration, fake in recognizers.items()}
    speeds, rounds = measure_speeds(opened, shades(8), [4, 1], 1.0, clock, no_tick)
    assert rounds == 2  # at least two, however little time there is
    assert [(speed.configuration, speed.batch) for speed in speeds] == [
        (CPU_FP32, 1), (CPU_FP32, 4), (CPU_INT8, 1), (CPU_INT8, 4)
    ]  # fmt: skip
    assert [speed.frames_per_s for speed in speeds] == pytest.approx([4 / 1.61, 4 / 0.41, 4 / 0.17, 4 / 0.05])
    assert [speed.slowest_frames_per_s for speed in speeds] == pytest.approx([speed.frames_per_s for speed in speeds])
    assert [speed.network_frames_per_s for speed in speeds] == pytest.approx([4 / 0.81, 4 / 0.21, 4 / 0.09, 4 / 0.03])


def test_the_first_round_only_warms_up() -> None:
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 9.0)
    recognizer.manifest = SimpleNamespace(matching=None)

    def tick(step: str) -> None:
        recognizer.call_s = 0.04

    opened = {CPU_FP32: recognizer.as_recognizer}
    ((speed,), _) = measure_speeds(opened, shades(8), [4], 1.0, clock, tick)
    assert speed.slowest_frames_per_s == pytest.approx(speed.frames_per_s) == pytest.approx(4 / 0.05)
    assert speed.network_frames_per_s is None


def test_more_time_gives_more_rounds() -> None:
    clock = StepClock()
    opened = {CPU_FP32: FakeRecognizer(clock, 0.01).as_recognizer}
    _, rounds = measure_speeds(opened, shades(8), [1], 9.0, clock, no_tick)
    assert rounds > 10


def test_all_take_one_turn_in_each_round() -> None:
    seen: list[tuple[str, int]] = []

    def turn(name: str, number: int) -> float:
        seen.append((name, number))
        return float(number)

    turns = {name: lambda number, name=name: turn(name, number) for name in "abc"}
    found = take_turns(turns, 0.0, StepClock(), lambda: None)
    assert found == {key: [1.0, 2.0] for key in "abc"}
    assert [number for _, number in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    orders = {"".join(name for name, number in seen if number == wanted) for wanted in range(3)}
    assert {"".join(sorted(order)) for order in orders} == {"abc"}
    assert len(orders) > 1


def test_batch_sizes_of_one_round_see_different_frames() -> None:
    """Otherwise the second would profit from references that the first has loaded."""
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 0.01)
    recognizer.manifest = SimpleNamespace(matching=None)
    turns: list[set[int]] = []

    def tick(step: str) -> None:
        turns.append(set(recognizer.seen))
        recognizer.seen.clear()

    measure_speeds({CPU_FP32: recognizer.as_recognizer}, shades(8), [1, 2], 0.0, clock, tick)
    assert len(turns) == 2 * 3
    assert all(first.isdisjoint(second) for first, second in zip(turns[::2], turns[1::2], strict=True))
    assert set.union(*turns) == set(range(8))


def test_frames_are_split_into_groups_of_equal_size() -> None:
    assert [len(group) for group in group_frames(shades(pool_size(16)), 16)] == [16] * 4
    assert pool_size(64) == 128
    assert [frame[0, 0, 0] for frame in group_frames(shades(3), 2)[1]] == [2, 0]


def test_overlapping_batches_take_turns_with_batches_apart() -> None:
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 0.39)  # and two looks at the clock
    found = measure_queue(recognizer.as_recognizer, shades(8), 3.0, clock, no_tick)
    assert sorted(recognizer.sizes[:5]) == [1, 1, 4, 4, 8]  # each turn starts with one frame that is not timed
    assert found == OverlapSpeed(pytest.approx(10, rel=0.02), pytest.approx(20, rel=0.02))
