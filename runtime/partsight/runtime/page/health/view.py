"""The measures of cameras as the screen Health shows them: facts of now, and plots over hours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from partsight.runtime.line import CameraCounters, CameraHealth, ExpectedRange, Line
from partsight.runtime.page.health.history import EVERY_S, HealthHistory, HealthSample, RangesSince
from partsight.runtime.page.health.plot import Band, Plot, Series, draw

LEAST_SHOWN_S = 900.0
"""Least time from the left edge of a plot to the right one, also while a line is young."""

MAX_POINTS = 480
"""Points of a plot: a minute each for 8 hours. More of them cost the line's processor, and nobody sees them."""


@dataclass(frozen=True)
class Measure:
    """A measure of cameras.

    Attributes:
        name: Attribute of `HealthSample`, and the end of the keys of its texts.
        digits: Digits after the point.
        least_span: Least range of a plot's axis, so that noise does not look like drift.
        factor: Factor from the attribute to the unit that people read.
        is_signed: Whether a value has its sign before it, too, if it is above 0.
    """

    name: str
    digits: int
    least_span: float
    factor: float = 1.0
    is_signed: bool = False


MEASURES = (
    Measure("focus_ratio", 2, 0.4),
    Measure("exposure_ev", 2, 0.6, is_signed=True),
    Measure("unknown_share", 1, 10.0, factor=100.0),
    Measure("latency_ms", 0, 20.0),
    Measure("answers_per_s", 1, 2.0),
)


@dataclass(frozen=True)
class CameraView:
    """A camera of this moment; `health` and `last` (its last sample) are None where there is none yet."""

    name: str
    state: str
    counters: CameraCounters
    health: CameraHealth | None
    last: HealthSample | None


@dataclass(frozen=True)
class MeasurePlot:
    """A plot with what its texts say.

    Attributes:
        measure: The measure.
        plot: Shape; None where there is nothing to see yet.
        known: Values that are drawn, oldest first.
        limits: Expected range of the package that answers now; None for a measure without one.
    """

    measure: Measure
    plot: Plot | None
    known: tuple[float, ...]
    limits: ExpectedRange | None


def view_cameras(line: Line, history: HealthHistory) -> list[CameraView]:
    """Return all cameras of a line."""
    counters, state = line.counters().cameras, history.state()
    return [
        CameraView(name, now, counters[name], state.cameras.get(name), history.last(name))
        for name, now in line.states().items()
    ]


def plot_camera(history: HealthHistory, camera: str, now: float, hours: float) -> list[MeasurePlot]:
    """Return a plot of each measure of a camera.

    Args:
        history: Measures of the line.
        camera: Name of the camera.
        now: Time of the right edge, in seconds since 1970.
        hours: Hours to show; fewer if the line is younger.
    """
    samples, ranges = history.samples(camera, now - 3600 * hours), history.ranges()
    start = max(now - 3600 * hours, min([now - LEAST_SHOWN_S, *(sample.time for sample in samples)]))
    return [_plot(measure, samples, ranges, start, now) for measure in MEASURES]


def _plot(
    measure: Measure, samples: Sequence[HealthSample], ranges: Sequence[RangesSince], start: float, now: float
) -> MeasurePlot:
    values = [getattr(sample, measure.name) for sample in samples]
    shown = [None if value is None else measure.factor * value for value in values]
    series = Series([sample.time for sample in samples], shown, 2.5 * EVERY_S)
    plot = draw(series.thinned(MAX_POINTS), list(_bands(measure, ranges, start, now)), start, now, measure.least_span)
    limits = _limits(measure, ranges[-1]) if ranges else None
    return MeasurePlot(measure, plot, tuple(series.known), limits)


def _bands(measure: Measure, ranges: Sequence[RangesSince], start: float, now: float) -> Iterator[Band]:
    """Yield the expected ranges of each package, for as long as it answered."""
    ends = [*(later.time for later in ranges), now][1:]
    for span, end in zip(ranges, ends, strict=False):
        limits, begin = _limits(measure, span), max(start, span.time)
        if limits is not None and begin < end:
            yield Band(begin, end, limits.low, limits.high)


def _limits(measure: Measure, span: RangesSince) -> ExpectedRange | None:
    limits: ExpectedRange | None = getattr(span.expected, measure.name, None)
    return limits
