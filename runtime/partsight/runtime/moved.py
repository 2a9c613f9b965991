"""Module paths of version 0.1, which work for one more release and warn; the next release removes this module."""

import importlib
import inspect
import sys
from functools import partial
from types import ModuleType

from partsight.runtime.core import errors, warn_renamed

_NEW_PATHS = {
    "enroll": {"enroll": "enrolment.enroll", "Enrolled": "enrolment.Enrolled"},
    "errors": {name: name for name, value in vars(errors).items() if inspect.isclass(value)},
    "images": {"Pixels": "Pixels"},
    "line.metrics_server": {"MetricsServer": "line.metrics.server.MetricsServer"},
    "record": {"Told": "sinks.FrameEvent", "Record": "sinks.Record"},
}
"""By old module and name, the new path; all are below `partsight.runtime`."""


def keep_old_paths() -> None:
    """Let `import` find the old modules, and the room `images` its old name; this imports no other module."""
    for old in _NEW_PATHS:
        path = f"partsight.runtime.{old}"
        module = sys.modules.setdefault(path, ModuleType(path))
        vars(module)["__getattr__"] = partial(_find, old)


def _find(module: str, name: str) -> object:
    """Return the object at the new path of a name, and warn; the `__getattr__` of the old modules."""
    new = _NEW_PATHS[module].get(name)
    if new is None:
        raise AttributeError(
            f"module partsight.runtime.{module} has no {name!r} any more; docs/architecture.md names the rooms"
        )
    warn_renamed(f"partsight.runtime.{module}.{name}", f"partsight.runtime.{new}")
    room, _, attribute = f"partsight.runtime.{new}".rpartition(".")
    found: object = getattr(importlib.import_module(room), attribute)
    return found
