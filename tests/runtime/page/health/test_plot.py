"""Shapes of plots."""

import math
import re
import time

import pytest

from partsight.runtime.page.health.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Band, Plot, Series, draw

HOUR_S = 3600.0
NOON = 1_700_000_000.0 - 1_700_000_000.0 % HOUR_S


def plotted(values: list[float | None], *bands: Band, hours: float = 1.0, least_span: float = 0.1) -> Plot:
    times = [NOON + 60.0 * index for index in range(len(values))]
    plot = draw(Series(times, values, 150.0), bands, NOON, NOON + hours * HOUR_S, least_span)
    assert plot is not None
    return plot


def places(plot: Plot) -> list[tuple[float, float]]:
    pairs = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", plot.lines)
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize("values", [[], [None, None], [1.0], [None, 1.0]])
def test_nothing_to_see(values: list[float | None]) -> None:
    times = [NOON + 60.0 * index for index in range(len(values))]
    assert draw(Series(times, values, 150.0), [], NOON, NOON + HOUR_S, 1.0) is None


def test_a_line_in_its_frame() -> None:
    found = places(plotted([0.0, 1.0, 0.5], hours=2 / 60))
    assert [x for x, _ in found] == [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]
    low, high, middle = (y for _, y in found)
    assert TOP < high < middle < low < HEIGHT - BOTTOM
    assert math.isclose(middle, (low + high) / 2, abs_tol=0.11)


def test_a_gap_breaks_the_line_and_a_value_alone_is_a_dot() -> None:
    plot = plotted([0.5, 0.5, None, 0.5, None, 0.5, 0.5])
    assert plot.lines.count("M") == 2
    assert len(plot.dots) == 1


@pytest.mark.parametrize("second", [NOON + 1000.0, NOON - 5.0], ids=["sleep", "clock set back"])
def test_a_jump_of_the_clock_breaks_the_line(second: float) -> None:
    plot = draw(Series([NOON, second], [1.0, 1.0], 150.0), [], NOON, NOON + HOUR_S, 1.0)
    assert plot is not None
    assert (plot.lines, len(plot.dots)) == ("", 2)


def test_bands_are_within_the_frame_and_around_their_values() -> None:
    plot = plotted([1.0, 1.0], Band(NOON - HOUR_S, NOON + HOUR_S / 2, 0.8, 1.2))
    (band,) = plot.bands
    (_, y), _ = places(plot)
    assert (band.x, band.x + band.width) == (LEFT, (LEFT + WIDTH - RIGHT) / 2)
    assert TOP < band.y < y < band.y + band.height < HEIGHT - BOTTOM


def test_noise_does_not_fill_the_plot() -> None:
    ys = [y for _, y in places(plotted([1.0, 1.001, 1.0], least_span=0.4))]
    assert max(ys) - min(ys) < 2


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e6, 3e6], [-0.5, 0.1], [1e-4, 2e-4]])
def test_ticks_of_values_are_round_and_few(values: list[float | None]) -> None:
    ticks = plotted(values, least_span=1e-4).values
    assert 2 <= len(ticks) <= 7
    assert len({tick.text for tick in ticks}) == len(ticks)
    assert all(TOP <= tick.at <= HEIGHT - BOTTOM for tick in ticks)


@pytest.mark.parametrize("hours", [0.25, 1, 8, 24])
def test_ticks_of_times_are_round_local_times(hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")  # half an hour off
    time.tzset()
    try:
        ticks = plotted([1.0, 1.0], hours=hours).times
    finally:
        monkeypatch.undo()
        time.tzset()
    assert 2 <= len(ticks) <= 8
    assert all(int(tick.text[-2:]) % 5 == 0 for tick in ticks)
    if hours >= 8:
        assert all(tick.text.endswith(":00") for tick in ticks)


def test_many_values_are_thinned() -> None:
    times = [NOON + 60.0 * index for index in range(7)]
    series = Series(times, [1.0, 2.0, 3.0, None, None, None, 9.0], 150.0)
    assert series.thinned(7) == series
    thin = series.thinned(3)
    assert (thin.times, thin.values, thin.gap_s) == ([times[2], times[5], times[6]], [2.0, None, 9.0], 450.0)
    assert Series([], [], 150.0).thinned(3) == Series([], [], 150.0)
