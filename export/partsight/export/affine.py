"""Affine nodes: graph nodes that only multiply and add for each channel, such as BatchNormalization."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.export.graph import Array, Graph, attribute

_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})


@dataclass(frozen=True)
class Affine:
    """The map y = scale * x + shift of each channel; scale and shift are (channels,) float64."""

    scale: Array
    shift: Array

    def then(self, later: "Affine") -> "Affine":
        """Return the map that applies this one first and `later` second."""
        return Affine(self.scale * later.scale, self.shift * later.scale + later.shift)


def read_affine(graph: Graph, node: Any, data: str, channels: int, channel_axis: int) -> Affine | None:
    """Return the scale and shift that a node applies to each channel of a 4-D tensor; None for any other node.

    Args:
        graph: Graph of the node.
        node: Any node.
        data: Name of the tensor; the node's other inputs must be constants.
        channels: Number of the tensor's channels.
        channel_axis: Axis of the channels: 1 for (batch, channels, h, w), 3 for (batch, h, w, channels).
    """
    if node.op_type == "BatchNormalization":
        return _read_batch_norm(graph, node) if channel_axis == 1 and node.input[0] == data else None
    if node.op_type not in _ARITHMETIC or list(node.input).count(data) != 1:
        return None
    is_left = node.input[0] == data
    value = _per_channel(graph.constant(node.input[1 if is_left else 0]), channels, channel_axis)
    return None if value is None else _arithmetic(node.op_type, value, is_left)


def _arithmetic(op_type: str, value: Array, is_left: bool) -> Affine | None:
    """Return x OP value if `is_left`, else value OP x."""
    ones, zeros = np.ones_like(value), np.zeros_like(value)
    if op_type == "Add":
        return Affine(ones, value)
    if op_type == "Mul":
        return Affine(value, zeros)
    if op_type == "Sub":
        return Affine(ones, -value) if is_left else Affine(-ones, value)
    return Affine(1 / value, zeros) if is_left else None


def _read_batch_norm(graph: Graph, node: Any) -> Affine | None:
    """Return the map of a BatchNormalization in inference (arXiv 1502.03167, section 3.1).

    It computes y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, all (channels,) but epsilon.
    So scale = gamma / sqrt(variance + epsilon), and shift = beta - mean * scale.
    """
    constants = [graph.constant(name) for name in node.input[1:]]
    if attribute(node, "training_mode", 0) or any(item is None for item in constants):
        return None
    gamma, beta, mean, variance = (np.asarray(item, np.float64) for item in constants)
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return Affine(scale, beta - mean * scale)


def _per_channel(value: Any, channels: int, channel_axis: int) -> Array | None:
    """Return a constant as (channels,) float64; None if it differs along another axis of a 4-D tensor."""
    if value is None or value.ndim > 4 or value.dtype.kind != "f":
        return None
    shape = (1,) * (4 - value.ndim) + value.shape
    size = shape[channel_axis]
    if value.size != size or size not in (1, channels):
        return None
    return np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,)).copy()
