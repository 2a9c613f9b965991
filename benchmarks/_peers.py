"""The competitors of `peers.py`, and the processes that they are."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import _speed

from partsight.runtime import ModelPackage
from partsight.runtime.inference import PROVIDERS, Arithmetic

WORKER = Path(__file__).with_name("_peer_worker.py")
KERAS = "Keras predict"
OF_RUN = ("keras", "keras-function", "keras-torch")
"""Kinds whose weights are in the run folder."""


@dataclass(frozen=True)
class Peer:
    """A competitor: its name, what `_peer_worker.py` builds of it, and with which settings."""

    name: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)


class Worker:
    """The process of a competitor."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Start it, and wait until it is ready or says why it cannot be."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        reply = self._ask(config)
        self.error: str | None = reply.get("error")
        self.classes: list[int] = reply.get("classes", [])

    def turn(self, batch: int, turn_s: float) -> float:
        """Take a turn; see `_speed.timed`."""
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


def all_peers(package: ModelPackage) -> list[Peer]:
    """Return all competitors: others' ways, ours, and the limit of ours."""
    files = {name: str(package.path / model.file) for name, model in package.manifest.models.items()}
    files["bf16"] = files["fp32"]
    others = [
        Peer(KERAS, "keras"),
        Peer("Keras in tf.function", "keras-function", {"jit": False}),
        Peer("Keras in tf.function, XLA", "keras-function", {"jit": True}),
        Peer("Keras on PyTorch", "keras-torch"),
        Peer("PyTorch", "torch", {"file": files["fp32"], "is_compiled": False}),
        Peer("PyTorch, compiled", "torch", {"file": files["fp32"], "is_compiled": True}),
        Peer("naive ONNX Runtime fp32", "naive", {"file": files["fp32"]}),
        Peer("cv2.dnn fp32", "cv2.dnn", {"file": files["fp32"]}),
        *(_native(precision, files) for precision in ("fp32", "bf16", "int8") if precision in files),
    ]
    ways = [way for way in _ways(("cpu", "openvino")) if way.precision in files]
    ours = [Peer(f"partsight {way}", "recognizer", asdict(way) | {"verify": False}) for way in ways]
    if package.manifest.matching is not None:
        ours += [
            Peer(f"partsight {way}, golden images", "recognizer", asdict(way) | {"verify": True})
            for way in (ways[0], ways[-1])
        ]
    raw = [Peer(f"raw session {way}", "raw", asdict(way) | {"file": files[way.precision]}) for way in ways]
    return others + ours + raw


def _native(precision: str, files: dict[str, str]) -> Peer:
    # Of what an INT8 file does not compute in INT8, OpenVINO's default decides.
    options = {"fp32": {"INFERENCE_PRECISION_HINT": "f32"}, "bf16": {"INFERENCE_PRECISION_HINT": "bf16"}, "int8": {}}
    settings = {"file": files[precision], "options": options[precision]}
    return Peer(f"native OpenVINO {precision}", "openvino", settings)


def _ways(providers: tuple[str, ...]) -> list[_speed.Way]:
    precisions: tuple[Arithmetic, ...] = ("fp32", "bf16", "int8")
    return [
        _speed.Way(name, precision)
        for name in providers
        for precision in precisions
        if precision in PROVIDERS[name].arithmetic
    ]
