"""Tracing: matching, which is written once as operations on arrays, becomes an ONNX graph.

`GraphOperations` has the operations of `partsight.runtime.matching.operations`. Their arrays are nodes: each operation
appends a few ONNX operators to a `Trace`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from partsight.runtime.core import FloatArray
from partsight.runtime.matching import Bank, Matches, MatchingSpec, match
from partsight.runtime.matching.bank import FIELDS

if TYPE_CHECKING:
    from partsight.runtime.matching.poses import Places

OPSET = 18
"""TensorRT 10.13 computes GridSample of opset 20 wrongly (NVIDIA/TensorRT#4646)."""

SAME_OPSETS = range(16, 20)
"""Opsets in which the operators here mean the same."""

IR_VERSION = 10

# fmt: off
ALLOWED_OPERATORS = frozenset((
    "Add", "And", "AveragePool", "Cast", "Clip", "Concat", "Conv", "Cos", "Div", "Equal", "Floor", "Gather",
    "GatherElements", "Gemm", "Greater", "GreaterOrEqual", "GridSample", "Identity", "Less", "LessOrEqual",
    "MatMul", "Mul", "Neg", "Pad", "ReduceSum", "Reshape", "Round", "Sin", "Slice", "Sqrt", "Squeeze", "Sub",
    "TopK", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
"""ONNX Runtime's CUDA provider and TensorRT compute all of them. Atan is missing: the CUDA provider has none."""

FRAMES, SCORE = "frames", "score"
CLASSES, AGREEMENT, REFERENCES, POSES = "classes", "agreement", "references", "poses"

BATCH = "batch"
"""Name of the batch axis."""

_CLASSES, _REFERENCES = "classes", "references"

FRAMES_TRACED = 7919
"""Size of the batch axis while shapes are computed: a prime, so that no other axis has it."""

_ATAN = (
    0.9999998211860657,
    -0.3333176076412201,
    0.19963231682777405,
    -0.1391036957502365,
    0.09173526614904404,
    -0.03794481605291367,
)
"""Of the odd polynomial that is within 1e-8 of the arctangent up to 0.6. Poses turn less: 0.42 rad."""


@dataclass(frozen=True, eq=False)
class Node:
    """An array of a graph.

    Attributes:
        trace: to which operators on this array are appended.
        name: in the graph.
        shape: its sizes. The first is the batch unless the array is the bank's.
        dtype: its type.
    """

    trace: "Trace"
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    __array_ufunc__ = None  # so that NumPy leaves `array * node` to `Node.__rmul__`

    def reshape(self, *shape: int) -> "Node":
        """Return the same values in another shape; its first size, the batch, has to be -1."""
        return self.trace.add("Reshape", [self, _integers(shape)], self._blank.reshape(shape).shape)

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
            axes, starts, stops, steps = map(_integers, zip(*cuts, strict=True))
            node = self.trace.add("Slice", [self, starts, stops, axes, steps], self._blank[tuple(old)].shape)
        dropped = [axis for axis, item in enumerate(item for item in keys if item is not None) if isinstance(item, int)]
        if dropped:
            node = self.trace.add("Squeeze", [node, _integers(dropped)], node._blank.squeeze(tuple(dropped)).shape)
        added = [axis for axis, item in enumerate(item for item in keys if not isinstance(item, int)) if item is None]
        if added:
            shape = np.expand_dims(node._blank, tuple(added)).shape
            node = self.trace.add("Unsqueeze", [node, _integers(added)], shape)
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
        """An array of its shape that takes no memory."""
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
    """A graph that grows by one operator after the other; the same operator on the same arrays is appended once."""

    def __init__(self, batch: int | None = None) -> None:
        """Start an empty graph.

        Args:
            batch: frames that it takes at once; None for any number.
        """
        self.batch = batch
        # The graph grows inside the model: to copy it there later takes the memory of a second bank.
        self.model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="partsight")
        self.model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        self.graph = self.model.graph
        self.graph.name = "partsight"
        self._constants: dict[Any, Node] = {}
        self._known: dict[Any, tuple[str, ...]] = {}

    def input(self, name: str, kind: npt.DTypeLike, shape: Sequence[int], axes: Mapping[int, str]) -> Node:
        """Return a new input of the graph.

        Args:
            name: of the input.
            kind: its type.
            shape: its sizes.
            axes: names of the axes that may have any size; while shapes are computed, they have that of `shape`.
        """
        sizes = [axes.get(axis, size) for axis, size in enumerate(shape)]
        self.graph.input.append(self._info(name, np.dtype(kind), sizes))
        return self.node(name, kind, shape)

    def output(self, name: str, node: Node) -> None:
        """Make an array of one row a frame an output of the graph."""
        self.graph.node.append(onnx.helper.make_node("Identity", [node.name], [name], name))
        self.graph.output.append(self._info(name, node.dtype, (BATCH, *node.shape[1:])))

    def store(self, name: str, value: Any) -> Node:
        """Return a constant array under a name."""
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
        return self.node(name, value.dtype, value.shape)

    def node(self, name: str, kind: npt.DTypeLike, shape: Sequence[int]) -> Node:
        """Return an array that is in the graph already."""
        return Node(self, name, tuple(shape), np.dtype(kind))

    def add(
        self,
        op_type: str,
        inputs: Sequence[Any],
        shape: Sequence[int],
        kind: npt.DTypeLike | None = None,
        **attributes: Any,
    ) -> Node:
        """Append an operator, unless the same is there.

        Args:
            op_type: of `ALLOWED_OPERATORS`.
            inputs: nodes and constant arrays.
            shape: of the result.
            kind: type of the result; None for that of the first input.
            attributes: of the operator.
        """
        return self.node(
            self._names(op_type, inputs, 1, attributes)[0], inputs[0].dtype if kind is None else kind, shape
        )

    def add_top_k(self, values: Node, count: int) -> tuple[Node, Node]:
        """Append TopK along the last axis: return the largest values and their indices, the largest first."""
        largest, index = self._names("TopK", [values, _integers([count])], 2, {})
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


class GraphOperations:
    """The operations of `ArrayOperations`, see there, on nodes. Images are (frames, channels, height, width)."""

    @staticmethod
    def images(frames: Node) -> Node:
        """Return (frames, height, width, channels) uint8 as images."""
        return frames.cast(np.float32).transpose(0, 3, 1, 2)

    @staticmethod
    def mix(images: Node, weights: Sequence[float]) -> Node:
        """Return one channel: the weighted sum of all."""
        _, channels, height, width = images.shape
        mixed = np.array([weights], np.float32) @ images.reshape(-1, channels, height * width)
        return mixed.reshape(-1, 1, height, width)

    @staticmethod
    def block_means(images: Node, size: int) -> Node:
        """Return images made of the means of size × size pixels."""
        return _pooled(images, size, size)

    @staticmethod
    def smooth(images: Node, kernel: FloatArray) -> Node:
        """Filter rows and columns with an odd kernel; pixels beyond the border repeat the border."""
        reach, (frames, channels, height, width) = len(kernel) // 2, images.shape
        pads, shape = _integers([0, 0, reach, reach] * 2), (frames, channels, height + 2 * reach, width + 2 * reach)
        padded = images.trace.add("Pad", [images, pads], shape, mode="edge")
        for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
            padded = _convolved(padded, np.repeat(kernel.reshape(shape), channels, axis=0), channels)
        return padded

    @staticmethod
    def widen(images: Node, filler: Node) -> Node:  # noqa: ARG004
        """Return the images: a channel that nobody reads makes nothing faster here."""
        return images

    @staticmethod
    def pixels(images: Node) -> Node:
        """Return (frames, height, width) of images with one channel."""
        return images[:, 0]

    @staticmethod
    def sample(images: Node, places: "Places") -> Node:
        """Sample each frame bilinearly; a place beyond the border takes the border's value."""
        _, channels, height, width = images.shape
        x = _spread(places.x_of_column, places.x_of_row, width)
        y = _spread(places.y_of_column, places.y_of_row, height)
        _, candidates, rows, columns = x.shape
        grid = GraphOperations.stack([x, y]).reshape(-1, candidates * rows, columns, 2)
        # Padding with zeros is faster than with the border. No place lies where it would show.
        sampled = images.trace.add(
            "GridSample",
            [images, grid],
            (FRAMES_TRACED, channels, candidates * rows, columns),
            align_corners=0,
            mode="bilinear",
            padding_mode="zeros",
        )
        if channels == 1:
            return sampled.reshape(1, -1, candidates, rows * columns)
        return sampled.reshape(-1, channels, candidates, rows * columns).transpose(1, 0, 2, 3)

    @staticmethod
    def take(table: Node, index: Node) -> Node:
        """Return rows of a table as float32."""
        return _rows(table, index).cast(np.float32)

    @staticmethod
    def take_planes(table: Node, index: Node) -> Node:
        """Return rows of a table as float32, its second axis first."""
        rows, plane = _rows(table, index), len(index.shape)
        return rows.transpose(plane, *(axis for axis in range(len(rows.shape)) if axis != plane)).cast(np.float32)

    @staticmethod
    def take_index(table: Node, index: Node) -> Node:
        """Return rows of a table of indices, int64."""
        return _rows(table, index).cast(np.int64)

    @staticmethod
    def pick(values: Node, index: Node) -> Node:
        """Return values[..., index] along the last axis, row by row."""
        return values.trace.add("GatherElements", [values, index], index.shape, axis=len(values.shape) - 1)

    @staticmethod
    def best(values: Node, count: int) -> Node:
        """Return the indices of the `count` largest along the last axis, largest first; of equal ones the first."""
        return values.trace.add_top_k(values, count)[1]

    @staticmethod
    def largest_mean(values: Node, count: int) -> Node:
        """Return the mean of the `count` largest along the last axis."""
        return GraphOperations.sum(values.trace.add_top_k(values, count)[0], -1) * (1 / count)

    @staticmethod
    def window_means(values: Node, size: int) -> Node:
        """Return means over windows of size × size blocks that lie inside; a block is 2 × 2 values."""
        means = _pooled(_pooled(values, 2, 2), size, 1)
        _, candidates, rows, columns = means.shape
        return means.reshape(-1, candidates, rows * columns)

    @staticmethod
    def explained(table: Node, basis: Node) -> Node:
        """Return how much of each reference lies in each frame's basis: sums of squared products."""
        (frames, pixels, few), references = basis.shape, table.shape[0]
        across = basis.transpose(0, 2, 1).reshape(-1, pixels)
        inside = table.trace.add("Gemm", [across, table], (frames * few, references), transB=1)[:, None]
        # A size of 0 keeps that of the input: the bank may grow.
        inside = table.trace.add("Reshape", [inside, _integers((-1, few, 0))], (frames, few, references))
        return GraphOperations.sum(inside * inside, 1)

    @staticmethod
    def dot(first: Node, second: Node) -> Node:
        """Return the sums of products along the last axis."""
        return GraphOperations.sum(first * second, -1)

    @staticmethod
    def sum(values: Node, axis: int) -> Node:
        """Return sums along an axis."""
        axis %= len(values.shape)
        shape = values.shape[:axis] + values.shape[axis + 1 :]
        return values.trace.add("ReduceSum", [values, _integers([axis])], shape, keepdims=0)

    @staticmethod
    def stack(values: Sequence[Node]) -> Node:
        """Join along a new last axis."""
        return GraphOperations.concat([value[..., None] for value in values])

    @staticmethod
    def concat(values: Sequence[Node]) -> Node:
        """Join along the last axis."""
        shape = (*values[0].shape[:-1], sum(value.shape[-1] for value in values))
        return values[0].trace.add("Concat", values, shape, axis=len(shape) - 1)

    @staticmethod
    def clip(values: Node, low: float, high: float) -> Node:
        """Return values held to [low, high]."""
        return values.trace.add("Clip", [values, np.float32(low), np.float32(high)], values.shape)

    @staticmethod
    def where(condition: Node, first: Any, second: Any) -> Node:
        """Return `first` where the condition holds, else `second`."""
        shape = np.broadcast_shapes(condition.shape, np.shape(first), np.shape(second))
        return condition.trace.add("Where", [condition, first, second], shape, first.dtype)

    @staticmethod
    def sqrt(values: Node) -> Node:
        """Return square roots."""
        return values.trace.add("Sqrt", [values], values.shape)

    @staticmethod
    def sin(values: Node) -> Node:
        """Return sines."""
        return values.trace.add("Sin", [values], values.shape)

    @staticmethod
    def cos(values: Node) -> Node:
        """Return cosines."""
        return values.trace.add("Cos", [values], values.shape)

    @staticmethod
    def atan(values: Node) -> Node:
        """Return arctangents of values from -0.6 to 0.6."""
        square = values * values
        sums = square * _ATAN[-1] + _ATAN[-2]
        for factor in _ATAN[-3::-1]:
            sums = sums * square + factor
        return sums * values


def matching_graph(spec: MatchingSpec, bank: Bank) -> onnx.ModelProto:
    """Return matching as a graph.

    The bank's arrays are inputs, so that one graph serves a package before and after enrolment.

    | input | |
    |---|---|
    | `frames` | (batch, height, width, 3) uint8 BGR |
    | `score` | (batch, classes) float32, the network's |
    | `bank.FIELD` | each array of `matching.bank.FIELDS`, of any number of references and classes |

    | output | |
    |---|---|
    | `classes` | (batch, finalists) int64, see `Matches` |
    | `agreement` | (batch, finalists) float32 |
    | `references` | (batch, finalists) int64 |
    | `poses` | (batch, finalists, 5) float32: x, y, angle, shear, stretch |

    The graph fixes the counts of candidates and finalists, and the most references of a class. Trace again:

    - if a bank with fewer parts than `by_thumbnail`, `by_network` or `finalists` gets more of them;
    - if a bank shrinks below one of these counts;
    - if the most references of a class change.

    Args:
        spec: how frames are compared.
        bank: of references.
    """
    trace = Trace()
    frames = trace.input(FRAMES, np.uint8, (FRAMES_TRACED, *spec.size_hw, 3), {0: BATCH})
    score = trace.input(SCORE, np.float32, (FRAMES_TRACED, bank.classes), {0: BATCH, 1: _CLASSES})
    arrays = {
        name: trace.input(bank_name(name), values.dtype, values.shape, {0: _axis(name)})
        for name, values in arrays_of(bank).items()
    }
    matches = trace_matching(frames, score, Bank(records=None, **arrays), spec)
    trace.output(CLASSES, matches.classes)
    trace.output(AGREEMENT, matches.agreement)
    trace.output(REFERENCES, matches.references)
    trace.output(POSES, GraphOperations.stack(matches.poses.values))
    return trace.model


def trace_matching(frames: Node, score: Node, bank: Bank, spec: MatchingSpec) -> Matches:
    """Append matching to a graph, see `match`; the bank's arrays are nodes."""
    operations: Any = GraphOperations()
    return match(frames, score, bank, spec, operations)


def bank_name(name: str) -> str:
    """Return the name of a bank's array in a graph."""
    return f"bank.{name}"


def arrays_of(bank: Bank) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a bank by name."""
    return {name: np.asarray(getattr(bank, name)) for name in FIELDS}


def _axis(name: str) -> str:
    return _CLASSES if name == "references_of" else _REFERENCES


def _integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), np.int64)


def _full_keys(key: Any, axes: int) -> list[Any]:
    """Return an index with a slice in place of an ellipsis and of each axis that it leaves out."""
    keys = list(key) if isinstance(key, tuple) else [key]
    place = next((place for place, item in enumerate(keys) if item is Ellipsis), len(keys))
    missing = axes - sum(item is not None and item is not Ellipsis for item in keys)
    return [*keys[:place], *[slice(None)] * missing, *keys[place + 1 :]]


def _rows(table: Node, index: Node) -> Node:
    return table.trace.add("Gather", [table, index], (*index.shape, *table.shape[1:]), axis=0)


def _convolved(images: Node, kernels: FloatArray, group: int) -> Node:
    """Filter images with kernels, (channels out, channels in of a group, height, width), without a border."""
    (frames, _, height, width), (channels, _, rows, columns) = images.shape, kernels.shape
    shape = frames, channels, height - rows + 1, width - columns + 1
    return images.trace.add("Conv", [images, kernels], shape, kernel_shape=(rows, columns), group=group)


def _pooled(images: Node, size: int, step: int) -> Node:
    """Return means of size × size values that lie inside, `step` apart."""
    frames, channels, height, width = images.shape
    shape = frames, channels, (height - size) // step + 1, (width - size) // step + 1
    return images.trace.add("AveragePool", [images], shape, kernel_shape=(size, size), strides=(step, step))


def _spread(of_column: Node, of_row: Node, size: int) -> Node:
    """Return where points lie along an axis of `size` pixels, in [-1, 1], no farther out than the outermost pixels."""
    of_column, of_row = of_column * (2 / size) + (1 / size - 1), of_row * (2 / size)
    return GraphOperations.clip(of_column[:, :, None, :] + of_row[:, :, :, None], 1 / size - 1, 1 - 1 / size)
