"""The trunk: the nodes of a folded graph that may compute in a lower precision.

The trunk is all convolutions and the nodes between them. The image's cast and shift come before it. Pooling, the head's
normalisation, prototypes and softmax come after it and stay FP32 in every file, for three reasons: they cost next to no
time, FP16 overflows and INT8 loses accuracy there first, and enrolment edits the prototypes.
"""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx

from partsight.export.graph import Graph

_PASSES_ON = frozenset({"Relu", "Clip", "Add", "Mul"})


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every node has a unique name, with shapes and types of all tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    taken = {node.name for node in copy.graph.node}
    seen: set[str] = set()
    numbers = itertools.count()
    for node in copy.graph.node:
        while not node.name or node.name in seen:
            candidate = f"{node.op_type}_{next(numbers)}"
            node.name = "" if candidate in taken else candidate
        seen.add(node.name)
    return onnx.shape_inference.infer_shapes(copy)


def trunk_nodes(model: onnx.ModelProto, op_types: Iterable[str]) -> list[str]:
    """Return names of the trunk's nodes, in the graph's order.

    Args:
        model: Model with named nodes.
        op_types: Operators other than Conv that belong to the trunk if all of their inputs come from it.
    """
    graph, allowed, inside, found = Graph(model), frozenset(op_types), set[str](), []
    for node in graph.nodes:
        computed = [name for name in node.input if name and graph.constant(name) is None]
        is_between = node.op_type in allowed and bool(computed) and inside.issuperset(computed)
        if node.op_type == "Conv" or is_between:
            inside.update(node.output)
            found.append(node.name)
    return found


def layers(model: onnx.ModelProto, nodes: Iterable[str]) -> list[tuple[str, ...]]:
    """Group nodes of the trunk into layers: a convolution with the nodes that compute on its output alone.

    Args:
        model: Model with named nodes.
        nodes: Names of the trunk's nodes. A node that belongs to no convolution, such as a Concat, is its own layer.
    """
    wanted = frozenset(nodes)
    layer_of: dict[str, list[str]] = {}
    found = []
    for node in model.graph.node:
        if node.name not in wanted:
            continue
        own = next((layer_of[name] for name in node.input if name in layer_of), None)
        if own is None or node.op_type not in _PASSES_ON:
            own = []
            found.append(own)
        own.append(node.name)
        layer_of |= dict.fromkeys(node.output, own)
    return [tuple(layer) for layer in found]


def trunk_tensors(model: onnx.ModelProto, nodes: Iterable[str]) -> list[str]:
    """Return names of all tensors that trunk nodes read or write."""
    wanted, constants = frozenset(nodes), {item.name for item in model.graph.initializer}
    constants |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    names = [
        name
        for node in model.graph.node
        if node.name in wanted
        for name in (*node.input, *node.output)
        if name and name not in constants
    ]
    return list(dict.fromkeys(names))


def weights(model: onnx.ModelProto) -> Mapping[str, npt.NDArray[np.float32]]:
    """Return the float32 constants of the graph, by name."""
    return {
        item.name: onnx.numpy_helper.to_array(item)
        for item in model.graph.initializer
        if item.data_type == onnx.TensorProto.FLOAT
    }
