"""Small ONNX graphs made by hand, for the tests of folding."""

from typing import Any, Self

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from partsight.export.folding import FoldSummary, fold

HEIGHT, WIDTH = 8, 9
INPUT = "image"


class Net:
    """A chain of nodes from `image`, (batch, 8, 9, 3) uint8, with random constants."""

    def __init__(self, seed: int = 5) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[onnx.TensorProto] = []
        self.end = INPUT
        self.channels = 3

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def floats(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def add(self, op_type: str, *names: str, **attributes: Any) -> Self:
        """Add a node that reads the chain's end, then `names`."""
        return self.add_reading(op_type, self.end, *names, **attributes)

    def add_reading(self, op_type: str, *names: str, **attributes: Any) -> Self:
        """Add a node that reads `names`; it becomes the chain's end."""
        self.end = f"tensor_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, names, [self.end], **attributes))
        return self

    def left(self, op_type: str, value: Any) -> Self:
        """Add `value OP x`."""
        return self.add_reading(op_type, self.constant(value), self.end)

    def right(self, op_type: str, value: Any) -> Self:
        """Add `x OP value`."""
        return self.add(op_type, self.constant(value))

    def pixels(self) -> Self:
        """From the image to (batch, 3, 8, 9) float32."""
        return self.add("Cast", to=TensorProto.FLOAT).transpose()

    def transpose(self) -> Self:
        return self.add("Transpose", perm=[0, 3, 1, 2])

    def conv(self, channels: int, size: int = 3, group: int = 1, bias: bool = False, **attributes: Any) -> Self:
        kernel = self.floats(channels, self.channels // group, size, size)
        names = [self.constant(kernel)] + ([self.constant(self.floats(channels))] if bias else [])
        self.channels = channels
        return self.add("Conv", *names, group=group, **attributes)

    def batch_norm(self, epsilon: float = 1e-3) -> Self:
        count = self.channels
        weights = [
            self.floats(count, low=0.5, high=2),
            self.floats(count),
            self.floats(count, low=-50, high=50),
            self.floats(count, low=20, high=200),
        ]
        return self.add("BatchNormalization", *map(self.constant, weights), epsilon=epsilon)

    def relu(self) -> Self:
        return self.add("Relu")

    def pad(self, *pads: int, value: float | None = 0.0, mode: str = "constant") -> Self:
        names = [self.constant(np.array(pads, np.int64))] + (
            [] if value is None else [self.constant(np.float32(value))]
        )
        return self.add("Pad", *names, mode=mode)

    def per_channel(self, low: float = -2.0, high: float = 2.0) -> np.ndarray:
        return self.floats(1, self.channels, 1, 1, low=low, high=high)

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs or (self.end,)],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answers(model: onnx.ModelProto) -> list[np.ndarray]:
    """Every output for three random images, through ONNX Runtime."""
    images = np.random.default_rng(11).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {INPUT: images}))


def fold_alike(model: onnx.ModelProto) -> FoldSummary:
    """Fold in place; the answers must stay the same to 1e-5 of the largest."""
    before = answers(model)
    summary = fold(model, INPUT)
    onnx.checker.check_model(model, full_check=True)
    for first, second in zip(before, answers(model), strict=True):
        assert np.abs(first).max() > 0.1
        assert np.abs(first - second).max() <= 1e-5 * max(1, np.abs(first).max())
    return summary


def op_types(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def constants(model: onnx.ModelProto, node: Any) -> list[np.ndarray]:
    """The constants that a node reads, in order."""
    by_name = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    return [by_name[name] for name in node.input if name in by_name]


def first(model: onnx.ModelProto, op_type: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == op_type)
