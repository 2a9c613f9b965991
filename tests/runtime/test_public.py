"""The names of `partsight.runtime`, old and new, and the libraries that importing it must not load."""

import importlib
import inspect
import json
import subprocess
import sys
from types import ModuleType

import pytest

import partsight.runtime
import partsight.runtime.cameras
from partsight.runtime.core import errors
from partsight.runtime.enrolment import enroll
from partsight.runtime.line.metrics.server import MetricsServer
from partsight.runtime.sinks import FrameEvent

HEAVY = ["tensorflow", "keras", "onnx", "tf2onnx", "matplotlib", "partsight.train", "partsight.export", "partsight.cli"]

EXTRAS = {"asyncua"}

WRITES_A_GRAPH = tuple(f"partsight.runtime.matching.{name}" for name in ("graph_nodes", "graph_operations", "trace"))
"""Modules that need the package onnx; only enrolment and export import them."""

LOADS_EVERY_MODULE = """
import importlib, json, pkgutil, sys
import partsight.runtime
names = [module.name for module in pkgutil.walk_packages(partsight.runtime.__path__, "partsight.runtime.")]
for name in [name for name in names if {every} and name not in {writes!r}]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # of a sink whose extra is not installed
        assert error.name in {extras}, error
from partsight.runtime import Recognizer, read_image
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("every", [False, True])
def test_import_loads_nothing_heavy(every: bool) -> None:
    code = LOADS_EVERY_MODULE.format(every=every, extras=EXTRAS, writes=WRITES_A_GRAPH)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    loaded = json.loads(run.stdout)
    assert "partsight.runtime.recognition.recognizer" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_a_recognizer_loads_nothing_heavy(tiny_package) -> None:
    code = f"""
import json, sys
from partsight.runtime import Recognizer
with Recognizer({str(tiny_package)!r}):
    print(json.dumps(sorted(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(run.stdout)
    assert "onnxruntime" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def public_names(module: ModuleType) -> list[str]:
    names = [name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)]
    return sorted(names)


def test_all_names_what_is_public() -> None:
    assert sorted(partsight.runtime.__all__) == public_names(partsight.runtime)


MOVED = {
    ("enroll", "enroll"): enroll,
    ("errors", "SinkError"): errors.SinkError,
    ("errors", "EnrollError"): errors.EnrollError,
    ("images", "Pixels"): partsight.runtime.Pixels,
    ("line.metrics_server", "MetricsServer"): MetricsServer,
    ("record", "Told"): FrameEvent,
}


@pytest.mark.parametrize(("module", "name"), MOVED)
def test_a_path_of_version_0_1_works_and_warns(module: str, name: str) -> None:
    old = importlib.import_module(f"partsight.runtime.{module}")
    with pytest.warns(DeprecationWarning, match=f"{module}.{name}"):
        found = getattr(old, name)
    assert found is MOVED[module, name]
    with pytest.raises(AttributeError, match="nothing"):
        _ = old.nothing


def test_all_of_cameras_can_be_imported() -> None:
    assert set(partsight.runtime.cameras.__all__) <= set(public_names(partsight.runtime.cameras))


def test_errors_are_the_tree_of_the_docstring() -> None:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert all(issubclass(error, errors.PartsightError) for error in classes)
    assert errors.__doc__ is not None
    drawn = [line.strip("│├└─ ").split()[0] for line in errors.__doc__.splitlines() if "Error" in line]
    assert sorted(drawn) == sorted(error.__name__ for error in classes)
