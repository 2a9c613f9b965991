"""A package's network in PyTorch: the same weights, operator by operator.

Keras runs on PyTorch too, but PyTorch then transposes each convolution's input. This port avoids that: channels are
last in memory, and BatchNormalization is folded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
import torch.fx
from onnx import numpy_helper
from torch.nn import functional

from partsight.runtime.inference import INPUT_NAME, SCORE_NAME

Attributes = dict[str, Any]
Operator = Callable[..., torch.Tensor]


def network_of(model: onnx.ModelProto, device: str = "cpu", dtype: torch.dtype = torch.float32) -> torch.fx.GraphModule:
    """Return a module from frames on the device, (batch, height, width, 3) uint8 BGR, to scores, (batch, classes).

    Args:
        model: Network of a package's FP32 file.
        device: Device of the weights.
        dtype: Type of weights and activations.

    Raises:
        NotImplementedError: The network has an operator that this module does not know.
    """
    root, graph = torch.nn.Module(), torch.fx.Graph()
    values = {INPUT_NAME: graph.placeholder("image")}
    constants: dict[str, torch.Tensor] = {}
    for index, weights in enumerate(model.graph.initializer):
        constant = torch.from_numpy(numpy_helper.to_array(weights).copy())
        constants[weights.name] = constant
        if constant.is_floating_point():
            layout = torch.channels_last if constant.ndim == 4 else torch.contiguous_format
            root.register_buffer(f"weight{index}", constant.to(device, dtype, memory_format=layout))
            values[weights.name] = graph.get_attr(f"weight{index}")
    for node in model.graph.node:
        if node.op_type not in OPERATORS:
            raise NotImplementedError(f"operator {node.op_type}")
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        make = OPERATORS[node.op_type]
        inputs = [name for name in node.input if name]
        whole = {name: constants[name].tolist() for name in inputs if name in constants and name not in values}
        operator = make(attributes, [whole.get(name) for name in inputs], dtype)
        arguments = tuple(values[name] for name in inputs if name not in whole)
        values[node.output[0]] = graph.call_function(operator, arguments)
    graph.output(values[SCORE_NAME])
    graph.eliminate_dead_code()
    return torch.fx.GraphModule(root, graph).eval()


def _plain(function: Operator) -> Callable[..., Operator]:
    """Return a factory of an operator that has no attributes and no constants."""
    return lambda *_: function


def _cast(attributes: Attributes, _: Sequence[Any], dtype: torch.dtype) -> Operator:
    assert attributes["to"] == onnx.TensorProto.FLOAT

    def cast(values: torch.Tensor) -> torch.Tensor:
        return values.to(dtype)

    return cast


def _transpose(attributes: Attributes, *_: Any) -> Operator:
    order = tuple(attributes["perm"])

    def transpose(values: torch.Tensor) -> torch.Tensor:
        return values.permute(order)  # no copy, because channels are last in memory

    return transpose


def _conv(attributes: Attributes, *_: Any) -> Operator:
    strides, groups = attributes.get("strides", [1, 1]), attributes.get("group", 1)
    dilations, pads = attributes.get("dilations", [1, 1]), _pads(attributes)

    def conv(image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        image, padding = _padded(image, pads, 0.0)
        return functional.conv2d(image, weight, bias, strides, padding, dilations, groups)

    return conv


def _max_pool(attributes: Attributes, *_: Any) -> Operator:
    kernel, strides, pads = attributes["kernel_shape"], attributes["strides"], _pads(attributes)

    def max_pool(image: torch.Tensor) -> torch.Tensor:
        image, padding = _padded(image, pads, float("-inf"))
        return functional.max_pool2d(image, kernel, strides, padding)

    return max_pool


def _average_pool(attributes: Attributes, *_: Any) -> Operator:
    kernel, strides, pads = attributes["kernel_shape"], attributes["strides"], _pads(attributes)
    counts = bool(attributes.get("count_include_pad", 0))
    if pads[:2] != pads[2:]:
        raise NotImplementedError("an average pool with unequal padding on opposite sides")

    def average_pool(image: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(image, kernel, strides, pads[:2], count_include_pad=counts)

    return average_pool


def _pads(attributes: Attributes) -> list[int]:
    """Return the padding (top, left, bottom, right), in pixels."""
    kind = attributes.get("auto_pad", b"NOTSET")
    if kind not in (b"NOTSET", b"VALID"):
        raise NotImplementedError(f"auto_pad {kind.decode()}")
    pads: list[int] = attributes.get("pads", [0, 0, 0, 0])
    return pads


def _padded(image: torch.Tensor, pads: list[int], value: float) -> tuple[torch.Tensor, list[int]]:
    """Return the image, padded if opposite sides differ, and the padding that is left for the operator."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return image, [top, left]
    return functional.pad(image, (left, right, top, bottom), value=value), [0, 0]


def _concat(attributes: Attributes, *_: Any) -> Operator:
    axis = attributes["axis"]

    def concat(*parts: torch.Tensor) -> torch.Tensor:
        return torch.cat(parts, axis)

    return concat


def _squeeze(_: Attributes, whole: Sequence[Any], __: torch.dtype) -> Operator:
    axes = tuple(whole[1])

    def squeeze(values: torch.Tensor) -> torch.Tensor:
        return values.squeeze(axes)

    return squeeze


def _reduce_sum(attributes: Attributes, whole: Sequence[Any], _: torch.dtype) -> Operator:
    axes, keep = tuple(whole[1]), bool(attributes.get("keepdims", 1))

    def reduce_sum(values: torch.Tensor) -> torch.Tensor:
        return values.sum(axes, keepdim=keep)

    return reduce_sum


def _global_average_pool(image: torch.Tensor) -> torch.Tensor:
    return image.mean((2, 3), keepdim=True)


def _softmax(attributes: Attributes, *_: Any) -> Operator:
    axis = attributes.get("axis", -1)

    def softmax(values: torch.Tensor) -> torch.Tensor:
        return torch.softmax(values, axis)

    return softmax


OPERATORS: dict[str, Callable[..., Operator]] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _plain(torch.clamp),
    "Concat": _concat,
    "Conv": _conv,
    "GlobalAveragePool": _plain(_global_average_pool),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Min": _plain(torch.minimum),
    "Mul": _plain(torch.mul),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceSum": _reduce_sum,
    "Relu": _plain(torch.relu),
    "Softmax": _softmax,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Transpose": _transpose,
}
"""Factories by ONNX's operator name; each takes attributes, constant integers (None for other inputs) and the type."""
