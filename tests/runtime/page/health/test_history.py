"""Measures of cameras over hours."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import Health, Line
from partsight.runtime.page.health.history import HealthHistory
from partsight.runtime.sinks import FrameEvent
from tests.runtime.page.conftest import Belt
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

MINUTE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A line with one camera, and its history."""

    def __init__(self, package: Path, *, has_health: bool) -> None:
        self.belt, self.clock = Belt("left"), Clock()
        self.line = Line(Recognizer(package, batch_size=4, engine=ONE_THREAD), {"left": lambda: self.belt})
        self.health = Health(self.line) if has_health else None
        self.history = HealthHistory(self.line, self.health, clock=self.clock)
        self._answered = threading.Semaphore(0)
        self.line.listen(self._count)

    def _count(self, _: FrameEvent) -> None:
        self._answered.release()

    def minute(self, *colours: str | tuple[int, int, int]) -> None:
        """Let the camera see frames, wait for their answers and counts, and take the minute's sample."""
        seen = sum(self._outcomes())
        for colour in colours:
            self.belt.frames.put(solid(colour))
        for _ in colours:
            assert self._answered.acquire(timeout=HANG_S)
        wait_until(lambda: sum(self._outcomes()) == seen + len(colours))
        self.clock.now += MINUTE_S
        self.history.sample()

    def _outcomes(self) -> tuple[int, int]:
        camera = self.line.counters().cameras["left"]
        return camera.recognised, camera.unknown


@pytest.fixture
def watch(matching_package: Path) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def _watch(*, has_health: bool = False) -> Watched:
        watched = Watched(matching_package, has_health=has_health)
        made.append(watched)
        watched.line.start()
        if watched.health:
            watched.health.start()
        return watched

    yield _watch
    for watched in made:
        watched.line.close()
        watched.history.close()
        if watched.health:
            watched.health.close()


def test_a_minute_without_frames_has_no_measures(watch: Callable[..., Watched]) -> None:
    watched = watch()
    watched.minute()
    (sample,) = watched.history.samples("left")
    assert (sample.time, sample.answers_per_s) == (watched.clock.now, 0.0)
    assert (sample.focus_ratio, sample.exposure_ev, sample.unknown_share, sample.latency_ms) == (None,) * 4


def test_each_minute_counts_only_its_own_answers(watch: Callable[..., Watched]) -> None:
    watched = watch()
    watched.minute("red", "red", (128, 128, 128))
    watched.minute("red")
    first, second = watched.history.samples("left")
    assert first.unknown_share == pytest.approx(1 / 3)
    assert (first.answers_per_s, second.answers_per_s) == (pytest.approx(3 / 60), pytest.approx(1 / 60))
    assert second.unknown_share == 0
    assert first.latency_ms is not None and first.latency_ms > 0
    assert watched.history.last("left") == second
    assert watched.history.samples("left", since=second.time) == [second]


def test_focus_and_exposure_are_gone_while_no_part_passes(watch: Callable[..., Watched]) -> None:
    watched = watch(has_health=True)
    history = watched.history
    wait_until(lambda: history.state().expected)
    watched.minute("red")
    wait_until(lambda: history.state().cameras["left"].recognised.exposure_ev is not None)
    watched.belt.frames.put(solid("red"))
    wait_until(lambda: watched.line.counters().cameras["left"].recognised == 2)
    watched.minute()
    watched.minute((128, 128, 128))
    _, measured, without = history.samples("left")
    assert measured.exposure_ev is not None and math.isclose(measured.exposure_ev, 0, abs_tol=0.05)
    assert (without.exposure_ev, without.focus_ratio) == (None, None)


def test_expected_ranges_name_their_package(watch: Callable[..., Watched]) -> None:
    watched = watch(has_health=True)
    wait_until(lambda: watched.history.state().expected)
    watched.minute()
    watched.minute()
    (ranges,) = watched.history.ranges()
    assert (ranges.package_id, ranges.expected) == (watched.line.package_id, watched.history.state().expected)


def test_without_health(watch: Callable[..., Watched]) -> None:
    watched = watch()
    watched.minute("red")
    (ranges,) = watched.history.ranges()
    assert (ranges.package_id, ranges.expected) == ("", None)
    assert watched.history.state().cameras == {}


def test_a_day_is_kept_and_no_more(watch: Callable[..., Watched]) -> None:
    watched = watch()
    for _ in range(24 * 60 + 30):
        watched.minute()
    samples = watched.history.samples("left")
    assert len(samples) == 24 * 60
    assert samples[-1].time == watched.clock.now
    assert all(later.time - sample.time == MINUTE_S for sample, later in itertools.pairwise(samples))


def test_counters_of_an_hour_ago(watch: Callable[..., Watched]) -> None:
    watched = watch()
    watched.minute("red")
    assert watched.history.lately().cameras["left"].recognised == 0  # the line is younger
    for _ in range(60):
        watched.minute()
    assert watched.history.lately().cameras["left"].recognised == 1


def test_a_clock_that_is_set_back(watch: Callable[..., Watched]) -> None:
    watched = watch()
    watched.clock.now -= 2 * MINUTE_S
    watched.minute("red")
    (sample,) = watched.history.samples("left")
    assert sample.answers_per_s is None


def test_an_unknown_camera_has_no_samples(watch: Callable[..., Watched]) -> None:
    watched = watch()
    assert (watched.history.samples("top"), watched.history.last("top")) == ([], None)


def test_the_thread_samples_and_survives_an_error(matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(Recognizer(matching_package, engine=ONE_THREAD), {"left": lambda: Belt("left")})
    history = HealthHistory(line, None, every_s=0.001)
    counters, calls = line.counters, itertools.count()

    def fail_first() -> object:
        if next(calls) == 0:
            raise OSError("once")
        return counters()

    monkeypatch.setattr(line, "counters", fail_first)
    history.start()
    wait_until(lambda: len(history.samples("left")) > 3)
    history.close()
    history.close()
    line.close()
