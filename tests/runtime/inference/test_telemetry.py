"""ONNX Runtime and OpenVINO send telemetry to their makers by default; partsight switches it off."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from partsight.runtime.inference.session import Session
from tests.tiny import tiny_model
for provider in sys.argv[1:]:
    Session(tiny_model(), provider)
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""


def test_no_library_sends_telemetry(tmp_path: Path) -> None:
    providers = ["cpu", "openvino"] if importlib.util.find_spec("openvino") else ["cpu"]
    # Each would store the id that it sends in the user's folders; OpenVINO sends nothing under CI.
    folders = {name: str(tmp_path) for name in ("HOME", "LOCALAPPDATA", "USERPROFILE", "XDG_CACHE_HOME")}
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    command = [sys.executable, "-c", CODE, *providers]
    child = subprocess.run(command, env=known | folders, capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
