"""The metrics registry: counters, times and health of a line, as Prometheus reads them.

The line's counters are read whenever Prometheus asks; the registry itself counts only times, scores and margins.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from partsight.runtime.core import import_extra
from partsight.runtime.line.counters import CameraCounters, LineCounters, SinkCounters
from partsight.runtime.line.health.drift import MEASURES, Sample
from partsight.runtime.line.health.expected_range import ExpectedRange
from partsight.runtime.line.health.monitor import Health, HealthState
from partsight.runtime.line.line import Line
from partsight.runtime.line.troubles import troubled_cameras
from partsight.runtime.sinks import FrameEvent

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

LATENCY_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
STAGE_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SCORE = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
MARGIN = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Upper limits of the histograms' buckets."""

OPENMETRICS = "application/openmetrics-text"
"""Media type in the `Accept` header of a reader of OpenMetrics."""

STATES = ("opening", "waiting", "open", "stalled", "lost", "ended", "failed")
"""States of a camera, see `Line.states`."""

_OUTCOMES = ("recognised", "unknown", "skipped", "expired", "partial", "failed")

_CAMERA_COUNTS = {
    "overdue": ("partsight_overdue_frames", "Answered frames whose answer came after their deadline."),
    "reopened": ("partsight_camera_reopenings", "Number of times that the camera was opened again."),
    "stalled": ("partsight_camera_stalls", "Number of times that no frame came in time."),
}
_SINK_COUNTS = {
    "lost": ("partsight_sink_lost_results", "Results that the sink never took."),
    "refusals": ("partsight_sink_refusals", "Failed attempts to write a result that was tried again."),
}
_SINK_NUMBERS = {
    "waiting": ("partsight_sink_waiting_results", "Results that wait for the sink."),
    "undelivered": (
        "partsight_sink_undelivered_results",
        "Results that the sink keeps until its peer, such as a broker, acknowledges them.",
    ),
}
_LINE_COUNTS = {
    "callback_errors": ("partsight_callback_errors", "Number of times that a callback raised an error."),
    "swaps": ("partsight_package_swaps", "Packages that replaced another."),
    "refused_swaps": ("partsight_package_swaps_refused", "Packages that the line refused."),
    "remote_retries": ("partsight_remote_retries", "Requests that were sent to a server again."),
    "remote_failures": ("partsight_remote_failures", "Batches that no server answered; their frames failed."),
}
_MEDIANS = {
    "focus_ratio": (
        "partsight_focus_ratio",
        "Sharpness relative to the golden images, 1 for equal: median of the last frames.",
    ),
    "exposure_ev": (
        "partsight_exposure_ev",
        "Brightness relative to the golden images, in EV: median of the last frames.",
    ),
    "score": ("partsight_score_median", "Score: median of the last measured frames."),
    "margin": ("partsight_margin_median", "Margin: median of the last measured frames."),
}

_Rows = Iterable[tuple[Sequence[str], float]]
"""Values of the labels, and the number."""


class Metrics:
    """Metrics of one line, in a registry of their own. Make it before the line starts, so that it hears every answer.

    Attributes:
        registry: Registry of prometheus-client that collects them.
    """

    def __init__(self, line: Line, health: Health | None = None) -> None:
        """Listen to a line.

        Args:
            line: Line to listen to.
            health: Health of the same line; None for no metrics of it.

        Raises:
            DependencyError: prometheus-client is not installed.
        """
        import_extra("prometheus_client", "metrics")
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 (an extra)

        self._line, self._health = line, health
        self._started = time.time()
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._observed = _Observed(self.registry, [writable(name) for name in line.states()])
        ProcessCollector(registry=self.registry)
        line.listen(self._observed.hear)

    def collect(self) -> Iterator["Metric"]:
        """Yield the line's numbers of this moment; called by the registry."""
        yield from _of_line(self._line)
        text = "Time when the line was made, in seconds since 1970."
        yield _gauge("partsight_start_time_seconds", text, self._started)
        if self._health is not None:
            yield from _of_health(self._health.state())

    def render(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """Return all metrics as text, and its content type: that of Prometheus, or OpenMetrics."""
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 (an extra)

        encode, content_type = choose_encoder(f"{OPENMETRICS};version=1.0.0" if openmetrics else "")
        return encode(self.registry), content_type

    def troubles(self) -> list[str]:
        """Return a sentence for each trouble of the line; none while every camera is open or has ended."""
        troubles = [f"camera {writable(name)} is {state}" for name, state in troubled_cameras(self._line).items()]
        if not self._line.is_running:
            troubles.insert(0, "the line is not running")
        return troubles


class _Observed:
    """Histograms of each answer's times, score and margin."""

    def __init__(self, registry: "CollectorRegistry", cameras: list[str]) -> None:
        from prometheus_client import Histogram  # noqa: PLC0415 (an extra)

        def of_camera(name: str, text: str, buckets: tuple[float, ...]) -> dict[str, "Histogram"]:
            family = Histogram(name, text, ["camera"], registry=registry, buckets=buckets)
            return {camera: family.labels(camera) for camera in cameras}

        self._latency = of_camera("partsight_latency_seconds", "From a frame's arrival to its answer.", LATENCY_S)
        self._score = of_camera("partsight_score", "Scores of answers; a score below 0 counts as 0.", SCORE)
        self._margin = of_camera("partsight_margin", "Best score minus the second best; as scores.", MARGIN)
        text = "Time of an answer by stage; frames that were answered together share all stages but wait."
        stages = Histogram("partsight_stage_seconds", text, ["stage"], registry=registry, buckets=STAGE_S)
        self._stages = [stages.labels(stage) for stage in ("wait", "prepare", "network", "compare")]

    def hear(self, event: FrameEvent) -> None:
        """Count an answer."""
        record, stages = event.record, event.stages
        if record.latency_ms is None or stages is None:
            return
        self._latency[record.camera].observe(record.latency_ms / 1000)
        spent = (stages.prepare_ms, stages.network_ms, stages.compare_ms)
        for histogram, milliseconds in zip(self._stages, (record.latency_ms - sum(spent), *spent), strict=True):
            histogram.observe(max(0.0, milliseconds) / 1000)
        for histograms, value in ((self._score, record.score), (self._margin, record.margin)):
            if value is not None:
                # The best of several cosines may be below 0. A sum that sinks would break a reader's histogram.
                histograms[record.camera].observe(max(0.0, value))


def writable(name: str) -> str:
    """Return a name that UTF-8 can hold, as records have it: a name from a command line may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _of_line(line: Line) -> Iterator["Metric"]:
    counters, states, recognizer = line.counters(), line.states(), line.recognizer
    yield from _of_cameras({writable(name): camera for name, camera in counters.cameras.items()})
    yield _gauges(
        "partsight_camera_state",
        "1 for the camera's state, 0 for all others.",
        ("camera", "state"),
        [((writable(name), state), float(state == now)) for name, now in states.items() for state in STATES],
    )
    yield from _of_sinks(_sinks_by_short_name(counters))
    for field_name, (name, text) in _LINE_COUNTS.items():
        yield _counters(name, text, (), [((), getattr(counters, field_name))])
    yield _gauge("partsight_running", "1 while the line answers frames.", float(line.is_running))
    row = (recognizer.package_id, recognizer.decision.score), 1.0
    text = "The package that answers, and the kind of its scores."
    yield _gauges("partsight_package_info", text, ("package_id", "score"), [row])
    yield _gauge("partsight_score_threshold", "A lower score is answered as unknown.", recognizer.threshold)
    yield _gauge(
        "partsight_expected_unknown_share",
        "Share of frames of the package's parts answered as unknown, as calibration expects at its threshold.",
        recognizer.decision.expected_false_reject,
    )


def _of_cameras(cameras: dict[str, CameraCounters]) -> Iterator["Metric"]:
    yield _counters(
        "partsight_frames",
        "Frames by their outcome.",
        ("camera", "outcome"),
        [((name, outcome), getattr(camera, outcome)) for name, camera in cameras.items() for outcome in _OUTCOMES],
    )
    waiting = [((name,), camera.waiting) for name, camera in cameras.items()]
    yield _gauges("partsight_waiting_frames", "Frames that wait for their answer.", ("camera",), waiting)
    for field_name, (name, text) in _CAMERA_COUNTS.items():
        rows = [((camera,), getattr(counters, field_name)) for camera, counters in cameras.items()]
        yield _counters(name, text, ("camera",), rows)


def _of_sinks(sinks: dict[str, SinkCounters]) -> Iterator["Metric"]:
    form: Callable[[str, str, Sequence[str], _Rows], Metric]
    for form, names in ((_counters, _SINK_COUNTS), (_gauges, _SINK_NUMBERS)):
        for field_name, (name, text) in names.items():
            rows = [((sink,), float(getattr(counters, field_name))) for sink, counters in sinks.items()]
            yield form(name, text, ("sink",), rows)


def _of_health(state: HealthState) -> Iterator["Metric"]:
    """Yield measures and their expected ranges; a value that is not known yet has no row."""
    frames = {
        (writable(name), outcome): getattr(camera, outcome)
        for name, camera in state.cameras.items()
        for outcome in ("recognised", "unknown")
    }
    for field in fields(Sample):
        known = [(row, getattr(medians, field.name)) for row, medians in frames.items()]
        rows = [(row, value) for row, value in known if value is not None]
        yield _gauges(*_MEDIANS[field.name], ("camera", "outcome"), rows)
    samples = [(row, medians.samples) for row, medians in frames.items()]
    yield _gauges("partsight_measured_frames", "Number of frames in the medians.", ("camera", "outcome"), samples)
    text = "Limit of the median while the line varies only as the package was calibrated for."
    for measure in MEASURES:
        limits: ExpectedRange | None = getattr(state.expected, measure, None)
        limit_rows = [] if limits is None else [(("low",), limits.low), (("high",), limits.high)]
        yield _gauges(f"partsight_{measure}_limit", text, ("limit",), limit_rows)
    yield _gauges(
        "partsight_in_band",
        "1 while the median of recognised frames is as expected, 0 while a warning stands.",
        ("camera", "measure"),
        [
            ((writable(name), measure), float(is_in))
            for name, camera in state.cameras.items()
            for measure, is_in in camera.in_range.items()
        ],
    )
    shares = [((writable(name),), camera.unknown_share) for name, camera in state.cameras.items()]
    yield _gauges("partsight_unknown_share", "Share of unknown ones among the last answers.", ("camera",), shares)


def _sinks_by_short_name(counters: LineCounters) -> dict[str, SinkCounters]:
    """Return the sinks by their addresses without options, which may name secrets; a second equal one gets ` 2`."""
    named: dict[str, SinkCounters] = {}
    for name, sink in counters.sinks.items():
        short = writable(name.partition("?")[0])
        alike = sum(other.partition("?")[0] == name.partition("?")[0] for other in list(counters.sinks)[: len(named)])
        named[f"{short} {alike + 1}" if alike else short] = sink
    return named


def _counters(name: str, text: str, labels: Sequence[str], rows: _Rows) -> "Metric":
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 (an extra)

    return _filled(CounterMetricFamily(name, text, labels=labels), rows)


def _gauges(name: str, text: str, labels: Sequence[str], rows: _Rows) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 (an extra)

    return _filled(GaugeMetricFamily(name, text, labels=labels), rows)


def _gauge(name: str, text: str, value: float) -> "Metric":
    return _gauges(name, text, (), [((), value)])


def _filled(family: "CounterMetricFamily | GaugeMetricFamily", rows: _Rows) -> "Metric":
    for labels, value in rows:
        family.add_metric(labels, value)
    return family
