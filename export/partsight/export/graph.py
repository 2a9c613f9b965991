"""An ONNX graph with access to constants and neighbouring nodes."""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

Array = npt.NDArray[np.float64]


class Graph:
    """View of an ONNX model's graph; changes apply to the model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = model.graph.node
        self._constants = {item.name: item for item in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        self.producer = {name: node for node in self.nodes for name in node.output}
        self._consumers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self._consumers[name].append(node)
        self._outputs = {output.name for output in model.graph.output}

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return a constant's value; None if `name` is not a constant."""
        tensor = self._constants.get(name)
        return None if tensor is None else onnx.numpy_helper.to_array(tensor)

    def add_constant(self, value: npt.NDArray[Any], hint: str) -> str:
        """Store a constant under a new name and return the name."""
        numbered = (f"{hint}_{number}" for number in itertools.count(len(self._constants)))
        name = next(name for name in numbered if name not in self._constants and name not in self.producer)
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.model.graph.initializer.append(tensor)
        self._constants[name] = tensor
        return name

    def sole_consumer(self, name: str) -> Any | None:
        """Return the only node that reads `name`; None if several nodes read it or it is an output of the graph."""
        consumers = self._consumers[name]
        return consumers[0] if len(consumers) == 1 and name not in self._outputs else None

    def sole_producer(self, node: Any, op_type: str) -> Any | None:
        """Return the `op_type` node that computes `node`'s first input; None if another node reads that input too."""
        producer = self.producer.get(node.input[0])
        if producer is None or producer.op_type != op_type or self.sole_consumer(node.input[0]) is not node:
            return None
        return producer

    def drop_unused(self) -> None:
        """Remove nodes, constants and inputs that no output depends on.

        Inputs too: tf2onnx makes an input of each constant of a Keras Normalization layer, even if TensorFlow has
        already replaced it by its value.
        """
        needed = set(self._outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        del self.nodes[:]
        self.nodes.extend(reversed(kept))
        used = [item for item in self.model.graph.initializer if item.name in needed]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(used)
        inputs = [item for item in self.model.graph.input if item.name in needed]
        del self.model.graph.input[:]
        self.model.graph.input.extend(inputs)
        del self.model.graph.value_info[:]


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return a node's attribute; `default` if it is not set."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def set_attribute(node: Any, name: str, value: Any) -> None:
    """Set or replace a node's attribute."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])
