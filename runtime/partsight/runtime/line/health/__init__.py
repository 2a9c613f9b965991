"""Is a line well: recognition, cameras and disk, watched while it runs.

A part of the room `line`.
"""

from partsight.runtime.line.health.monitor import CameraHealth, Health, HealthState
from partsight.runtime.line.health.sight import SetupWatch

__all__ = ["CameraHealth", "Health", "HealthState", "SetupWatch"]
