"""A package with prototype search, from a small real run."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from partsight.export import exporter
from partsight.export import search as module
from partsight.export.answers import Decider
from partsight.export.conversion import Converted
from partsight.export.exporter import export
from partsight.export.frames import gate_frames
from partsight.export.gate import PrecisionGate
from partsight.export.precision import Precisions, make_precisions
from partsight.export.search import check_search, principal_directions, replace_head, wants_search
from partsight.runtime import ModelPackage, Recognizer, read_image
from partsight.runtime.core.errors import ExportError
from partsight.runtime.core.npy_file import PROTOTYPE_FILE
from partsight.runtime.enrolment.enrolment import enroll
from partsight.runtime.images.preprocessing import preprocess
from partsight.runtime.inference.prototype_search import PrototypeSearch
from partsight.runtime.inference.session import Session
from partsight.runtime.package.manifest import Decision, Search
from partsight.train.run_folder import RunFolder
from tests.export import nets
from tests.runtime.enrolment.enrolling import picture
from tests.runtime.inference.test_prototype_search import like_real
from tests.tiny import tiny_model

COSINE = Decision("cosine", 0.5, "by hand", 1, 0.0)
PROBABILITY = msgspec.structs.replace(COSINE, score="probability")


@pytest.fixture(scope="module")
def searched(
    small_run: RunFolder, copies: Callable[[object], Converted], tmp_path_factory: pytest.TempPathFactory
) -> ModelPackage:
    """The package of `small_run` with prototype search, as for very many parts."""
    out = tmp_path_factory.mktemp("packages") / "many.partsight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "convert", copies)
        return export(small_run.path, out, precisions=("fp32", "fp16"), search="always", least_agreement=0)


def test_the_package_names_its_search(searched: ModelPackage, package: ModelPackage) -> None:
    assert searched.manifest.search == Search(PROTOTYPE_FILE)
    assert PROTOTYPE_FILE in searched.manifest.files
    assert package.manifest.search is None
    parity = searched.model("fp32").parity
    assert parity is not None
    assert parity.labels_equal == parity.images == len(searched.manifest.labels)
    assert parity.max_score_difference < 1e-4


def test_no_file_holds_the_prototypes_twice(searched: ModelPackage, package: ModelPackage) -> None:
    whole = onnx.load(package.path / "model.fp32.onnx")
    values = onnx.numpy_helper.to_array(whole.graph.initializer[module.find_prototypes(whole.graph) or 0])
    np.testing.assert_array_equal(np.load(searched.path / PROTOTYPE_FILE, allow_pickle=False), values.T)
    for precision in ("fp32", "fp16"):
        model = onnx.load(searched.path / f"model.{precision}.onnx")
        assert [output.name for output in model.graph.output] == ["embedding", "bound"]
        assert values.shape not in [tuple(item.dims) for item in model.graph.initializer]


def test_it_answers_as_the_package_without_a_search(
    searched: ModelPackage, package: ModelPackage, small_run: RunFolder
) -> None:
    images = [read_image(Path(small_run.record.catalog) / golden.file) for golden in small_run.record.goldens]
    with Recognizer(searched.path) as first, Recognizer(package.path) as second:
        assert [part.label for part in first.recognize_batch(images)] == list(small_run.record.labels)
        np.testing.assert_allclose(first.infer(images).score, second.infer(images).score, atol=1e-6)  # of so few, all


def test_a_part_is_enrolled(searched: ModelPackage, tmp_path: Path) -> None:
    image = np.full((120, 120, 3), (30, 200, 90), np.uint8)
    image[20:100, 55:65] = (250, 20, 140)
    enrolled = enroll(
        searched.path, tmp_path / "new.partsight", additions={"new": [picture(tmp_path / "n.png", image)]}
    )
    assert list(enrolled.package.manifest.models) == ["fp32", "fp16"]
    with Recognizer(enrolled.package.path) as recognizer:
        assert recognizer.recognize(image).label == "new"


@pytest.mark.parametrize("dimensions", [1, 8, 15, 16, 100])
def test_the_network_bounds_the_scores(dimensions: int) -> None:
    network = nets.network()
    batch = np.random.default_rng(0).integers(0, 256, (20, nets.SIDE_PX, nets.SIDE_PX, 3), np.uint8)
    expected = Session(network.SerializeToString()).run(batch)
    prototypes = replace_head(network, dimensions)
    np.testing.assert_allclose(expected.embedding @ prototypes.T, expected.score, atol=1e-6)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    bound, embedding = session.run(["bound", "embedding"], {"image_bgr": batch})
    np.testing.assert_allclose(embedding, expected.embedding, atol=1e-6)
    assert (bound >= expected.score - 1e-6).all()
    if dimensions >= nets.CHANNELS:
        np.testing.assert_allclose(bound, expected.score, atol=1e-4)


def test_another_head_is_not_replaced() -> None:
    model = onnx.load_from_string(tiny_model())
    model.graph.node[-1].op_type = "Gemm"
    with pytest.raises(ExportError, match="--search never"):
        replace_head(model)


@pytest.mark.parametrize("classes", [3, 90, 5000])
def test_directions_are_orthonormal_and_the_best(classes: int) -> None:
    prototypes = like_real(np.random.default_rng(classes), classes)
    directions = principal_directions(prototypes, 16)
    np.testing.assert_allclose(directions.T @ directions, np.eye(16), atol=1e-5)
    kept = ((prototypes @ directions) ** 2).sum()
    values = np.linalg.svd(prototypes, compute_uv=False)
    assert kept >= 0.98 * (values[:16] ** 2).sum()


@pytest.mark.parametrize(
    ("when", "decision", "classes", "expected"),
    [
        ("auto", COSINE, 9_999, False),
        ("auto", COSINE, 10_000, True),
        ("auto", PROBABILITY, 100_000, False),
        ("always", COSINE, 2, True),
        ("never", COSINE, 100_000, False),
    ],
)
def test_when_there_is_a_search(when: module.WhenSearch, decision: Decision, classes: int, expected: bool) -> None:
    assert wants_search(when, decision, classes) is expected


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="probability"):
        wants_search("always", PROBABILITY, 10)
    with pytest.raises(ExportError, match=r"'maybe'.*auto, always, never"):
        export(tmp_path, tmp_path / "out", search="maybe")  # type: ignore[arg-type]


def test_a_search_that_misses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nets.network()
    prototypes = replace_head(network, 2)
    batch = preprocess(nets.images(), nets.manifest().preprocess)
    check_search(network.SerializeToString(), prototypes, batch)
    score = PrototypeSearch.score
    monkeypatch.setattr(
        PrototypeSearch, "score", lambda search, *args: score(search, *args) if search.is_plain else args[0]
    )
    with pytest.raises(ExportError):
        check_search(network.SerializeToString(), prototypes, batch)


def test_precisions_of_a_model_that_bounds_scores() -> None:
    """Layers that ruin INT8 among them, which the gate finds by the scores of the search."""
    network = nets.network(uneven=[3])
    frames = gate_frames(nets.images(), nets.manifest().preprocess)

    def made(search: PrototypeSearch | None) -> Precisions:
        gate = PrecisionGate(network, frames, Decider(), search=search)
        return make_precisions(network, nets.manifest(), nets.images(), ["fp16", "int8"], gate)

    expected = made(None)
    found = made(PrototypeSearch(replace_head(network), is_plain=True))
    assert found.refused == expected.refused
    for precision, other in expected.made.items():
        assert [output.name for output in found.made[precision].model.graph.output] == ["embedding", "bound"]
        gate = found.made[precision].gate
        assert (gate.kept, gate.agreement) == (other.gate.kept, other.gate.agreement)
        assert gate.max_score_drift == pytest.approx(other.gate.max_score_drift, abs=1e-5)
