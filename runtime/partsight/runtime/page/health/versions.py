"""Versions of the software that answers, for a person who reports a fault."""

import importlib.metadata
import platform
from functools import cache

_DISTRIBUTIONS = (
    *("partsight", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "openvino"),
    *("opencv-python-headless", "opencv-python", "opencv-contrib-python", "numpy"),
)


@cache
def software_versions() -> dict[str, str]:
    """Return the versions of the installed libraries, of Python and of the system, by their names."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"Python": platform.python_version(), "OS": platform.platform()}
