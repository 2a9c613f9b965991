"""INT8: static quantisation of the folded graph, in a form that ONNX Runtime and OpenVINO both compute in integers.

A quantised number q stands for scale·(q - zero_point). Activations are uint8 with one scale and zero point a tensor.
Weights are int8 with one scale an output channel and zero point 0. A CPU with VNNI multiplies such a pair at once.
QuantizeLinear and DequantizeLinear nodes stand around each node (QDQ), and the runtimes fuse them. ONNX Runtime's
quantiser places them; it drops a Relu or Clip if the next tensor's range implies it. The ranges come from `ranges`:
with them, more answers agree with FP32 than with ONNX Runtime's own calibrators (docs/export.md).
"""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from partsight.export.graph import Graph
from partsight.export.ranges import Range
from partsight.export.trunk import layers, trunk_nodes
from partsight.runtime.inference import INPUT_NAME

OP_TYPES = frozenset({"Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool"})
"""Operators between convolutions that compute in INT8."""


class Quantizer:
    """Makes INT8 models of one network; each may keep other layers in FP32."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, Range]) -> None:
        """Take a network; the model does not change.

        Args:
            model: Folded FP32 model with named nodes.
            ranges: Ranges of the trunk's tensors, by name.
        """
        self._model = model
        self._ranges = {name: _single(item.least_error()) for name, item in ranges.items()}
        nodes = trunk_nodes(model, OP_TYPES)
        self.layers = layers(model, nodes)
        """Layers of the trunk, each the names of its nodes."""
        self._image = _read_image(Graph(model), frozenset(nodes))

    def quantize(self, kept: Set[str] = frozenset()) -> onnx.ModelProto:
        """Return the model in INT8.

        Args:
            kept: Names of the nodes that stay FP32.
        """
        model = onnx.shape_inference.infer_shapes(self._model)  # returns a copy
        # This key keeps the quantiser from inferring shapes again, which writes temporary files.
        model.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")
        overrides: dict[str, list[dict[str, Any]]] = {}
        if self._image:
            pixels, _, zero_point = self._image
            overrides[pixels] = [{"scale": np.array(1, np.float32), "zero_point": np.array(zero_point, np.uint8)}]
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, self._ranges),
            nodes_to_quantize=[name for layer in self.layers for name in layer if name not in kept],
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv", *sorted(OP_TYPES)],
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # the quantiser appends its nodes at the end
        quantized: onnx.ModelProto = quantizer.model.model
        if self._image:
            _take_bytes(quantized, *self._image[:2])
        Graph(quantized).drop_unused()
        onnx.checker.check_model(quantized)
        return quantized


def _single(pair: tuple[float, float]) -> tuple[np.float32, np.float32]:
    """Return a range as float32, the only type that ONNX Runtime's quantiser takes."""
    return np.float32(pair[0]), np.float32(pair[1])


def _read_image(graph: Graph, trunk: Set[str]) -> tuple[str, str, int] | None:
    """Return how the first convolution can read the image's bytes without quantisation; None if it cannot.

    Pixels are whole numbers from 0 to 255, so uint8 with scale 1 holds them exactly. A shift before the convolution is
    a zero point, if it is one whole number from -255 to 0 for all channels: pixel + shift = 1·(pixel - zero_point).

    Returns:
        The name of the convolution's input, the name of its uint8 source, (batch, 3, height, width), and the zero
        point.
    """
    transpose = graph.sole_consumer(INPUT_NAME)
    cast = None if transpose is None else graph.sole_consumer(transpose.output[0])
    if transpose is None or cast is None or transpose.op_type != "Transpose" or cast.op_type != "Cast":
        return None
    pixels, shift = cast.output[0], 0.0
    add = graph.sole_consumer(pixels)
    if add is not None and add.op_type == "Add" and add.name not in trunk:
        constant = next((value for value in map(graph.constant, add.input) if value is not None), None)
        if constant is None or np.ptp(constant) > 0:
            return None
        pixels, shift = add.output[0], float(constant.flat[0])
    is_exact = shift == round(shift) and -255 <= shift <= 0
    return (pixels, transpose.output[0], int(-shift)) if is_exact else None


def _take_bytes(model: onnx.ModelProto, pixels: str, source: str) -> None:
    """Connect the first convolution's DequantizeLinear directly to the image's bytes."""
    made = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == pixels}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in made:
            node.input[0] = source
