"""The camera loop: what a factory leaves running."""

from partsight.runtime.line.counters import CameraCounters, LineCounters, SinkCounters
from partsight.runtime.line.health import CameraHealth, Health, HealthState
from partsight.runtime.line.inbox import Policy
from partsight.runtime.line.line import Line
from partsight.runtime.line.metrics import Metrics
from partsight.runtime.line.watch import Watch

__all__ = [
    "CameraCounters",
    "CameraHealth",
    "Health",
    "HealthState",
    "Line",
    "LineCounters",
    "Metrics",
    "Policy",
    "SinkCounters",
    "Watch",
]
