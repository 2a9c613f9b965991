"""FP16: the network in half the bytes and at twice a GPU's arithmetic speed, where the numbers fit.

The trunk (see `trunk`) computes in float16, with a Cast at each border to FP32. Average pooling sums many numbers and
stays FP32. A float16 number has 11 binary digits and reaches 65504. A layer whose weights or activations do not fit
stays FP32. ONNX Runtime's own converter clips such weights and ignores activations, so partsight does not use it.
"""

from collections.abc import Mapping, Set

import numpy as np
import numpy.typing as npt
import onnx

from partsight.export.ranges import Range
from partsight.export.trunk import trunk_nodes, weights

OP_TYPES = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Add", "Mul", "Concat", "MaxPool", "Pad"})
"""Operators that may stand between the trunk's convolutions in FP16."""

LARGEST = float(np.finfo(np.float16).max)
"""Largest finite float16 number, 65504."""

HEADROOM = 4.0
"""Factor by which an activation must stay below `LARGEST`, because other frames than the calibration frames may give
larger ones."""

MAX_ROUNDING = 0.01
"""Largest rounding error of a layer's weights, as a share of their norm. In float16's normal range the error is at most
0.0005 (half of 2^-10). It grows if weights are so small that they lose digits (below 6e-5) or vanish (below 3e-8)."""


def unfit_nodes(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> list[str]:
    """Return the trunk's nodes whose weights or activations do not fit float16, in the graph's order.

    Args:
        model: Folded FP32 model with named nodes.
        ranges: Ranges of the trunk's tensors, by name.
    """
    trunk, constants = frozenset(trunk_nodes(model, OP_TYPES)), weights(model)
    unfit = []
    for node in model.graph.node:
        names = (*node.input, *node.output)
        is_large = any(name in ranges and ranges[name].largest * HEADROOM > LARGEST for name in names)
        is_lossy = any(name in constants and not _fits(constants[name]) for name in node.input)
        if node.name in trunk and (is_large or is_lossy):
            unfit.append(node.name)
    return unfit


def _fits(values: npt.NDArray[np.float32]) -> bool:
    if np.abs(values).max(initial=0) > LARGEST:
        return False
    rounding = np.linalg.norm((values.astype(np.float16).astype(np.float64) - values).ravel())
    return bool(rounding <= MAX_ROUNDING * np.linalg.norm(values.astype(np.float64).ravel()))


def to_fp16(model: onnx.ModelProto, kept: Set[str] = frozenset()) -> onnx.ModelProto:
    """Return a model whose trunk computes in float16; its inputs and outputs are the same.

    Args:
        model: Folded FP32 model with named nodes.
        kept: Names of the nodes that stay FP32.
    """
    half, trunk, constants = _empty_like(model), _half_nodes(model, kept), weights(model)
    made: dict[str, onnx.NodeProto | onnx.TensorProto] = {}
    halves: set[str] = set()  # tensors in float16
    others = _not_float(model)
    for original in model.graph.node:
        node, is_half = onnx.NodeProto(), original.name in trunk
        node.CopyFrom(original)
        for index, name in enumerate(original.input):
            other = f"{name}_{'half' if is_half else 'float'}"
            if is_half and name in constants:
                node.input[index] = other
                made.setdefault(other, onnx.numpy_helper.from_array(constants[name].astype(np.float16), other))
            elif name and is_half != (name in halves) and name not in others:
                node.input[index] = other
                if other not in made:
                    made[other] = _cast(name, other, is_half)
                    half.graph.node.append(made[other])
        halves.update(node.output if is_half else ())
        half.graph.node.append(node)
    used = {name for node in half.graph.node for name in node.input}
    tensors = (item for item in made.values() if isinstance(item, onnx.TensorProto))
    half.graph.initializer.extend(item for item in (*model.graph.initializer, *tensors) if item.name in used)
    onnx.checker.check_model(half, full_check=True)
    return half


def rounded_twin(model: onnx.ModelProto, kept: Set[str] = frozenset()) -> onnx.ModelProto:
    """Return an FP32 model that answers like `to_fp16` on a device that computes in float16.

    The gate runs on the processor, and ONNX Runtime's CPU provider has no float16 convolution. It would compute in FP32
    without rounding between layers, and hide every overflow. This model rounds weights and each activation to float16.
    """
    twin, trunk, constants = _empty_like(model), _half_nodes(model, kept), weights(model)
    rounded: set[str] = set()
    for original in model.graph.node:
        node, casts = onnx.NodeProto(), []
        node.CopyFrom(original)
        if original.name in trunk:
            rounded.update(name for name in node.input if name in constants)
            for index, name in enumerate(original.output):
                exact, half = f"{name}_exact", f"{name}_half"
                node.output[index] = exact
                casts += [_cast(exact, half, True), _cast(half, name, False)]
        twin.graph.node.extend([node, *casts])
    for item in model.graph.initializer:
        value = onnx.numpy_helper.to_array(item)
        is_rounded = item.name in rounded
        twin.graph.initializer.append(
            onnx.numpy_helper.from_array(value.astype(np.float16).astype(np.float32), item.name) if is_rounded else item
        )
    return twin


def _half_nodes(model: onnx.ModelProto, kept: Set[str]) -> frozenset[str]:
    return frozenset(trunk_nodes(model, OP_TYPES)) - kept


def _empty_like(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without nodes, constants and tensor types."""
    empty = onnx.ModelProto()
    empty.CopyFrom(model)
    for field in (empty.graph.node, empty.graph.initializer, empty.graph.value_info):
        del field[:]
    return empty


def _not_float(model: onnx.ModelProto) -> frozenset[str]:
    """Return the names of tensors that are not float32, such as axes and pads."""
    kinds = {item.name: item.type.tensor_type.elem_type for item in (*model.graph.value_info, *model.graph.input)}
    kinds |= {item.name: item.data_type for item in model.graph.initializer}
    return frozenset(name for name, kind in kinds.items() if kind != onnx.TensorProto.FLOAT)


def _cast(name: str, to: str, is_half: bool) -> onnx.NodeProto:
    kind = onnx.TensorProto.FLOAT16 if is_half else onnx.TensorProto.FLOAT
    return onnx.helper.make_node("Cast", [name], [to], name=to, to=kind)
