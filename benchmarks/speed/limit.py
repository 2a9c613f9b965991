"""The highest possible speed of a network in FP32: the processor's measured rate, divided by the work of a frame."""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import onnx

_SIDE = 2048
_ROUNDS = 7


@dataclass(frozen=True)
class Limit:
    """Limit of a network's speed.

    Attributes:
        gflop: Floating-point operations for a frame in convolutions and matrix products, in 10^9.
        gflop_s: Rate of NumPy's product of large FP32 matrices here, in 10^9 a second.
    """

    gflop: float
    gflop_s: float

    @property
    def frames_per_s(self) -> float:
        """Frames a second at that rate; Winograd's convolution saves multiplications and may exceed it."""
        return self.gflop_s / self.gflop

    def __str__(self) -> str:
        return (
            f"The network needs {self.gflop:.2f} GFLOP a frame, and NumPy's product of large FP32 matrices reaches "
            f"{self.gflop_s:.0f} GFLOP/s here: at that rate FP32 could reach {self.frames_per_s:.0f} frames/s."
        )


def find_limit(model: bytes) -> Limit:
    """Count a network's operations and measure the processor's rate."""
    return Limit(count_gflop(model), measure_gflop_s())


def count_gflop(model: bytes) -> float:
    """Return the operations for a frame, in 10^9; a multiplication and an addition count as two."""
    graph = onnx.shape_inference.infer_shapes(_for_one(onnx.load_from_string(model))).graph
    shapes = {item.name: list(item.dims) for item in graph.initializer}
    for value in (*graph.value_info, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            _, per_group, *kernel = shapes[node.input[1]]
            total += 2 * int(np.prod(shapes[node.output[0]])) * per_group * int(np.prod(kernel))
        elif node.op_type in ("MatMul", "Gemm") and node.input[1] in shapes:
            total += 2 * int(np.prod(shapes[node.input[1]]))
    return total / 1e9


def measure_gflop_s() -> float:
    """Return the rate of a product of FP32 matrices of 2048×2048, in 10^9 operations a second."""
    left = np.random.default_rng(0).random((_SIDE, _SIDE), np.float32)
    seconds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        left @ left
        seconds.append(time.perf_counter() - started)
    return 2 * _SIDE**3 / statistics.median(seconds) / 1e9


def _for_one(model: onnx.ModelProto) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model
