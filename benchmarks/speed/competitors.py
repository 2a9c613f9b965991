"""Competitors of `peers.py`, each in its own process."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks.common.configurations import all_configurations
from partsight.cli.bench.facts import Configuration
from partsight.runtime import ModelPackage

WORKER = "benchmarks.speed.peer_worker"
KERAS = "Keras predict"
OF_RUN = ("keras", "keras-function", "keras-torch")
"""Kinds that need the run folder, because it holds their weights."""


@dataclass(frozen=True)
class Competitor:
    """Competitor with its name, the kind that `peer_worker.py` builds, and its settings."""

    name: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)


class CompetitorProcess:
    """Process of a competitor."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Start the process, and wait until it is ready or reports an error."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        reply = self._ask(config)
        self.error: str | None = reply.get("error")
        self.classes: list[int] = reply.get("classes", [])

    def turn(self, batch: int, turn_s: float) -> float:
        """Take a turn; see `timed`."""
        return float(self._ask({"batch": batch, "turn_s": turn_s})["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"its process ended with exit code {self._process.wait()}"}
        reply: dict[str, Any] = json.loads(line)
        return reply


def all_competitors(package: ModelPackage) -> list[Competitor]:
    """Return all competitors: other programs, partsight, and partsight's limit."""
    files = {name: str(package.path / model.file) for name, model in package.manifest.models.items()}
    files["bf16"] = files["fp32"]
    files.pop("fp16", None)  # no other competitor computes in FP16 on a processor
    others = [
        Competitor(KERAS, "keras"),
        Competitor("Keras in tf.function", "keras-function", {"jit": False}),
        Competitor("Keras in tf.function, XLA", "keras-function", {"jit": True}),
        Competitor("Keras on PyTorch", "keras-torch"),
        Competitor("PyTorch", "torch", {"file": files["fp32"], "is_compiled": False}),
        Competitor("PyTorch, compiled", "torch", {"file": files["fp32"], "is_compiled": True}),
        Competitor("naive ONNX Runtime fp32", "naive", {"file": files["fp32"]}),
        Competitor("cv2.dnn fp32", "cv2.dnn", {"file": files["fp32"]}),
        *(_native(precision, files) for precision in ("fp32", "bf16", "int8") if precision in files),
    ]
    working = [found for found in all_configurations(("cpu", "openvino")) if found.precision in files]
    ours = [_recognizer(found, matching=False) for found in working]
    if package.manifest.matching is not None:
        ours += [_recognizer(found, matching=True) for found in (working[0], working[-1])]
    raw = [
        Competitor(f"raw session {found}", "raw", found._asdict() | {"file": files[found.precision]})
        for found in working
    ]
    return others + ours + raw


def _native(precision: str, files: dict[str, str]) -> Competitor:
    # In the INT8 file, OpenVINO chooses the precision of the layers that are not INT8.
    options = {"fp32": {"INFERENCE_PRECISION_HINT": "f32"}, "bf16": {"INFERENCE_PRECISION_HINT": "bf16"}, "int8": {}}
    settings = {"file": files[precision], "options": options[precision]}
    return Competitor(f"native OpenVINO {precision}", "openvino", settings)


def _recognizer(configuration: Configuration, *, matching: bool) -> Competitor:
    name = f"partsight {configuration}{', golden images' if matching else ''}"
    return Competitor(name, "recognizer", configuration._asdict() | {"matching": matching})
