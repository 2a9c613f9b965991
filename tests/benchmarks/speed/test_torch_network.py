"""The competitor in PyTorch computes the network that ONNX Runtime computes. Runs where PyTorch is installed."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from partsight.runtime.inference.engine import INPUT_NAME, SCORE_NAME

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")
torch_network = pytest.importorskip("benchmarks.speed.torch_network")


def _model(*nodes: onnx.NodeProto, **weights: np.ndarray) -> onnx.ModelProto:
    """Return a network with the nodes between uint8 frames, as `x`, and scores, from `y`."""
    ends = (
        helper.make_node("Transpose", [INPUT_NAME], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["x"], to=TensorProto.FLOAT),
        *nodes,
        helper.make_node("GlobalAveragePool", ["y"], ["mean"]),
        helper.make_node("Squeeze", ["mean", "last_two"], ["flat"]),
        helper.make_node("ReduceSum", ["flat", "last"], ["sum"], keepdims=1),
        helper.make_node("Sub", ["flat", "sum"], [SCORE_NAME]),
    )
    constants = {"last_two": np.array([2, 3]), "last": np.array([1]), **weights}
    graph = helper.make_graph(
        ends,
        "network",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", 17, 13, 3])],
        [helper.make_tensor_value_info(SCORE_NAME, TensorProto.FLOAT, ["batch", None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


CONV = ("x", "weight", "bias")
ONE_SIDED = [0, 1, 1, 2]
CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "border on one side": (
        [helper.make_node("Conv", CONV, ["y"], strides=[2, 2], pads=ONE_SIDED)],
        {"weight": _random(5, 3, 3, 3), "bias": _random(5)},
    ),
    "groups, dilation, clip": (
        [
            helper.make_node("Conv", ["x", "weight"], ["c"], group=3, dilations=[2, 1], pads=[1, 1, 1, 1]),
            helper.make_node("Clip", ["c", "low", "high"], ["y"]),
        ],
        {"weight": _random(6, 1, 3, 3), "low": np.array(0, np.float32), "high": np.array(6, np.float32)},
    ),
    "pools next to each other": (
        [
            helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=ONE_SIDED),
            helper.make_node(
                "AveragePool", ["m"], ["a"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=0
            ),
            helper.make_node("Relu", ["m"], ["r"]),
            helper.make_node("Concat", ["a", "r"], ["y"], axis=1),
        ],
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_network_in_pytorch_is_the_same(case: str) -> None:
    nodes, weights = CASES[case]
    model = _model(*nodes, **weights)
    frames = np.random.default_rng(0).integers(0, 256, (3, 17, 13, 3), np.uint8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run([SCORE_NAME], {INPUT_NAME: frames})
    network: Any = torch_network.network_of(model)
    np.testing.assert_allclose(network(torch.from_numpy(frames)).numpy(), expected, rtol=1e-4, atol=1e-3)


def test_an_operator_that_is_not_known_is_named() -> None:
    model = _model(helper.make_node("Elu", ["x"], ["y"]))
    with pytest.raises(NotImplementedError, match="Elu"):
        torch_network.network_of(model)
