"""The camera loop that a factory leaves running: cameras, a recogniser, sinks, and counters of every frame.

The folders health and metrics belong to this room. May import `core`, `images`, `signing`, `matching`, `cameras`,
`package`, `recognition`, `calibration` and `sinks`.
"""

from partsight.runtime.line.compatibility import describe_stretch
from partsight.runtime.line.counters import CameraCounters, LineCounters, SinkCounters
from partsight.runtime.line.frame_queue import Policy
from partsight.runtime.line.health.expected_range import ExpectedRange, ExpectedRanges
from partsight.runtime.line.health.monitor import CameraHealth, Health, HealthState
from partsight.runtime.line.line import Line
from partsight.runtime.line.metrics.registry import Metrics
from partsight.runtime.line.package_swap import Load, as_recognizers
from partsight.runtime.line.troubles import troubled_cameras
from partsight.runtime.line.watch import Watch

__all__ = [
    "CameraCounters",
    "CameraHealth",
    "ExpectedRange",
    "ExpectedRanges",
    "Health",
    "HealthState",
    "Line",
    "LineCounters",
    "Load",
    "Metrics",
    "Policy",
    "SinkCounters",
    "Watch",
    "as_recognizers",
    "describe_stretch",
    "troubled_cameras",
]
