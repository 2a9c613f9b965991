"""Partsight refuses models that name other files anywhere, and models that harm an engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import Descriptor
from onnx import TensorProto, helper, numpy_helper

from partsight.runtime import ModelPackage, PackageError, Recognizer
from partsight.runtime.package.onnx_file import CHILDREN, check_onnx
from tests.runtime.enrolment.enrolling import rewrite_model
from tests.tiny import tiny_model, write_tiny_package

NAMES = {
    "ModelProto": "model",
    "TrainingInfoProto": "training",
    "FunctionProto": "function",
    "GraphProto": "graph",
    "NodeProto": "node",
    "AttributeProto": "attribute",
    "SparseTensorProto": "sparse",
    "TensorProto": "tensor",
}


def outside() -> TensorProto:
    """A tensor whose numbers lie in a file."""
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[3, 6])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def constant(**attribute: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **attribute)


def graph(*nodes: onnx.NodeProto, initializer: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, "inner", [], [], initializer)


def sparse(values: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, dims=[3])


def named(name: str, **fields: Any) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=name, **fields)


def with_node(attribute: onnx.AttributeProto) -> Callable[[onnx.ModelProto], object]:
    return lambda model: model.graph.node.add(op_type="Relu", input=["x"], attribute=[attribute])


PLACES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "initializer": lambda model: model.graph.initializer.append(outside()),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(sparse(outside())),
    "sparse indices": lambda model: model.graph.sparse_initializer.add().indices.CopyFrom(outside()),
    "constant": lambda model: model.graph.node.append(constant(value=outside())),
    "tensors": with_node(named("x", tensors=[outside()])),
    "sparse tensor": with_node(named("x", sparse_tensor=sparse(outside()))),
    "sparse tensors": with_node(named("x", sparse_tensors=[sparse(outside())])),
    "branch": with_node(named("x", g=graph(constant(value=outside())))),
    "branches": with_node(named("x", graphs=[graph(initializer=(outside(),))])),
    "function": lambda model: model.functions.add().node.append(constant(value=outside())),
    "default of a function": lambda model: model.functions.add().attribute_proto.append(named("x", t=outside())),
    "training": lambda model: model.training_info.add().algorithm.CopyFrom(graph(initializer=(outside(),))),
    "start of training": lambda model: model.training_info.add().initialization.CopyFrom(
        graph(initializer=(outside(),))
    ),
    "compiled": lambda model: model.graph.node.add(op_type="EPContext", domain="com.microsoft"),
    "location alone": lambda model: setattr(model.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
    "path alone": lambda model: model.graph.initializer[0].external_data.add(key="location", value="x"),
}


def test_a_whole_model_is_taken() -> None:
    check_onnx(tiny_model(), "here")
    model = onnx.load_from_string(tiny_model())
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    model.graph.node.append(constant(value=numpy_helper.from_array(np.ones(3, np.float32))))
    check_onnx(model.SerializeToString(), "here")


@pytest.mark.parametrize("change", PLACES.values(), ids=PLACES)
def test_a_file_is_named(change: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load_from_string(tiny_model())
    change(model)
    with pytest.raises(PackageError, match=r"^here: .*another file"):
        check_onnx(model.SerializeToString(), "here")


def test_every_way_of_the_format_to_a_tensor_or_a_node_is_followed() -> None:
    """Return the fields of onnx.proto, at any depth, that hold such a message."""

    def leads_on(message: Descriptor, seen: frozenset[str] = frozenset()) -> bool:
        if message.name in ("TensorProto", "NodeProto"):
            return True
        inner = [
            field.message_type for field in message.fields if field.message_type and field.message_type.name not in seen
        ]
        return any(leads_on(child, seen | {message.name}) for child in inner)

    found, waiting = {}, [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        fields = [field for field in message.fields if field.message_type and leads_on(field.message_type)]
        found[NAMES[message.name]] = {field.number: NAMES[field.message_type.name] for field in fields}
        waiting += [field.message_type for field in fields if NAMES[field.message_type.name] not in found]
    assert found == CHILDREN


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 20,
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x0b",
        b"\x3a\x05ab",
        tiny_model()[:-3],
        b"<net name='x'/>",
        b"\x09ab",
    ],
    ids=range(7),
)
def test_what_is_no_onnx_file(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^here: .*ONNX"):
        check_onnx(data, "here")


def with_inputs(op_type: str, *inputs: str) -> bytes:
    model = onnx.load_from_string(tiny_model())
    model.graph.node.append(helper.make_node(op_type, inputs, ["y"]))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("Conv", ("score",)),
        ("Pad", ("score",)),
        ("Pad", ("score", "")),
        ("Clip", ("", "score")),
        ("Max", ()),
        ("Max", ("score", "")),
        ("LayerNormalization", ("score", "grey", "")),
    ],
)
def test_a_node_without_its_inputs(op_type: str, inputs: tuple[str, ...]) -> None:
    """OpenVINO's reader or ONNX Runtime ends the process (SIGSEGV) at each of these."""
    with pytest.raises(PackageError, match=rf"^here: .*b'{op_type}' .*[1-3] inputs"):
        check_onnx(with_inputs(op_type, *inputs), "here")


@pytest.mark.parametrize(
    ("op_type", "inputs"), [("Conv", ("score", "weights")), ("Clip", ("score", "", "grey")), ("Constant", ())]
)
def test_a_node_with_its_inputs(op_type: str, inputs: tuple[str, ...]) -> None:
    check_onnx(with_inputs(op_type, *inputs), "here")


@pytest.mark.parametrize(("index", "name"), [(1, "mean"), (2, "score"), (1, "colour")])
def test_a_node_that_waits_for_itself(index: int, name: str) -> None:
    """OpenVINO's reader goes around until the memory is used up."""
    model = onnx.load_from_string(tiny_model())
    model.graph.node[index].input[0] = name
    with pytest.raises(PackageError, match=r"^here: .*node b'"):
        check_onnx(model.SerializeToString(), "here")


@pytest.mark.parametrize("op_type", ["If", "Loop", "Scan"])
def test_a_loop(op_type: str) -> None:
    with pytest.raises(PackageError, match=f"^here: .*b'{op_type}'"):
        check_onnx(with_inputs(op_type, "score"), "here")


def test_an_operator_that_is_not_of_onnx() -> None:
    model = onnx.load_from_string(tiny_model())
    model.graph.node[0].domain = "com.microsoft"
    with pytest.raises(PackageError, match=r"^here: .*b'Cast' .*b'com\.microsoft'"):
        check_onnx(model.SerializeToString(), "here")
    model.graph.node[0].domain = "ai.onnx"
    check_onnx(model.SerializeToString(), "here")


@pytest.mark.parametrize("version", [-1, 0, 100, 2**31 - 1, 2**63 - 1])
def test_an_operator_set_that_there_is_not(version: int) -> None:
    """OpenVINO counts up to its number."""
    model = onnx.load_from_string(tiny_model())
    model.opset_import[0].version = version
    with pytest.raises(PackageError, match=r"^here: .*operator set \d+.* 99"):
        check_onnx(model.SerializeToString(), "here")


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_weights_of_another_file_are_never_loaded(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both engines would take them from the folder in which the program runs."""
    model = onnx.load_from_string(tiny_model())
    weights = next(item for item in model.graph.initializer if item.name == "weights")
    (tmp_path / "weights.bin").write_bytes(numpy_helper.to_array(weights).tobytes())
    monkeypatch.chdir(tmp_path)
    package = write_tiny_package(tmp_path / "p.partsight")

    def change(model: Any) -> None:
        index = next(index for index, item in enumerate(model.graph.initializer) if item.name == "weights")
        model.graph.initializer[index].CopyFrom(outside())

    rewrite_model(package, change)
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx: "):
        Recognizer(package, provider=provider)
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx: "):
        Recognizer(package / "model.fp32.onnx", provider=provider)
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx: "):
        ModelPackage.read(package).model_bytes("fp32")
