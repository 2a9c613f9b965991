"""A line plot over hours: its shape, which templates/plot.html draws as SVG."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 400, 190
"""Size of the drawing, in its own units; a screen shows it at any size."""

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 8, 28
"""Margins for the axes' texts."""

_TIME_STEPS_MIN = (5, 10, 15, 30, 60, 120, 180, 240, 360)
_MAX_TIME_TICKS = 5
_MAX_VALUE_TICKS = 5
_MARGIN = 0.08  # share of the values' range above and below


@dataclass(frozen=True)
class Band:
    """An expected range: its times in seconds since 1970, and its limits."""

    start: float
    end: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """Values over time.

    Attributes:
        times: Times, in seconds since 1970, rising.
        values: A value for each time; None for none.
        gap_s: Seconds without a value from which on the line is broken.
    """

    times: Sequence[float]
    values: Sequence[float | None]
    gap_s: float

    def thinned(self, most: int) -> "Series":
        """Return at most so many values: means of neighbours, each at the time of the last of them."""
        size = max(1, math.ceil(len(self.values) / most))
        means = (_mean(self.values[first : first + size]) for first in range(0, len(self.values), size))
        ends = (min(first + size, len(self.times)) - 1 for first in range(0, len(self.times), size))
        return Series([self.times[end] for end in ends], list(means), self.gap_s * size)

    @property
    def known(self) -> list[float]:
        """The values that are there, oldest first."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: its place in the drawing, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of the drawing."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Plot:
    """Shape of a plot, in units of the drawing.

    Attributes:
        lines: Path data of the line.
        dots: Places (x, y) of values with no neighbour; a line would not show them.
        bands: Expected ranges.
        times, values: Ticks of both axes.
    """

    lines: str
    dots: tuple[tuple[float, float], ...]
    bands: tuple[Rectangle, ...]
    times: tuple[Tick, ...]
    values: tuple[Tick, ...]


def draw(series: Series, bands: Sequence[Band], start: float, end: float, least_span: float) -> Plot | None:
    """Return the shape of a plot.

    Args:
        series: Values to draw.
        bands: Expected ranges behind the line.
        start, end: Times of the left and the right edge, in seconds since 1970.
        least_span: Least difference between top and bottom, so that noise does not look like drift.

    Returns:
        None for fewer than two values: there is nothing to see yet.
    """
    if len(series.known) < 2:
        return None
    limits = [limit for band in bands for limit in (band.low, band.high)]
    scale = _Scale(start, end, *_span([*series.known, *limits], least_span))
    runs = list(_runs(series))
    return Plot(
        lines=" ".join(scale.path(run) for run in runs if len(run) > 1),
        dots=tuple(scale.place(*run[0]) for run in runs if len(run) == 1),
        bands=tuple(scale.rectangle(band) for band in bands),
        times=tuple(Tick(scale.x(at), text) for at, text in _time_ticks(start, end)),
        values=tuple(Tick(scale.y(value), text) for value, text in _value_ticks(scale.low, scale.high)),
    )


@dataclass(frozen=True)
class _Scale:
    start: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.start) / (self.end - self.start)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def place(self, at: float, value: float) -> tuple[float, float]:
        return self.x(at), self.y(value)

    def path(self, run: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in (self.place(*point) for point in run))

    def rectangle(self, band: Band) -> Rectangle:
        left, top = self.x(band.start), self.y(band.high)
        return Rectangle(left, top, round(self.x(band.end) - left, 1), round(self.y(band.low) - top, 1))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _span(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    missing = max(0.0, least - (high - low)) / 2
    margin = _MARGIN * max(least, high - low)
    return low - missing - margin, high + missing + margin


def _runs(series: Series) -> Iterator[list[tuple[float, float]]]:
    """Yield the points between two gaps."""
    run: list[tuple[float, float]] = []
    for at, value in zip(series.times, series.values, strict=True):
        # A clock that was set back breaks the line, too.
        if run and (value is None or not 0 < at - run[-1][0] <= series.gap_s):
            yield run
            run = []
        if value is not None:
            run.append((at, value))
    if run:
        yield run


def _time_ticks(start: float, end: float) -> Iterator[tuple[float, str]]:
    """Yield round local times."""
    steps_s = (60 * minutes for minutes in _TIME_STEPS_MIN)
    step_s = next((step_s for step_s in steps_s if (end - start) / step_s <= _MAX_TIME_TICKS), 24 * 3600)
    offset_s = time.localtime(end).tm_gmtoff
    at = math.ceil((start + offset_s) / step_s) * step_s - offset_s
    while at <= end:
        yield at, time.strftime("%H:%M", time.localtime(at))
        at += step_s


def _value_ticks(low: float, high: float) -> Iterator[tuple[float, str]]:
    """Yield round values."""
    rough = (high - low) / _MAX_VALUE_TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    for index in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield index * step, f"{index * step:.{digits}f}".replace("-", "−")
