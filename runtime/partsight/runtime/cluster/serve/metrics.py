"""Metrics of a replica, which Ray gives to Prometheus; Ray writes `ray_` before each name."""

from collections.abc import Sequence

from partsight.runtime.core import import_extra
from partsight.runtime.recognition import Result

LATENCY_S = [0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
"""Upper limits of the buckets of the time of a request, in seconds."""


class ReplicaMetrics:
    """Counters and times of one model; Ray adds the labels of the replica and its application."""

    def __init__(self, model: str, package_id: str) -> None:
        """Register the metrics.

        Args:
            model: Name of the model, a label of each metric.
            package_id: Id of the package that answers.
        """
        metrics = import_extra("ray.serve.metrics", "ray")
        self._model = model
        self._frames = metrics.Counter(
            "partsight_served_frames_total", "Answered frames by outcome.", ("model", "outcome")
        )
        self._requests = metrics.Counter("partsight_served_requests_total", "Requests by status.", ("model", "status"))
        self._seconds = metrics.Histogram(
            "partsight_served_request_seconds", "From a request's arrival to its answer.", LATENCY_S, ("model",)
        )
        info = metrics.Gauge("partsight_served_package_info", "The package that answers.", ("model", "package_id"))
        info.set(1.0, {"model": model, "package_id": package_id})

    def count_request(self, status: int, seconds: float) -> None:
        """Count a request with frames, by its status of HTTP."""
        self._requests.inc(1.0, {"model": self._model, "status": str(status)})
        self._seconds.observe(seconds, {"model": self._model})

    def count_frames(self, results: Sequence[Result]) -> None:
        """Count answered frames."""
        recognised = sum(result.accepted for result in results)
        for outcome, number in (("recognised", recognised), ("unknown", len(results) - recognised)):
            if number:
                self._frames.inc(float(number), {"model": self._model, "outcome": outcome})
