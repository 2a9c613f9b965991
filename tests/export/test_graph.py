"""Reading and changing a graph."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partsight.export.graph import Graph, attribute, set_attribute


def small_model() -> onnx.ModelProto:
    """Return x → Mul → Abs → y, with a Neg, a Mul and an Add whose results nothing needs."""
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Neg", ["x"], ["negative"]),
        helper.make_node("Mul", ["negative", "negative"], ["square"]),
        helper.make_node("Add", ["square", "two"], ["unused"]),
        helper.make_node("Mul", ["x", "half"], ["product"]),
        helper.make_node("Abs", ["product"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "unused_input", "y")]
    tensors = [numpy_helper.from_array(np.float32(0.5), "half"), numpy_helper.from_array(np.float32(1), "unused_value")]
    graph = helper.make_graph(nodes, "small", values[:2], values[2:], tensors)
    graph.value_info.append(helper.make_tensor_value_info("product", TensorProto.FLOAT, [3]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_constants() -> None:
    graph = Graph(small_model())
    assert graph.constant("half") == np.float32(0.5)
    assert graph.constant("two") == np.float32(2)
    for name in ("x", "product", "nowhere", ""):
        assert graph.constant(name) is None


def test_constants_that_are_added() -> None:
    model = small_model()
    values = [np.arange(6, dtype=np.float32).reshape(2, 3).T + index for index in range(4)]
    names = [Graph(model).add_constant(value, "new") for value in values[:2]]
    graph = Graph(model)
    names += [graph.add_constant(value, "new") for value in values[2:]]
    assert len(set(names)) == 4
    stored = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for name, value in zip(names, values, strict=True):
        assert (stored[name] == value).all()
        assert (Graph(model).constant(name) == value).all()
    assert (graph.constant(names[-1]) == values[-1]).all()


def test_a_new_constant_takes_no_name_that_is_in_use() -> None:
    """Also after constants disappear, as between two rounds of folding."""
    model = small_model()
    graph = Graph(model)
    name = graph.add_constant(np.float32(7), "new")
    model.graph.node[4].input[1] = name
    Graph(model).drop_unused()
    for _ in range(5):
        assert Graph(model).add_constant(np.float32(8), "new") != name
    names = [item.name for item in model.graph.initializer]
    assert len(set(names)) == len(names) == 6


def test_who_reads() -> None:
    model = small_model()
    graph = Graph(model)
    assert graph.sole_consumer("product") is graph.nodes[5]
    assert graph.sole_consumer("x") is None  # two nodes
    assert graph.sole_consumer("negative") is None  # one node, twice
    assert graph.sole_consumer("unused") is None  # none
    assert graph.sole_consumer("y") is None
    model.graph.output.append(helper.make_tensor_value_info("product", TensorProto.FLOAT, [None]))
    assert Graph(model).sole_consumer("product") is None  # it leaves the graph


def test_who_makes() -> None:
    graph = Graph(small_model())
    mul, end = graph.nodes[4], graph.nodes[5]
    assert graph.producer["product"] is mul
    assert graph.sole_producer(end, "Mul") is mul
    assert graph.sole_producer(end, "Pad") is None  # another kind
    assert graph.sole_producer(mul, "Neg") is None  # an input of the graph
    assert graph.sole_producer(graph.nodes[2], "Neg") is None  # not for it alone


def test_drop_unused() -> None:
    model = small_model()
    Graph(model).drop_unused()
    assert [node.op_type for node in model.graph.node] == ["Mul", "Abs"]
    assert [item.name for item in model.graph.initializer] == ["half"]
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["y"]
    assert not model.graph.value_info
    onnx.checker.check_model(model, full_check=True)


def test_an_input_that_is_needed_stays() -> None:
    model = small_model()
    model.graph.node[4].input[1] = "unused_input"
    Graph(model).drop_unused()
    assert [value.name for value in model.graph.input] == ["x", "unused_input"]


def test_attributes() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1], auto_pad="VALID")
    assert attribute(node, "group", 1) == 2
    assert attribute(node, "auto_pad", b"NOTSET") == b"VALID"
    assert attribute(node, "strides", [1, 1]) == [1, 1]
    set_attribute(node, "pads", [0, 1, 2, 3])
    set_attribute(node, "strides", [2, 2])
    assert attribute(node, "pads", []) == [0, 1, 2, 3]
    assert attribute(node, "strides", []) == [2, 2]
    assert sorted(item.name for item in node.attribute) == ["auto_pad", "group", "pads", "strides"]
