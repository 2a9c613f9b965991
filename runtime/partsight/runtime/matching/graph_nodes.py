"""Graph nodes: arrays of an ONNX graph that is written by computing with them.

A `Node` behaves as a NumPy array: an operator on it appends an ONNX operator to its `Trace` and returns a new node. Its
shape is computed at once, with a batch of `FRAMES_TRACED` frames; in the graph the batch may have any size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

OPSET = 18
"""TensorRT 10.13 computes GridSample of opset 20 wrongly (NVIDIA/TensorRT#4646)."""

SAME_OPSETS = range(16, 20)
"""Opsets in which the operators here mean the same."""

IR_VERSION = 10

# fmt: off
ALLOWED_OPERATORS = frozenset((
    "Add", "And", "AveragePool", "Cast", "Clip", "Concat", "Conv", "Cos", "Div", "Equal", "Floor", "Gather", "GatherND",
    "GatherElements", "Gemm", "Greater", "GreaterOrEqual", "GridSample", "Identity", "Less", "LessOrEqual",
    "MatMul", "Mul", "Neg", "Pad", "ReduceSum", "Reshape", "Round", "Sin", "Slice", "Sqrt", "Squeeze", "Sub",
    "TopK", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
"""ONNX Runtime's CUDA provider and TensorRT compute all of them. Atan is missing: the CUDA provider has none."""

BATCH = "batch"
"""Name of the batch axis."""

FRAMES_TRACED = 7919
"""Size of the batch axis while shapes are computed: a prime, so that no other axis has this size."""


@dataclass(frozen=True, eq=False)
class Node:
    """An array of a graph, which NumPy's operators and methods extend by ONNX operators.

    Attributes:
        trace: Graph to which operators on this array are appended.
        name: Name in the graph.
        shape: Size of each axis. The first axis is the batch, except in arrays of the bank.
        dtype: Type of the values.
    """

    trace: "Trace"
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    __array_ufunc__ = None  # so that NumPy leaves `array * node` to `Node.__rmul__`

    def reshape(self, *shape: int) -> "Node":
        """Return the same values in another shape; its first size, the batch, must be -1."""
        return self.trace.add("Reshape", [self, integers(shape)], self._blank.reshape(shape).shape)

    def transpose(self, *axes: int) -> "Node":
        """Return the array with its axes in another order."""
        return self.trace.add("Transpose", [self], self._blank.transpose(axes).shape, perm=axes)

    def cast(self, kind: npt.DTypeLike) -> "Node":
        """Return the values as another type."""
        if self.dtype == kind:
            return self
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return self.trace.add("Cast", [self], self.shape, kind, to=element)

    def __getitem__(self, key: Any) -> "Node":
        """Slice, drop and add axes, as NumPy does."""
        node, keys = self, _full_keys(key, len(self.shape))
        old = [slice(item, item + 1 or None) if isinstance(item, int) else item for item in keys if item is not None]
        bounds = [(axis, item.indices(self.shape[axis])) for axis, item in enumerate(old)]
        cuts = [(axis, *cut) for axis, cut in bounds if cut != (0, self.shape[axis], 1)]
        if cuts:
            axes, starts, stops, steps = map(integers, zip(*cuts, strict=True))
            node = self.trace.add("Slice", [self, starts, stops, axes, steps], self._blank[tuple(old)].shape)
        dropped = [axis for axis, item in enumerate(item for item in keys if item is not None) if isinstance(item, int)]
        if dropped:
            node = self.trace.add("Squeeze", [node, integers(dropped)], node._blank.squeeze(tuple(dropped)).shape)
        added = [axis for axis, item in enumerate(item for item in keys if not isinstance(item, int)) if item is None]
        if added:
            shape = np.expand_dims(node._blank, tuple(added)).shape
            node = self.trace.add("Unsqueeze", [node, integers(added)], shape)
        return node

    def __neg__(self) -> "Node":
        return self.trace.add("Neg", [self], self.shape)

    def __add__(self, other: Any) -> "Node":
        return self._with("Add", self, other)

    def __radd__(self, other: Any) -> "Node":
        return self._with("Add", other, self)

    def __sub__(self, other: Any) -> "Node":
        return self._with("Sub", self, other)

    def __rsub__(self, other: Any) -> "Node":
        return self._with("Sub", other, self)

    def __mul__(self, other: Any) -> "Node":
        return self._with("Mul", self, other)

    def __rmul__(self, other: Any) -> "Node":
        return self._with("Mul", other, self)

    def __truediv__(self, other: Any) -> "Node":
        return self._with("Div", self, other)

    def __rtruediv__(self, other: Any) -> "Node":
        return self._with("Div", other, self)

    def __matmul__(self, other: Any) -> "Node":
        return self._product(self, other)

    def __rmatmul__(self, other: Any) -> "Node":
        return self._product(other, self)

    def __lt__(self, other: Any) -> "Node":
        return self._with("Less", self, other, np.bool_)

    def __le__(self, other: Any) -> "Node":
        return self._with("LessOrEqual", self, other, np.bool_)

    def __gt__(self, other: Any) -> "Node":
        return self._with("Greater", self, other, np.bool_)

    def __ge__(self, other: Any) -> "Node":
        return self._with("GreaterOrEqual", self, other, np.bool_)

    def __eq__(self, other: object) -> "Node":  # type: ignore[override]
        return self._with("Equal", self, other, np.bool_)

    def __and__(self, other: Any) -> "Node":
        return self._with("And", self, other)

    __hash__ = object.__hash__

    @property
    def _blank(self) -> npt.NDArray[Any]:
        """An array of this shape that takes no memory: NumPy computes shapes with it."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)

    def _like(self, value: Any) -> Any:
        """Return a number or array that is no node as an array of this type."""
        return value if isinstance(value, Node) else np.asarray(value, self.dtype)

    def _with(self, op_type: str, first: Any, second: Any, kind: npt.DTypeLike | None = None) -> "Node":
        pair = [self._like(first), self._like(second)]
        return self.trace.add(op_type, pair, np.broadcast_shapes(*(item.shape for item in pair)), kind or self.dtype)

    def _product(self, first: Any, second: Any) -> "Node":
        first, second = self._like(first), self._like(second)
        outer = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
        return self.trace.add("MatMul", [first, second], (*outer, first.shape[-2], second.shape[-1]))


class Trace:
    """A graph that grows operator by operator; the same operator on the same arrays is appended only once."""

    def __init__(self, batch: int | None = None) -> None:
        """Start an empty graph.

        Args:
            batch: Number of frames in a batch; None for any number.
        """
        self.batch = batch
        # The graph grows inside the model: a copy at the end would take the memory of a second bank.
        self.model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="partsight")
        self.model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        self.graph = self.model.graph
        self.graph.name = "partsight"
        self._constants: dict[Any, Node] = {}
        self._known: dict[Any, tuple[str, ...]] = {}

    def input(self, name: str, kind: npt.DTypeLike, shape: Sequence[int], axes: Mapping[int, str]) -> Node:
        """Return a new input of the graph.

        Args:
            name: Name of the input.
            kind: Type of the values.
            shape: Size of each axis, with which shapes are computed.
            axes: Names of the axes that may have any size when the graph runs.
        """
        sizes = [axes.get(axis, size) for axis, size in enumerate(shape)]
        self.graph.input.append(self._info(name, np.dtype(kind), sizes))
        return self.node(name, kind, shape)

    def output(self, name: str, node: Node) -> None:
        """Make an array an output of the graph; it has one row for each frame."""
        self.graph.node.append(onnx.helper.make_node("Identity", [node.name], [name], name))
        self.graph.output.append(self._info(name, node.dtype, (BATCH, *node.shape[1:])))

    def store(self, name: str, value: Any) -> Node:
        """Store a constant array in the graph and return it."""
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
        return self.node(name, value.dtype, value.shape)

    def node(self, name: str, kind: npt.DTypeLike, shape: Sequence[int]) -> Node:
        """Return an array that the graph already has."""
        return Node(self, name, tuple(shape), np.dtype(kind))

    def add(
        self,
        op_type: str,
        inputs: Sequence[Any],
        shape: Sequence[int],
        kind: npt.DTypeLike | None = None,
        **attributes: Any,
    ) -> Node:
        """Append an operator, unless the graph has the same one, and return its result.

        Args:
            op_type: Name of the operator, one of `ALLOWED_OPERATORS`.
            inputs: Nodes and constant arrays.
            shape: Shape of the result.
            kind: Type of the result; None for the type of the first input.
            attributes: Attributes of the operator.
        """
        return self.node(
            self._names(op_type, inputs, 1, attributes)[0], inputs[0].dtype if kind is None else kind, shape
        )

    def add_top_k(self, values: Node, count: int) -> tuple[Node, Node]:
        """Append TopK along the last axis; return the largest values and their indices, the largest first."""
        largest, index = self._names("TopK", [values, integers([count])], 2, {})
        shape = (*values.shape[:-1], count)
        return self.node(largest, values.dtype, shape), self.node(index, np.int64, shape)

    def _names(self, op_type: str, inputs: Sequence[Any], results: int, attributes: dict[str, Any]) -> tuple[str, ...]:
        """Return the names of an operator's results."""
        names = tuple((item if isinstance(item, Node) else self._constant(item)).name for item in inputs)
        key = op_type, names, tuple(attributes.items())
        if key not in self._known:
            name = f"{op_type}_{len(self.graph.node)}"
            self._known[key] = tuple(f"{name}:{number}" for number in range(results))
            self.graph.node.append(onnx.helper.make_node(op_type, names, self._known[key], name, **attributes))
        return self._known[key]

    def _constant(self, value: Any) -> "Node":
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self._constants:
            self._constants[key] = self.store(f"constant_{len(self._constants)}", value)
        return self._constants[key]

    def _info(self, name: str, kind: np.dtype[Any], shape: Sequence[int | str]) -> onnx.ValueInfoProto:
        sizes = [self.batch if size == BATCH and self.batch is not None else size for size in shape]
        return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(kind), sizes)


def integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    """Return an array of integers, as ONNX operators take shapes and axes."""
    return np.array(list(values), np.int64)


def _full_keys(key: Any, axes: int) -> list[Any]:
    """Return the key of each axis: slices replace an ellipsis and the axes that the index leaves out."""
    keys = list(key) if isinstance(key, tuple) else [key]
    index = next((index for index, item in enumerate(keys) if item is Ellipsis), len(keys))
    missing = axes - sum(item is not None and item is not Ellipsis for item in keys)
    return [*keys[:index], *[slice(None)] * missing, *keys[index + 1 :]]
