import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from partsight.runtime.core.errors import DependencyError, PackageError, ProviderError
from partsight.runtime.inference.onnx_runtime import import_onnxruntime
from partsight.runtime.inference.prototype_search import PrototypeSearch
from partsight.runtime.inference.providers import PROVIDERS, find_provider
from partsight.runtime.inference.session import Session
from partsight.runtime.inference.settings import EngineSettings, ModelSettings
from partsight.runtime.package.digest import DIGEST_KEY
from partsight.runtime.package.manifest import METADATA_KEY
from tests.tiny import COLOURS_BGR, SIDE_PX, searched, solid, tiny_manifest, tiny_model, tiny_prototypes

has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def altered(change: Callable[[onnx.GraphProto], object]) -> bytes:
    """The tiny model with its graph changed."""
    model = onnx.load_from_string(tiny_model())
    change(model.graph)
    return bytes(model.SerializeToString())


def test_facts_of_the_model() -> None:
    session = Session(tiny_model())
    assert session.input_hw == (SIDE_PX, SIDE_PX)
    assert (session.classes, session.embedding_size) == (len(COLOURS_BGR), 3)
    assert session.metadata.keys() == {METADATA_KEY, DIGEST_KEY}
    assert session.metadata[METADATA_KEY] == tiny_manifest().to_json().decode()
    assert session.provider is PROVIDERS["cpu"]


@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize("threads", [None, 1])
def test_run(batch: int, threads: int | None) -> None:
    frames = np.stack([solid("red", SIDE_PX, SIDE_PX)] * batch)
    inference = Session(tiny_model(), settings=ModelSettings(engine=EngineSettings(threads=threads))).run(frames)
    assert inference.score.shape == (batch, len(COLOURS_BGR))
    assert inference.embedding.shape == (batch, 3)
    assert inference.score.dtype == inference.embedding.dtype == np.float32
    np.testing.assert_allclose(inference.embedding, [[-(3**-0.5), -(3**-0.5), 3**-0.5]] * batch, rtol=1e-6)
    assert (inference.score.argmax(axis=1) == list(COLOURS_BGR).index("red")).all()


@pytest.mark.parametrize("name", ["tpu", "", "CPU", "CPUExecutionProvider"])
def test_unknown_provider(name: str) -> None:
    with pytest.raises(ProviderError, match=f"'{name}'.* cpu, openvino, cuda, tensorrt"):
        find_provider(name)
    with pytest.raises(ProviderError, match=f"'{name}'"):
        Session(tiny_model(), name)


@pytest.mark.skipif(has_cuda, reason="this ONNX Runtime was built with CUDA")
def test_cuda_without_it() -> None:
    with pytest.raises(ProviderError) as caught:
        Session(tiny_model(), "cuda")
    data = (
        "'cuda'",
        onnxruntime.__version__,
        "CPUExecutionProvider",
        "pip install 'partsight[gpu]'",
        "partsight doctor",
    )
    assert [datum for datum in data if datum not in str(caught.value)] == []


class _SilentFallback:
    """The session that ONNX Runtime returns when it cannot load CUDA's libraries."""

    def __init__(self, _: bytes, options: Any, providers: list[tuple[str, dict[str, str]]], **others: int) -> None:
        self.entry = options.get_session_config_entry("session.disable_cpu_ep_fallback")
        self.asked, self.enable_fallback = providers, others["enable_fallback"]
        created.append(self)

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


created: list[_SilentFallback] = []


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, session: object) -> None:
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def test_a_provider_that_comes_up_as_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, _SilentFallback)
    with pytest.raises(ProviderError, match=r"'cuda'.*CPUExecutionProvider.*partsight\[gpu"):
        Session(tiny_model(), "cuda")
    session = created.pop()
    assert session.entry == "1"
    assert [name for name, _ in session.asked] == ["CUDAExecutionProvider"]
    assert session.enable_fallback == 0


def test_a_failing_provider_names_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("libcudnn.so.9: cannot open shared object file")

    pretend_cuda(monkeypatch, fail)
    with pytest.raises(ProviderError, match=r"libcudnn.so.9: cannot open .*pip install 'partsight\[gpu\]'"):
        Session(tiny_model(), "cuda")


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match=r"pip install 'partsight\[cpu\]' \(or .*\[gpu\]"):
        import_onnxruntime()
    with pytest.raises(DependencyError, match=r"partsight\[cpu\]"):
        Session(tiny_model())


DAMAGED = {
    "empty": b"",
    "text": b"this is no model",
    "half": tiny_model()[: len(tiny_model()) // 2],
    "zeros": bytes(1000),
    "unknown operator": altered(lambda graph: setattr(graph.node[0], "op_type", "NoSuchOperator")),
    "loose end": altered(lambda graph: graph.node.pop(0)),
}


@pytest.mark.parametrize("model", DAMAGED.values(), ids=DAMAGED)
def test_damaged_models(model: bytes) -> None:
    with pytest.raises(PackageError):
        Session(model)


def put_behind(graph: onnx.GraphProto, op_type: str, constant: np.ndarray, **attributes: int) -> None:
    """Let the scores go through one more node, and leave the declared shape as it was."""
    rename_tensor(graph, "score", "plain")
    graph.initializer.append(numpy_helper.from_array(constant, "constant"))
    graph.node.append(helper.make_node(op_type, ["plain", "constant"], ["score"], **attributes))


def rename_tensor(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.output[:] = [new if name == old else name for name in node.output]


def test_scores_of_another_shape_than_the_model_declares() -> None:
    """ONNX Runtime only warns of them; each score would get the label of another."""
    every_second = np.array([False, True] * 3)
    session = Session(altered(lambda graph: put_behind(graph, "Compress", every_second, axis=1)))
    with pytest.raises(PackageError, match=r"\(2, 3\).*\(2, 6\)"):
        session.run(np.zeros((2, SIDE_PX, SIDE_PX, 3), np.uint8))


def test_a_model_that_cannot_be_run() -> None:
    session = Session(altered(lambda graph: put_behind(graph, "Gather", np.full(6, 100), axis=1)))
    with pytest.raises(ProviderError, match=r"provider cpu .* 3 frames"):
        session.run(np.zeros((3, SIDE_PX, SIDE_PX, 3), np.uint8))


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_text_that_is_no_utf8(provider: str, capfd: pytest.CaptureFixture[str]) -> None:
    key = METADATA_KEY.encode()
    for model in (
        tiny_model().replace(key, b"\xff" * len(key)),
        tiny_model().replace(b"tiny", b"t\xffny"),
        tiny_model().replace(b"embedding", b"\xffmbedding"),
    ):
        with contextlib.suppress(PackageError):
            Session(model, provider)
    assert capfd.readouterr().out == ""  # where results go


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = new if value.name == old else value.name


def set_dim(value: onnx.ValueInfoProto, axis: int, size: int | str) -> None:
    dim = value.type.tensor_type.shape.dim[axis]
    if isinstance(size, int):
        dim.dim_value = size
    else:
        dim.dim_param = size


def convert_output(graph: onnx.GraphProto, kind: int) -> None:
    """Make `score` come in another type."""
    graph.node[-1].output[0] = "score_float"
    graph.node.append(onnx.helper.make_node("Cast", ["score_float"], ["score"], to=kind))
    graph.output[0].type.tensor_type.elem_type = kind


def sum_output(graph: onnx.GraphProto) -> None:
    """Make `score` one number for the whole batch."""
    graph.node[-1].output[0] = "scores"
    graph.node.append(onnx.helper.make_node("ReduceSum", ["scores"], ["score"], keepdims=0))
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, []))


def take_float_input(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


WRONG_CONTRACTS = {
    "input name": (lambda graph: rename(graph, "image_bgr", "image_rgb"), "image_rgb"),
    "score name": (lambda graph: rename(graph, "score", "probability"), "probability"),
    "no embedding": (lambda graph: graph.output.pop(1), r"outputs score"),
    "float input": (take_float_input, r"image_bgr float32"),
    "second input": (
        lambda graph: graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1])),
        "more",
    ),
    "one channel": (lambda graph: set_dim(graph.input[0], 3, 1), "1"),
    "score of another type": (lambda graph: convert_output(graph, onnx.TensorProto.DOUBLE), r"tensor\(double\)"),
    "score for the whole batch": (sum_output, r"score float32 \(\)"),
    "any height": (lambda graph: set_dim(graph.input[0], 1, "height"), "height"),
    "any width": (lambda graph: set_dim(graph.input[0], 2, "width"), "width"),
    "batch of one": (lambda graph: [set_dim(value, 0, 1) for value in (*graph.input, *graph.output)], "1"),
}


@pytest.mark.parametrize(("change", "named"), WRONG_CONTRACTS.values(), ids=WRONG_CONTRACTS)
def test_models_of_another_contract(change: Callable[[onnx.GraphProto], object], named: str) -> None:
    with pytest.raises(PackageError, match=f"(?s){named}.*expected"):
        Session(altered(change))


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_search_gives_the_scores_of_a_model_of_bounds(provider: str, is_plain: bool) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    frames = np.stack([solid(colour, SIDE_PX, SIDE_PX) for colour in COLOURS_BGR])
    whole = Session(tiny_model(), provider).run(frames)
    session = Session(searched(tiny_model()), provider, search=PrototypeSearch(tiny_prototypes(), is_plain=is_plain))
    assert (session.classes, session.embedding_size) == (len(COLOURS_BGR), 3)
    for _ in range(2):  # the search changes the first run's arrays, which the next run must not see
        found = session.run(frames)
        np.testing.assert_array_equal(found.embedding, whole.embedding)
        np.testing.assert_allclose(found.score, whole.score, atol=1e-6)


class SlackOf(PrototypeSearch):
    """A search that notes the slack that its session allows for."""

    slack: float = 0

    def score(self, bound: np.ndarray, embedding: np.ndarray, slack: float = 0) -> np.ndarray:
        self.slack = slack
        return super().score(bound, embedding, slack)


@pytest.mark.parametrize(("on_card", "slack"), [(False, 1e-5), (True, 1e-2)])
def test_rounding_of_bounds_on_a_card(monkeypatch: pytest.MonkeyPatch, on_card: bool, slack: float) -> None:
    """A card may multiply in TF32."""
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], on_card=on_card))
    search = SlackOf(tiny_prototypes())
    Session(searched(tiny_model()), search=search).run(np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8))
    assert search.slack == slack


def test_a_model_of_bounds_needs_its_package() -> None:
    with pytest.raises(PackageError, match="folder"):
        Session(searched(tiny_model()))


@pytest.mark.parametrize("prototypes", [np.zeros((6, 4), np.float32), np.zeros((5, 3), np.float32)])
def test_a_search_of_other_prototypes(prototypes: np.ndarray) -> None:
    with pytest.raises(PackageError, match=rf"6 .* 3, .*\({prototypes.shape[0]}, {prototypes.shape[1]}\)"):
        Session(searched(tiny_model()), search=PrototypeSearch(prototypes))


def test_a_search_for_a_model_of_scores() -> None:
    with pytest.raises(PackageError, match=r"score.*expected .*bound float32"):
        Session(tiny_model(), search=PrototypeSearch(tiny_prototypes()))
