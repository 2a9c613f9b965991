"""Precisions: layers that stay FP32 to pass the gate, refused precisions, and packages with several."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from partsight.export import exporter
from partsight.export.answers import Decider
from partsight.export.bundle import bundle
from partsight.export.conversion import Converted
from partsight.export.exporter import export
from partsight.export.frames import gate_frames
from partsight.export.gate import PrecisionGate
from partsight.export.precision import Precisions, make_precisions
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.core.errors import ExportError, PackageError
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.enrolment.enrolment import enroll
from partsight.runtime.package.manifest import METADATA_KEY, Manifest
from partsight.train.run_folder import RunFolder
from tests.export import nets
from tests.export.test_bundle import compare, shown


def make(model: onnx.ModelProto, *wanted: str) -> Precisions:
    images, manifest = nets.images(), nets.manifest()
    gate = PrecisionGate(model, gate_frames(images, manifest.preprocess), Decider())
    return make_precisions(model, manifest, images, wanted, gate)


def test_an_even_network_passes_whole() -> None:
    fp32 = nets.network()
    before = fp32.SerializeToString(deterministic=True)
    found = make(fp32, "fp32", "fp16", "int8")
    assert fp32.SerializeToString(deterministic=True) == before
    assert (list(found.made), found.refused) == (["fp16", "int8"], {})
    for made in found.made.values():
        gate = made.gate
        assert (gate.images, gate.varied, gate.agreement, gate.varied_agreement) == (nets.PARTS, nets.PARTS, 1, 1)
        assert 0 < gate.mean_score_drift < gate.max_score_drift < 0.5
        assert gate.kept == ()
        assert gate.in_shortlist is None
    assert found.made["fp16"].gate.calibration_frames == 0
    assert found.made["int8"].gate.calibration_frames > nets.PARTS
    assert found.made["fp16"].gate.max_score_drift < found.made["int8"].gate.mean_score_drift


def test_layers_that_ruin_int8_are_found_and_stay_fp32() -> None:
    found = make(nets.network(uneven=[3]), "int8")
    assert not found.refused
    gate = found.made["int8"].gate
    model = found.made["int8"].model
    kept = {name for node in model.graph.node if node.name in gate.kept for name in node.output}
    assert kept == {"conv3", "relu3", "conv4", "relu4"}
    types = {item.name: item.data_type for item in model.graph.initializer}
    assert types["kernel3"] == types["kernel4"] == onnx.TensorProto.FLOAT
    assert types["kernel5_quantized"] == onnx.TensorProto.INT8
    assert gate.agreement == gate.varied_agreement == 1


def test_a_hopeless_network_is_refused() -> None:
    found = make(nets.network(uneven=range(nets.DEPTH - 1)), "int8")
    assert not found.made
    assert "expected 99.9 % of each" in found.refused["int8"]
    assert f"of {nets.PARTS} golden images" in found.refused["int8"]
    assert found.refused["int8"].startswith("with the 25% of its layers that lose most kept in FP32, the answer is")


def test_fp16_keeps_what_does_not_fit() -> None:
    found = make(nets.network(uneven=[3]), "fp16")
    kept = found.made["fp16"].gate.kept
    kernels = {item.name: item.data_type for item in found.made["fp16"].model.graph.initializer}
    assert len(kept) == 3
    assert kernels["kernel4"] == onnx.TensorProto.FLOAT
    assert kernels["kernel5_half"] == onnx.TensorProto.FLOAT16


def test_what_is_not_asked_for_is_not_made() -> None:
    assert make(nets.network(), "fp32") == Precisions()
    assert list(make(nets.network(), "fp16").made) == ["fp16"]


@pytest.fixture(scope="module")
def whole(
    small_run: RunFolder, copies: Callable[[object], Converted], tmp_path_factory: pytest.TempPathFactory
) -> ModelPackage:
    """A package with every precision: the gate requires no equal answer, so all pass."""
    out = tmp_path_factory.mktemp("precisions") / "line.partsight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "convert", copies)
        return export(small_run.path, out, least_agreement=0)


def test_every_precision_is_in_the_package(whole: ModelPackage, small_run: RunFolder) -> None:
    whole.check_hashes()
    assert list(whole.manifest.models) == list(exporter.PRECISIONS)
    assert not whole.manifest.refused
    fp32, fp16, int8 = (whole.model(precision) for precision in exporter.PRECISIONS)
    assert fp32.parity is not None
    assert fp32.gate is fp16.parity is int8.parity is None
    sizes = [len(whole.model_bytes(precision)) for precision in exporter.PRECISIONS]
    assert sizes[1] < 0.75 * sizes[0]
    assert sizes[2] < 0.5 * sizes[0]
    parts = len(small_run.record.labels)
    for model in (fp16, int8):
        assert model.gate is not None
        assert (model.gate.images, model.gate.varied, model.gate.least_agreement) == (parts, parts, 0)
        assert model.gate.agreement >= 0.75
        assert model.gate.in_shortlist == 1
    report = (whole.path / "report.html").read_text(encoding="utf-8")
    assert "Which precisions may the line use?" in report
    assert "May be used" in report


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_file_alone_can_be_used(whole: ModelPackage, small_run: RunFolder, precision: str) -> None:
    path = whole.path / f"model.{precision}.onnx"
    (text,) = [item.value for item in onnx.load(path).metadata_props if item.key == METADATA_KEY]
    assert Manifest.from_json(text.encode(), "metadata") == whole.manifest.without_files()
    with Recognizer(path) as recognizer:
        assert recognizer.manifest.labels == small_run.record.labels


def test_a_bundle_has_the_network_of_its_precision(whole: ModelPackage, example_parts: Path, tmp_path: Path) -> None:
    made = bundle(whole.path, tmp_path / "int8.onnx", precision="int8")
    assert any(node.op_type == "DequantizeLinear" for node in onnx.load(made.path).graph.node)
    compare(made.path, whole, shown(whole, example_parts), precision="int8")
    half = bundle(whole.path, tmp_path / "fp16.onnx", precision="fp16").path
    assert half.stat().st_size < bundle(whole.path, tmp_path / "fp32.onnx").path.stat().st_size - 5e6
    frames = np.zeros((2, 192, 192, 3), np.uint8)
    accepted = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"]).run(
        ["accepted"], {"image_bgr": frames}
    )
    assert accepted[0].tolist() == [False, False]


def test_enrolment_edits_the_prototypes_of_every_file(
    whole: ModelPackage, small_run: RunFolder, tmp_path: Path
) -> None:
    new = Path(small_run.record.catalog) / small_run.record.goldens[0].file
    gone = small_run.record.labels[0]
    enrolled = enroll(whole.path, tmp_path / "next.partsight", additions={"new": [new]}, removals=[gone]).package
    enrolled.check_hashes()
    for precision in exporter.PRECISIONS:
        before, after = (onnx.load(package.path / f"model.{precision}.onnx") for package in (whole, enrolled))
        assert [node.SerializeToString() for node in before.graph.node] == [
            node.SerializeToString() for node in after.graph.node
        ]
        changed = [
            first.name
            for first, second in zip(before.graph.initializer, after.graph.initializer, strict=True)
            if first.SerializeToString() != second.SerializeToString()
        ]
        assert changed == [before.graph.node[-1].input[1]]
        with Recognizer(enrolled.path / f"model.{precision}.onnx") as recognizer:
            assert recognizer.manifest.labels[-1] == "new"
            assert gone not in recognizer.manifest.labels
        gate = enrolled.model(precision).gate
        assert gate is None or gate == msgspec.structs.replace(whole.model(precision).gate, is_before_enrolment=True)
    assert enrolled.model("fp32").gate is None


def test_a_refused_precision(
    small_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted_once: None
) -> None:
    monkeypatch.setattr(
        exporter, "make_precisions", lambda *_: Precisions({}, {"int8": "the answer is that of FP32 for 1 of 12"})
    )
    package = export(small_run.path, tmp_path / "line.partsight", precisions=("fp32", "int8"))
    assert list(package.manifest.models) == ["fp32"]
    assert not (package.path / "model.int8.onnx").exists()
    assert "Not in this package: the answer is that of FP32 for 1 of 12." in (package.path / "report.html").read_text()
    with pytest.raises(PackageError, match=r"int8.* 1 of 12"):
        package.model("int8")
    with pytest.raises(PackageError, match=r"--precision fp32,fp16"):
        package.model("fp16")
    with Recognizer(package.path) as recognizer:
        assert recognizer.manifest.labels == small_run.record.labels


def test_options_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'fp8'.*fp32, fp16, int8"):
        export(tmp_path / "none", tmp_path / "line.partsight", precisions=("fp8",))
    with pytest.raises(ExportError, match=r"99\.9"):
        export(tmp_path / "none", tmp_path / "line.partsight", least_agreement=99.9)


def test_a_package_from_before_there_were_precisions(tiny_package: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_package, tmp_path / "old.partsight"))
    plain = msgspec.json.decode((path / MANIFEST_NAME).read_bytes())
    del plain["refused"], plain["models"]["fp32"]["gate"]
    (path / MANIFEST_NAME).write_bytes(msgspec.json.encode(plain))
    package = ModelPackage.read(path)
    assert (package.manifest.refused, package.model("fp32").gate) == ({}, None)
