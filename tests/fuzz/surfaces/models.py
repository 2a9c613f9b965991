"""ONNX files: damaged ones, which digest or hash reveals, and hostile ones with valid digest and hashes."""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.package.digest import check_digest, with_digest
from partsight.runtime.package.manifest import Manifest
from partsight.runtime.recognition.recognizer import Recognizer
from tests.fuzz import wild
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, WrongError, check
from tests.tiny import COLOURS_BGR, ONE_THREAD, solid, tiny_model, with_new_digest, write_tiny_package

_SIZES = (-1, 0, 1, 2, 3, 6, 7, 255, 2**15, 2**20, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)


@contextlib.contextmanager
def open_alone(folder: Path) -> Iterator[Case]:
    """A damaged model file without a package: the recogniser must refuse it."""
    whole = tiny_model()
    path = folder / "alone.onnx"

    def case(rng: random.Random) -> None:
        data = damaged(rng, whole, (whole,)) if rng.random() < 0.95 else garbage(rng, 300)
        path.write_bytes(data)
        if data == whole:
            return check_digest(data, "here")
        with Recognizer(path, engine=ONE_THREAD):
            raise WrongError("a damaged file is used")

    yield case


@contextlib.contextmanager
def open_packages(folder: Path) -> Iterator[Case]:
    """A package whose model is damaged: the recogniser must refuse to load it."""
    package = write_tiny_package(folder / "p.partsight")
    path = package / "model.fp32.onnx"
    whole = path.read_bytes()

    def case(rng: random.Random) -> None:
        data = damaged(rng, whole, (whole,))
        path.write_bytes(data)
        with Recognizer(package, engine=ONE_THREAD):
            check(data == whole, "a damaged model is used")

    yield case


def hostile_models(provider: str) -> Callable[[Path], contextlib.AbstractContextManager[Case]]:
    """Return the `open` of an engine's surface: hostile models with valid digest and hashes."""

    @contextlib.contextmanager
    def open_hostile(folder: Path) -> Iterator[Case]:
        package = write_tiny_package(folder / "p.partsight")
        manifest = Manifest.from_json((package / "manifest.json").read_bytes(), "tiny")
        whole = tiny_model()
        frames = [solid(colour) for colour in (*COLOURS_BGR, (9, 9, 9))]

        def case(rng: random.Random) -> None:
            data = hostile_model(rng, whole)
            (package / "model.fp32.onnx").write_bytes(data)
            models = {"fp32": msgspec.structs.replace(manifest.models["fp32"], sha256=sha256_bytes(data))}
            (package / "manifest.json").write_bytes(msgspec.structs.replace(manifest, models=models).to_json())
            with Recognizer(package, provider=provider, engine=ONE_THREAD, batch_size=4) as recognizer:
                for answer in recognizer.recognize_batch(frames):
                    check(answer.label is None or answer.label in COLOURS_BGR, "a label that was never taught")
                    check(not answer.accepted or answer.score >= recognizer.threshold, "accepted below the threshold")

        yield case

    return open_hostile


def hostile_model(rng: random.Random, whole: bytes) -> bytes:
    """Return a damaged, altered or harmful model with a valid digest."""
    if rng.random() < 0.35:
        data = damaged(rng, whole, (whole,))
        return with_digest(_nested(rng, data) if rng.random() < 0.1 else data)
    model = onnx.load_from_string(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_CHANGES)(rng, model)
    try:
        return with_new_digest(model)
    except ValueError:  # a text without a UTF-8 form
        return whole


def _change_op(rng: random.Random, model: onnx.ModelProto) -> None:
    kinds = (
        "Loop If Scan Reshape Tile Expand Conv Gemm Gather Concat Slice Resize Pad TopK NonZero EPContext X Div Pow Mod"
    )
    rng.choice(model.graph.node).op_type = rng.choice(kinds.split())


def _change_domain(rng: random.Random, model: onnx.ModelProto) -> None:
    rng.choice(model.graph.node).domain = rng.choice(("com.microsoft", "ai.onnx.ml", "x", "ai.onnx.training"))


def _change_link(rng: random.Random, model: onnx.ModelProto) -> None:
    node, other = rng.choice(model.graph.node), rng.choice(model.graph.node)
    names = rng.choice((node.input, node.output))
    if names:
        names[rng.randrange(len(names))] = rng.choice((*other.output, *other.input, "", "x"))


def _change_attribute(rng: random.Random, model: onnx.ModelProto) -> None:
    node = rng.choice(model.graph.node)
    name = rng.choice(("axis", "axes", "to", "keepdims", "perm", "pads", "kernel_shape", "strides", "group", "value"))
    value: object = rng.choice(
        (rng.choice(_SIZES), [rng.choice(_SIZES) for _ in range(rng.randint(1, 4))], 1e30, "x", b"\xff")
    )
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _change_weight(rng: random.Random, model: onnx.ModelProto) -> None:
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    style = rng.randrange(5)
    if style == 0:
        tensor.raw_data = damaged(rng, tensor.raw_data)
    elif style == 1:
        tensor.dims[:] = [rng.choice(_SIZES) for _ in range(rng.randint(0, 4))]
    elif style == 2:
        tensor.data_type = rng.choice((0, 1, 2, 3, 7, 8, 9, 10, 11, 16, 17, 23, 99))
    elif style == 3:
        odd = np.array([np.nan, np.inf, -np.inf, 3e38, 1e-45], np.float32)
        values = np.frombuffer(tensor.raw_data[: len(tensor.raw_data) // 4 * 4] or bytes(4), np.float32).copy()
        values[rng.randrange(len(values)) :] = odd[rng.randrange(5)]
        tensor.raw_data = values.tobytes()
    else:
        tensor.name = rng.choice(("", "x", "score", "image_bgr"))


def _change_shape(rng: random.Random, model: onnx.ModelProto) -> None:
    value = rng.choice((*model.graph.input, *model.graph.output))
    dims = value.type.tensor_type.shape.dim
    style = rng.randrange(4)
    if style == 0 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(_SIZES)
    elif style == 1 and dims:
        dims[rng.randrange(len(dims))].dim_param = wild.text(rng, 6, surrogates=False)
    elif style == 2:
        value.type.tensor_type.elem_type = rng.choice((0, 1, 2, 3, 7, 8, 9, 10, 11, 16, 99))
    else:
        value.name = rng.choice(("image_bgr", "score", "embedding", "bound", "", "x"))


def _point_outside(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", rng.choice(("weights.bin", "../weights.bin", "/dev/zero", "/etc/passwd", "C:\\x", "\0", ""))),
        ("offset", str(rng.choice(_SIZES))),
        ("length", str(rng.choice(_SIZES))),
    ):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _make_huge(rng: random.Random, model: onnx.ModelProto) -> None:
    """Let one node request more memory than any machine has; a smaller request is merely slow."""
    graph = model.graph
    size = rng.choice((2**40, 2**48, 2**62))
    graph.initializer.append(numpy_helper.from_array(np.array([size], np.int64), "size"))
    graph.initializer.append(numpy_helper.from_array(np.array([1, size], np.int64), "sizes"))
    kinds: tuple[tuple[str, list[str], dict[str, object]], ...] = (
        ("ConstantOfShape", ["size"], {}),
        ("Expand", ["grey", "sizes"], {}),
        ("Tile", ["mean", "sizes"], {}),
        ("OneHot", ["size", "size", "weights"], {}),
    )
    kind, inputs, attributes = rng.choice(kinds)
    graph.node.insert(2, helper.make_node(kind, inputs, ["huge"], **attributes))
    graph.node.insert(3, helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0))
    graph.node.insert(4, helper.make_node("Cast", ["sum"], ["sum_float"], to=TensorProto.FLOAT))
    graph.node[5].input[0] = "shifted"
    graph.node.insert(5, helper.make_node("Add", ["mean", "sum_float"], ["shifted"]))


def _nested(rng: random.Random, model: bytes) -> bytes:
    """Nest graphs in graphs, as bytes, because the package `onnx` refuses to build so many."""
    data = b""
    for _ in range(rng.choice((1, 20, 45, 90, 400, 10_000))):
        for field in (0x2A, 0x0A, 0x32):  # attribute of a node, node of a graph, graph of an attribute
            data = bytes([field]) + _varint(len(data)) + data
        if len(data) > 30_000:
            break
    graph = b"\x0a" + _varint(len(data)) + data
    return model + b"\x3a" + _varint(len(graph)) + graph


def _varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def _add_text(rng: random.Random, model: onnx.ModelProto) -> None:
    """Add long texts and lists, or invalid text."""
    style = rng.randrange(5)
    if style == 0:
        helper.set_model_props(model, {f"key{index}": "x" * 100 for index in range(2000)})
    elif style == 1 and model.opset_import:
        model.opset_import[0].version = rng.choice(_SIZES)
    elif style == 2:
        model.ir_version = rng.choice(_SIZES)
    elif style == 3:
        model.graph.node.extend([model.graph.node[0]] * 2000)
    else:
        model.graph.node[0].name = wild.text(rng, surrogates=False)


def _drop(rng: random.Random, model: onnx.ModelProto) -> None:
    group = rng.choice(
        (model.graph.node, model.graph.initializer, model.graph.input, model.graph.output, model.opset_import)
    )
    if group:
        del group[rng.randrange(len(group))]


_CHANGES = (
    _change_op, _change_domain, _change_link, _change_attribute, _change_attribute, _change_weight, _change_weight,
    _change_shape, _change_shape, _point_outside, _make_huge, _add_text, _drop,
)  # fmt: skip
