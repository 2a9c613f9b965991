"""Health of a running line: whether its cameras recognise parts, and drift of their focus and exposure.

A part of the room `line`.
"""

from partsight.runtime.line.health.monitor import CameraHealth, Health, HealthState
from partsight.runtime.line.health.setup_watch import SetupWatch

__all__ = ["CameraHealth", "Health", "HealthState", "SetupWatch"]
