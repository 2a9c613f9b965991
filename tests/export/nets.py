"""A small network with the runtime's inputs and outputs, optional layers that rounding ruins, and images."""

from collections.abc import Collection

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.package.manifest import Manifest
from tests.tiny import tiny_manifest

SIDE_PX, CHANNELS, DEPTH, PARTS = 16, 16, 8, 6


def images() -> list[Pixels]:
    """One picture of each part: a patch of one colour on another."""
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(PARTS):
        picture = np.full((24, 24, 3), rng.integers(0, 256, 3), np.uint8)
        picture[6:18, 6:18] = rng.integers(0, 256, 3)
        pictures.append(picture)
    return pictures


def manifest() -> Manifest:
    labels = tuple(f"part{index}" for index in range(PARTS))
    return msgspec.structs.replace(tiny_manifest(), labels=labels, preprocess=PreprocessSpec(SIDE_PX, SIDE_PX))


def network(
    uneven: Collection[int] = (), scale: float = 1e4, shift: tuple[float, float, float] | None = None
) -> onnx.ModelProto:
    """Return the folded FP32 model: `DEPTH` convolutions with ReLU, pooling, cosine head.

    Args:
        uneven: Indices of layers whose first channel is `scale` times as large, which the next layer compensates: the
            same function, but 8 bits for the whole tensor leave nothing of the other channels.
        scale: Scale of those channels.
        shift: Offset of the pixels of each channel before the first layer, grey levels.
    """
    rng = np.random.default_rng(5)
    factors = np.ones((DEPTH + 1, CHANNELS))
    factors[[index + 1 for index in uneven], 0] = scale
    constants: dict[str, np.ndarray] = {}
    nodes = [
        helper.make_node("Transpose", ["image_bgr"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["nchw"], ["tensor"], to=TensorProto.FLOAT),
    ]
    end = "tensor"
    if shift:
        constants["shift"] = np.array(shift, np.float32).reshape(1, 3, 1, 1)
        nodes.append(helper.make_node("Add", [end, "shift"], ["shifted"]))
        end = "shifted"
    for index in range(DEPTH):
        inputs = 3 if index == 0 else CHANNELS
        kernel = rng.normal(0, np.sqrt(2 / inputs), (CHANNELS, inputs, 1, 1)) / (100 if index == 0 else 1)
        bias = rng.uniform(0.1, 0.5, CHANNELS)
        kernel *= factors[index + 1][:, None, None, None]
        kernel /= factors[index][None, :inputs, None, None]
        constants[f"kernel{index}"] = kernel.astype(np.float32)
        constants[f"bias{index}"] = (bias * factors[index + 1]).astype(np.float32)
        nodes.append(helper.make_node("Conv", [end, f"kernel{index}", f"bias{index}"], [f"conv{index}"]))
        nodes.append(helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]))
        end = f"relu{index}"
    constants["axes"] = np.array([2, 3], np.int64)
    constants["center"] = np.zeros(CHANNELS, np.float32)
    constants["prototypes"] = rng.normal(0, 1, (CHANNELS, PARTS)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [end], ["pooled"]),
        helper.make_node("Squeeze", ["pooled", "axes"], ["features"]),
        helper.make_node("Sub", ["features", "center"], ["centered"]),
        helper.make_node("ReduceL2", ["centered"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Div", ["centered", "length"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "prototypes"], ["score"]),
    ]
    model = _model(nodes, constants)
    _teach(model)
    return model


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image_bgr", TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", PARTS]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", CHANNELS]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _teach(model: onnx.ModelProto) -> None:
    """Set the centre, then the prototypes, from the network's outputs for the images."""
    batch = preprocess(images(), manifest().preprocess)
    features = measure(model, "features", batch)
    _set(model, "center", features.mean(axis=0))
    _set(model, "prototypes", measure(model, "embedding", batch).T)


def measure(model: onnx.ModelProto, tensor: str, batch: Pixels) -> np.ndarray:
    """Return the values of a tensor inside the model."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    if tensor not in [output.name for output in model.graph.output]:
        wider.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(wider.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {"image_bgr": batch})[0])


def _set(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    index = next(index for index, item in enumerate(model.graph.initializer) if item.name == name)
    model.graph.initializer[index].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
