"""Folding: BatchNormalization, normalisation and channel order go into the weights of convolutions.

A convolution is linear: conv(x) = K*x + b. An affine node behind it gives y = scale·conv(x) + shift for each output
channel. One convolution with kernel scale·K and bias scale·b + shift gives the same y. So the folded graph computes the
same function with fewer nodes. Folding computes in float64 and rounds once to float32.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from partsight.export.affine import Affine, read_affine
from partsight.export.graph import Array, Graph, attribute, set_attribute

_NCHW = [0, 3, 1, 2]


@dataclass(frozen=True)
class FoldSummary:
    """Result of folding.

    Attributes:
        folded: Number of affine nodes that went into a convolution.
        batch_norm_left: Number of BatchNormalization nodes in the graph; 0 after `fold`.
        foldable_left: Number of affine nodes right behind a convolution; 0 after `fold`.
        affine_left: Number of per-channel Mul and Add nodes that stay, because a node between them and the convolution
            is not linear (pre-activation networks).
        is_input_folded: Whether channel order and scale are in the first convolution.
    """

    folded: int
    batch_norm_left: int
    foldable_left: int
    affine_left: int
    is_input_folded: bool


def fold(model: onnx.ModelProto, input_name: str) -> FoldSummary:
    """Fold a model in place.

    Args:
        model: Model of opset 13 or later with one image input, (batch, height, width, 3) uint8.
        input_name: Name of that input.
    """
    _merge_pads(model)
    is_input_folded = _fold_input(model, input_name)
    folded = 0
    while _fold_one(model):
        folded += 1
    _split_batch_norms(model)
    Graph(model).drop_unused()
    return summarise(model, folded, is_input_folded)


def summarise(model: onnx.ModelProto, folded: int = 0, is_input_folded: bool = False) -> FoldSummary:
    """Count the nodes of a graph."""
    graph = Graph(model)
    foldable = sum(_find_foldable(graph, node) is not None for node in graph.nodes)
    left = [node for node in graph.nodes if node.op_type in ("Mul", "Add") and _is_channel_wise(graph, node)]
    return FoldSummary(
        folded=folded,
        batch_norm_left=sum(node.op_type == "BatchNormalization" for node in graph.nodes),
        foldable_left=foldable,
        affine_left=len(left),
        is_input_folded=is_input_folded,
    )


def _fold_one(model: onnx.ModelProto) -> bool:
    """Fold the first affine node right behind a convolution; return whether there was one."""
    graph = Graph(model)
    for conv in graph.nodes:
        found = _find_foldable(graph, conv)
        if found is None:
            continue
        node, affine = found
        _scale_outputs(graph, conv, affine)
        conv.output[0] = node.output[0]
        graph.nodes.remove(node)
        return True
    return False


def _find_foldable(graph: Graph, conv: Any) -> tuple[Any, Affine] | None:
    """Return the affine node behind a convolution with its map; None unless it can fold.

    The convolution's weights must be constant, and the affine node must be the only reader of its output.
    """
    if conv.op_type != "Conv":
        return None
    kernel, node = graph.constant(conv.input[1]), graph.sole_consumer(conv.output[0])
    if kernel is None or node is None or (_has_bias(conv) and graph.constant(conv.input[2]) is None):
        return None
    affine = read_affine(graph, node, conv.output[0], kernel.shape[0], channel_axis=1)
    return None if affine is None else (node, affine)


def _scale_outputs(graph: Graph, conv: Any, affine: Affine) -> None:
    kernel, bias = _weights(graph, conv)
    _set_weights(graph, conv, kernel * affine.scale[:, None, None, None], bias * affine.scale + affine.shift)


def _merge_pads(model: onnx.ModelProto) -> None:
    """Move the zeros of a Pad node into the `pads` attribute of the convolution behind it."""
    graph = Graph(model)
    for conv in [node for node in graph.nodes if node.op_type == "Conv"]:
        pad = graph.sole_producer(conv, "Pad")
        pads = None if pad is None else _zero_pads(graph, pad)
        if pad is None or pads is None or attribute(conv, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            continue
        own = attribute(conv, "pads", [0, 0, 0, 0])
        set_attribute(conv, "auto_pad", "NOTSET")
        set_attribute(conv, "pads", [int(first + second) for first, second in zip(own, pads, strict=True)])
        conv.input[0] = pad.input[0]
        graph.nodes.remove(pad)


def _zero_pads(graph: Graph, pad: Any) -> list[int] | None:
    """Return (top, left, bottom, right), in pixels, of a Pad that adds zeros around a picture; None for another Pad."""
    pads = graph.constant(pad.input[1])
    value = graph.constant(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else np.zeros(())
    if attribute(pad, "mode", b"constant") != b"constant" or pads is None or value is None or np.any(value != 0):
        return None
    if len(pads) != 8 or any(pads[axis] for axis in (0, 1, 4, 5)) or min(pads) < 0:
        return None
    return [int(pads[axis]) for axis in (2, 3, 6, 7)]


def _fold_input(model: onnx.ModelProto, input_name: str) -> bool:
    """Fold the nodes between the image and the first convolution; return False if one of them is not affine.

    Input channel i of the convolution is scale[i]·x[order[i]] + shift[i], with x the BGR pixels from 0 to 255. Kernel
    slice i times scale[i] becomes the slice for x[order[i]]. The shift adds the constant sum(K[:, i])·shift[i] to the
    output, which goes into the bias.
    """
    graph = Graph(model)
    chain = _read_input_chain(graph, input_name)
    if chain is None:
        return False
    nodes, conv, order, affine = chain
    kernel, bias = _weights(graph, conv)
    folded = np.zeros_like(kernel)
    folded[:, order] = kernel * affine.scale[None, :, None, None]
    shift = np.zeros(3)
    if _pads_with_zeros(conv):
        # At the border, the convolution pads zeros after the shift, so the bias would be wrong there. The shift stays a
        # node before the convolution: scale·(x + shift/scale) is the same value, and padding adds zeros after it.
        shift[order] = affine.shift / affine.scale
    else:
        bias = bias + np.einsum("oihw,i->o", kernel, affine.shift)
    _set_weights(graph, conv, folded, bias)
    for node in nodes:
        graph.nodes.remove(node)
    conv.input[0] = _insert_input(graph, input_name, shift)
    return True


def _read_input_chain(graph: Graph, input_name: str) -> tuple[list[Any], Any, list[int], Affine] | None:
    """Return the nodes from the image to the first convolution, that convolution, and its channels' order and map.

    None if a node in between is not affine, or the convolution's weights are not constant. `axis` is the axis of the
    channels: 3 before the transposition to (batch, channels, h, w), 1 after it.
    """
    order, affine, axis = [0, 1, 2], Affine(np.ones(3), np.zeros(3)), 3
    nodes: list[Any] = []
    name, node = input_name, graph.sole_consumer(input_name)
    while node is not None and node.op_type != "Conv":
        step = read_affine(graph, node, name, 3, axis)
        if step is not None:
            affine = affine.then(step)
        elif node.op_type == "Gather" and attribute(node, "axis", 0) in (axis, axis - 4):
            indices = _channel_indices(graph, node)
            if indices is None:
                return None
            order = [order[index] for index in indices]
            affine = Affine(affine.scale[indices], affine.shift[indices])
        elif node.op_type == "Transpose" and axis == 3 and attribute(node, "perm", []) == _NCHW:
            axis = 1
        elif node.op_type != "Cast":
            return None
        nodes.append(node)
        name = node.output[0]
        node = graph.sole_consumer(name)
    if node is None or axis == 3 or attribute(node, "group", 1) != 1 or np.any(affine.scale == 0):
        return None
    return None if graph.constant(node.input[1]) is None else (nodes, node, order, affine)


def _channel_indices(graph: Graph, gather: Any) -> list[int] | None:
    indices = graph.constant(gather.input[1])
    if indices is None or indices.ndim != 1 or sorted(index % 3 for index in indices.tolist()) != [0, 1, 2]:
        return None
    return [int(index) % 3 for index in indices]


def _insert_input(graph: Graph, input_name: str, shift: Array) -> str:
    """Insert the nodes from the uint8 image to the first convolution; return the name of their output."""
    channels_first, pixels, shifted = (f"{input_name}_{suffix}" for suffix in ("nchw", "float", "shifted"))
    make = onnx.helper.make_node
    # Transpose before the cast: uint8 has a quarter of the bytes of float32.
    nodes = [
        make("Transpose", [input_name], [channels_first], name=channels_first, perm=_NCHW),
        make("Cast", [channels_first], [pixels], name=pixels, to=onnx.TensorProto.FLOAT),
    ]
    if np.any(shift):
        constant = graph.add_constant(shift.astype(np.float32).reshape(1, 3, 1, 1), "shift")
        nodes.append(make("Add", [pixels, constant], [shifted], name=shifted))
    for index, node in enumerate(nodes):
        graph.nodes.insert(index, node)
    return str(nodes[-1].output[0])


def _split_batch_norms(model: onnx.ModelProto) -> None:
    """Replace each BatchNormalization that cannot fold by one Mul and one Add."""
    graph = Graph(model)
    for index, node in reversed(list(enumerate(graph.nodes))):
        affine = read_affine(graph, node, node.input[0], 0, 1) if node.op_type == "BatchNormalization" else None
        if affine is None:
            continue
        scaled = f"{node.output[0]}_scaled"
        scale, shift = (
            graph.add_constant(value.astype(np.float32).reshape(1, -1, 1, 1), "batch_norm")
            for value in (affine.scale, affine.shift)
        )
        graph.nodes.remove(node)
        graph.nodes.insert(index, onnx.helper.make_node("Add", [scaled, shift], [node.output[0]]))
        graph.nodes.insert(index, onnx.helper.make_node("Mul", [node.input[0], scale], [scaled]))


def _is_channel_wise(graph: Graph, node: Any) -> bool:
    """Return whether a node has a (1, channels, 1, 1) constant; the input's own shift does not count."""
    if node.output[0].endswith("_shifted"):
        return False
    constants = [value for value in map(graph.constant, node.input) if value is not None]
    return any(
        value.size > 1 and value.ndim in (3, 4) and value.size == value.shape[value.ndim - 3] for value in constants
    )


def _pads_with_zeros(conv: Any) -> bool:
    has_own = any(attribute(conv, "pads", [0]))
    return has_own or attribute(conv, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _has_bias(conv: Any) -> bool:
    return len(conv.input) > 2 and bool(conv.input[2])


def _weights(graph: Graph, conv: Any) -> tuple[Array, Array]:
    """Return a convolution's kernel, (out, in / group, h, w), and bias, (out,), in float64."""
    kernel = np.asarray(graph.constant(conv.input[1]), np.float64)
    bias = np.asarray(graph.constant(conv.input[2]), np.float64) if _has_bias(conv) else np.zeros(kernel.shape[0])
    return kernel, bias


def _set_weights(graph: Graph, conv: Any, kernel: Array, bias: Array) -> None:
    """Give a convolution new weights; the old ones stay, because another node may use them."""
    data = conv.input[0]
    del conv.input[:]
    conv.input.extend([data, *(graph.add_constant(value.astype(np.float32), "folded") for value in (kernel, bias))])
