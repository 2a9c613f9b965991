"""Metrics: a line's counters, times and health, as Prometheus reads them."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from partsight.runtime.line.health.monitor import Health
from partsight.runtime.line.line import Line
from partsight.runtime.line.metrics.families import Family, health_families, line_families, writable
from partsight.runtime.sinks import FrameEvent, need

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client.core import Metric

LATENCY_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
STAGE_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SCORE = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
MARGIN = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Upper limits of the histograms' buckets."""

OPENMETRICS = "application/openmetrics-text"
"""What a reader accepts who takes it."""


class Metrics:
    """A registry of its own, of one line.

    What the line counts is read when it is asked for; only times, scores and margins are counted here. Make it before
    the line starts, so that no answer is missed.
    """

    def __init__(self, line: Line, health: Health | None = None) -> None:
        """Listen to a line.

        Args:
            line: to listen to.
            health: of the same line; None for no metrics of it.

        Raises:
            DependencyError: prometheus-client is not installed.
        """
        need("prometheus_client", "metrics")
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 (an extra)

        self._line, self._health = line, health
        self._started = time.time()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._observed = _Observed(self._registry, [writable(name) for name in line.states()])
        ProcessCollector(registry=self._registry)
        line.listen(self._observed.hear)

    def collect(self) -> Iterator["Metric"]:
        """Yield what the line counts now; called by the registry."""
        families = list(line_families(self._line))
        started = "When the line was made, in seconds since 1970."
        families.append(Family("gauge", "partsight_start_time_seconds", started, (), [((), self._started)]))
        if self._health is not None:
            families += health_families(self._health.state())
        yield from map(_to_metric, families)

    def render(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """Return all metrics as text, and its content type: that of Prometheus, or OpenMetrics."""
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 (an extra)

        # Never a reader's own header: the library fails at some that are malformed, and repeats parts of it.
        encode, content_type = choose_encoder(f"{OPENMETRICS};version=1.0.0" if openmetrics else "")
        return encode(self._registry), content_type

    def troubles(self) -> list[str]:
        """Return what is wrong with the line, a sentence each; none while every camera is open or has ended."""
        troubles = [
            f"camera {writable(name)} is {state}"
            for name, state in self._line.states().items()
            if state not in ("open", "ended")
        ]
        if not self._line.is_running:
            troubles.insert(0, "the line is not running")
        return troubles


class _Observed:
    """Histograms of what each answer says of itself."""

    def __init__(self, registry: "CollectorRegistry", cameras: list[str]) -> None:
        from prometheus_client import Histogram  # noqa: PLC0415 (an extra)

        def of_camera(name: str, explanation: str, buckets: tuple[float, ...]) -> dict[str, "Histogram"]:
            family = Histogram(name, explanation, ["camera"], registry=registry, buckets=buckets)
            return {camera: family.labels(camera) for camera in cameras}

        self._latency = of_camera("partsight_latency_seconds", "From a frame's arrival to its answer.", LATENCY_S)
        self._score = of_camera("partsight_score", "Scores of answers; those below 0 count as 0.", SCORE)
        self._margin = of_camera("partsight_margin", "Best score minus the second best; as scores.", MARGIN)
        explanation = "Where the time of an answer went; frames that were answered together share the last three."
        stages = Histogram("partsight_stage_seconds", explanation, ["stage"], registry=registry, buckets=STAGE_S)
        self._stages = [stages.labels(stage) for stage in ("wait", "prepare", "network", "compare")]

    def hear(self, event: FrameEvent) -> None:
        """Take an answer in."""
        record, stages = event.record, event.stages
        if record.latency_ms is None or stages is None:
            return
        self._latency[record.camera].observe(record.latency_ms / 1000)
        spent = (stages.prepare_ms, stages.network_ms, stages.compare_ms)
        for histogram, milliseconds in zip(self._stages, (record.latency_ms - sum(spent), *spent), strict=True):
            histogram.observe(max(0.0, milliseconds) / 1000)
        for histograms, value in ((self._score, record.score), (self._margin, record.margin)):
            if value is not None:
                # Of cosines the best may be below 0; then the sum would sink, which no reader expects of a histogram.
                histograms[record.camera].observe(max(0.0, value))


def _to_metric(family: Family) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 (an extra)

    form = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = form(family.name, family.explanation, labels=family.labels)
    for labels, value in family.rows:
        metric.add_metric(labels, value)
    return metric
