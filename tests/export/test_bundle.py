"""A bundle answers as the network, the preprocessing and the matcher do one after the other."""

import dataclasses
import errno
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from partsight.export import bundle
from partsight.export.bundle import Bundle, join, resized, write_bundle
from partsight.export.bundle_outputs import AGREES_WITH_NONE, RECOGNISED, TWO_PARTS_FIT, Texts
from partsight.runtime import ModelPackage, Recognizer, read_image
from partsight.runtime.calibration.variation import Variation, vary
from partsight.runtime.core.errors import ExportError, OutputError, PackageError
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess, second_step
from partsight.runtime.matching import BANK_FILE, Bank, Matcher, Matches, MatchingSpec, Rule
from partsight.runtime.matching.graph_nodes import ALLOWED_OPERATORS, BATCH, FRAMES_TRACED, Trace
from partsight.runtime.package.manifest import Matching, Precision
from partsight.runtime.package.onnx_file import check_onnx
from partsight.runtime.recognition import ANSWER_TENSORS, MAX_TOP, AnswerCodec
from tests.runtime.enrolment.enrolling import write_package
from tests.runtime.matching.case import FRAMES, PARTS, SPEC, Case, load_case, session, stretch_samples
from tests.tiny import tiny_matching, write_tiny_package

PLAIN, MIN_MARGIN = Rule(0.45), 0.1
NETWORK_HW = (150, 150)
DOC = Path(__file__).parents[2] / "docs" / "bundle.md"


@pytest.fixture(scope="module")
def case(example_parts: Path) -> Case:
    return load_case(example_parts)


def network(size_hw: tuple[int, int] = NETWORK_HW, parts: int = PARTS, opset: int = 17) -> onnx.ModelProto:
    """Return a network that scores means of blocks, at random."""
    rows, columns = size_hw[0] // 30, size_hw[1] // 30
    weights = np.random.default_rng(2).normal(0, 0.01, (3 * rows * columns, parts)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image_bgr"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["means"], kernel_shape=[30, 30], strides=[30, 30]),
        helper.make_node("Flatten", ["means"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "weights"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image_bgr", TensorProto.UINT8, ["batch", *size_hw, 3])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", len(weights)]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", parts]),
        ],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def shrunk(images: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    via = images.shape[1:3]
    if via == size_hw:
        return images
    return np.stack([cv2.resize(image, size_hw[::-1], interpolation=second_step(via, size_hw)) for image in images])


def images_of(case: Case, network_hw: tuple[int, int]) -> np.ndarray:
    side = max(*network_hw, *SPEC.size_hw)
    return np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_LINEAR) for frame in case.frames])


def assert_same(
    found: dict[str, Any],
    images: np.ndarray,
    case: Case,
    model: onnx.ModelProto,
    spec: MatchingSpec,
    rule: Rule = PLAIN,
) -> Matches:
    """Compare a bundle's outputs with those of the separate steps, and return these."""
    size_hw = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:3])
    (score,) = session(model).run(["score"], {"image_bgr": shrunk(images, size_hw)})
    matches = Matcher(case.bank, spec).match(shrunk(images, spec.size_hw), score)
    finalists = min(MAX_TOP, matches.agreement.shape[1])
    valid = matches.agreement[:, :finalists] > 0
    assert (found["label_index"] == matches.classes[:, 0]).all()
    assert np.abs(found["agreement"] - matches.agreement[:, 0]).max() < 1e-3
    assert np.abs(found["margin"] - matches.margin).max() < 1e-3
    assert (found["accepted"] == matches.is_accepted(rule, spec)).all()
    too_low = matches.agreement[:, 0] < matches.needed(rule)
    reasons = np.where(found["accepted"], RECOGNISED, np.where(too_low, AGREES_WITH_NONE, TWO_PARTS_FIT))
    assert (found["reason"] == reasons).all()
    assert (found["top_index"][:, :finalists] == np.where(valid, matches.classes[:, :finalists], -1)).all()
    assert (found["top_index"][:, finalists:] == -1).all()
    assert np.abs(found["top_agreement"][:, :finalists] - matches.agreement[:, :finalists]).max() < 1e-3
    assert (found["top_agreement"][:, finalists:] == 0).all()
    return matches


def run(model: onnx.ModelProto, images: np.ndarray) -> dict[str, Any]:
    runner = session(model)
    names = [output.name for output in runner.get_outputs()]
    return dict(zip(names, runner.run(None, {"image_bgr": images}), strict=True))


def joined(case: Case, model: onnx.ModelProto, spec: MatchingSpec = SPEC, **changes: Any) -> onnx.ModelProto:
    size_hw = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:3])
    options = {"network_hw": size_hw, "batch": None, "rule": PLAIN} | changes
    return join(model, case.bank, msgspec.structs.replace(spec, least_margin=MIN_MARGIN), **options)


def with_margin(**changes: Any) -> MatchingSpec:
    return msgspec.structs.replace(SPEC, least_margin=MIN_MARGIN, **changes)


@pytest.mark.parametrize("network_hw", [(150, 150), (192, 192), (96, 96), (240, 210)])
def test_answers_as_the_steps_do(case: Case, network_hw: tuple[int, int]) -> None:
    model = network(network_hw)
    images = images_of(case, network_hw)
    images = np.ascontiguousarray(images[:, : max(192, network_hw[0]), : max(192, network_hw[1])])
    found = run(joined(case, model), images)
    assert_same(found, images, case, model, with_margin())


def test_reads_the_networks_scores(case: Case) -> None:
    model, images = network(), images_of(case, NETWORK_HW)
    found = run(joined(case, model, msgspec.structs.replace(SPEC, by_thumbnail=0)), images)
    assert_same(found, images, case, model, with_margin(by_thumbnail=0))
    assert (found["reason"] == AGREES_WITH_NONE).any()


def test_each_reason(case: Case) -> None:
    model, images = network(), images_of(case, NETWORK_HW)
    twice = dataclasses.replace(case, bank=doubled(case))
    assert set(run(joined(case, model), images)["reason"]) >= {RECOGNISED}
    assert set(run(joined(case, model, rule=Rule(1.0)), images)["reason"]) == {AGREES_WITH_NONE}
    assert set(run(joined(twice, model, rule=Rule(0.0)), images)["reason"]) == {TWO_PARTS_FIT}


@pytest.mark.parametrize("rule", [Rule(0.8, by_margin=0.4), Rule(0.3, by_network=0.4), Rule(0.9, 0.25, -0.25)])
def test_margin_and_network_count_as_in_the_steps(case: Case, rule: Rule) -> None:
    model, images = softened(network()), images_of(case, NETWORK_HW)
    found = run(joined(case, model, rule=rule), images)
    matches = assert_same(found, images, case, model, with_margin(), rule)
    assert (matches.is_accepted(rule, with_margin()) != matches.is_accepted(Rule(rule.threshold), with_margin())).any()
    assert np.abs(matches.agreement[:, 0] - matches.needed(rule)).min() > 1e-3  # rounding decides no frame
    assert set(found["reason"]) == {RECOGNISED, AGREES_WITH_NONE}


def softened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network whose scores are probabilities."""
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(helper.make_node("Softmax", ["raw"], ["score"]))
    return model


def doubled(case: Case) -> Any:
    """Return a bank in which the golden image of each part is that of another part as well."""
    records = case.bank.records.copy()
    records[1::2] = records[0::2]
    records["class"] = range(len(records))
    return type(case.bank).of(records)


@pytest.mark.parametrize("parts", [1, 2])
def test_fewer_parts_than_top(case: Case, parts: int) -> None:
    few, images = case.part(parts), images_of(case, NETWORK_HW)
    model = network(parts=parts)
    assert_same(run(joined(few, model), images), images, few, model, with_margin())


def test_more_finalists_than_top(case: Case) -> None:
    model, images = network(), images_of(case, NETWORK_HW)
    found = run(joined(case, model, msgspec.structs.replace(SPEC, finalists=7)), images)
    assert_same(found, images, case, model, with_margin(finalists=7))


def test_outputs_as_documented(case: Case) -> None:
    model = joined(case, network())
    onnx.checker.check_model(model, full_check=True)
    check_onnx(model.SerializeToString(), "bundle")
    (image,) = session(model).get_inputs()
    assert (image.name, image.type, image.shape) == ("image_bgr", "tensor(uint8)", ["batch", 192, 192, 3])
    assert {output.name: (output.type, output.shape) for output in session(model).get_outputs()} == {
        "label_index": ("tensor(int64)", ["batch"]),
        "agreement": ("tensor(float)", ["batch"]),
        "margin": ("tensor(float)", ["batch"]),
        "threshold": ("tensor(float)", ["batch"]),
        "least_margin": ("tensor(float)", ["batch"]),
        "accepted": ("tensor(bool)", ["batch"]),
        "reason": ("tensor(int64)", ["batch"]),
        "top_index": ("tensor(int64)", ["batch", 5]),
        "top_agreement": ("tensor(float)", ["batch", 5]),
        "pose": ("tensor(float)", ["batch", 5]),
        "reference": ("tensor(int64)", ["batch"]),
        "network_score": ("tensor(float)", ["batch", PARTS]),
    }
    assert {node.op_type for node in model.graph.node} <= ALLOWED_OPERATORS | {"Flatten"}
    table = DOC.read_text("utf-8").split("## Outputs")[1].split("## Metadata")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| \(batch,(?: (\w+))?\)", table, re.MULTILINE)
    types = {"INT64": "int64", "FP32": "float32", "BOOL": "bool", "BYTES": "text"}
    expected = {spec.name: (types[spec.datatype], str(spec.width or "")) for spec in ANSWER_TENSORS}
    assert {name: (kind, width) for name, kind, width in rows} == expected | {"network_score": ("float32", "parts")}


def test_the_network_scores_are_an_output(case: Case) -> None:
    model, images = network(), images_of(case, NETWORK_HW)
    (score,) = session(model).run(["score"], {"image_bgr": shrunk(images, NETWORK_HW)})
    assert np.abs(run(joined(case, model), images)["network_score"] - score).max() < 1e-4


def test_texts_name_the_part_or_none(case: Case) -> None:
    model, images = network(), images_of(case, NETWORK_HW)
    labels = [f"Größe {number}" for number in range(PARTS)]
    found = run(joined(case, model, rule=Rule(0.5), texts=Texts(labels, "0123")), images)
    pairs = zip(found["label_index"].tolist(), found["accepted"].tolist(), strict=True)
    assert found["label"].tolist() == [labels[index] if accepted else "" for index, accepted in pairs]
    assert set(found["accepted"]) == {True, False}
    assert found["package_id"].tolist() == ["0123"] * len(images)


@pytest.mark.parametrize("opset", [16, 18, 19])
def test_batch_may_be_fixed(case: Case, opset: int) -> None:
    model, images = network(opset=opset), images_of(case, NETWORK_HW)[:4]
    fixed = joined(case, model, batch=4)
    assert session(fixed).get_inputs()[0].shape == [4, 192, 192, 3]
    assert_same(run(fixed, images), images, case, model, with_margin())


@pytest.mark.parametrize(
    ("via", "size_hw"),
    [
        ((192, 192), (150, 150)),
        ((224, 224), (192, 192)),
        ((192, 192), (144, 192)),
        ((300, 224), (192, 150)),
        ((192, 192), (96, 96)),
        ((192, 192), (64, 64)),
        ((224, 224), (96, 192)),
        ((384, 384), (150, 192)),
        ((192, 192), (192, 192)),
    ],
)
def test_shrinks_as_opencv_does(case: Case, via: tuple[int, int], size_hw: tuple[int, int]) -> None:
    images = np.stack([cv2.resize(frame, via[::-1]) for frame in case.frames])
    written = Trace()
    image = written.input("image", np.uint8, (FRAMES_TRACED, *via, 3), {0: BATCH})
    written.output("small", resized(image, size_hw))
    (found,) = session(written.model).run(None, {"image": images})
    difference = np.abs(found.astype(int) - shrunk(images, size_hw))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4


def test_refuses_a_network_without_scores(case: Case) -> None:
    model = network()
    model.graph.output[1].name = "bound"
    with pytest.raises(ExportError):
        joined(case, model)


def test_refuses_a_network_of_other_parts(case: Case) -> None:
    with pytest.raises(ExportError, match=r"\(batch, 60\)"):
        joined(case, network(parts=59))


def test_refuses_another_opset(case: Case) -> None:
    with pytest.raises(ExportError, match=r"20.* 16 to 19"):
        joined(case, network(opset=20))


def test_refuses_more_than_a_file_holds(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    of_part = sum(np.asarray(values).nbytes for values in bundle.arrays_of(case.bank).values()) / PARTS
    monkeypatch.setattr(bundle, "MAX_BYTES", int(network().ByteSize() + 40.5 * of_part))
    with pytest.raises(ExportError, match=" 40 "):
        joined(case, network())


def test_a_wrong_row_of_the_bank_changes_answers(case: Case) -> None:
    model, images = network(), images_of(case, NETWORK_HW)
    damaged = case.bank.records.copy()
    damaged["image"][case.classes[0]] = damaged["image"][case.classes[1]]
    other = dataclasses.replace(case, bank=type(case.bank).of(damaged))
    right, wrong = (run(joined(each, model), images)["agreement"] for each in (case, other))
    assert abs(right - wrong)[0] > 0.01
    assert (np.abs(right - wrong)[2:] < 0.2).sum() >= FRAMES - 4


class TestOfAPackage:
    """`bundle` turns a package into one file."""

    def test_metadata_are_as_documented(self, package: ModelPackage, written: Bundle) -> None:
        facts, manifest = facts_of(written.path), package.manifest
        matching = matching_of(package)
        assert facts == {
            "schema_version": 1,
            "labels": list(manifest.labels),
            "package_id": package.package_id,
            "preprocess": {
                "height": 192,
                "width": 192,
                "color": "bgr",
                "region": None,
                "resize": "sampled-area",
                "golden_hw": list(package.manifest.preprocess.golden_hw or ()),
            },
            "threshold": matching.decision.threshold,
            "by_margin": matching.decision.by_margin,
            "by_network": matching.decision.by_network,
            "least_margin": matching.spec.least_margin,
            "reasons": ["recognised", "agrees_with_none", "two_parts_fit"],
            "precision": "fp32",
            "model_sha256": manifest.models["fp32"].sha256,
            "bank_sha256": manifest.files[BANK_FILE],
        }
        table = DOC.read_text("utf-8").split("| key | |\n")[1].split("\n\n")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))
        assert set(rows) == set(facts)
        assert all(f"`{key}`" in rows["preprocess"] for key in facts["preprocess"])

    def test_what_it_returns(self, package: ModelPackage, written: Bundle) -> None:
        assert (written.height, written.width, written.parts) == (192, 192, len(package.manifest.labels))
        assert written.threshold == matching_of(package).decision.threshold
        assert [path.name for path in written.path.parent.iterdir()] == ["line.onnx"]
        onnx.checker.check_model(onnx.load(written.path), full_check=True)

    def test_answers_as_the_recogniser_does(self, package: ModelPackage, written: Bundle, example_parts: Path) -> None:
        """Frames: golden images, taught parts and unknown parts."""
        frames = shown(package, example_parts)
        accepted = compare(written.path, package, frames)
        parts = len(package.manifest.labels)
        assert accepted[:parts].all()
        assert accepted[parts : 2 * parts].mean() > 0.9
        assert not accepted[2 * parts :].any()

    def test_its_outputs_are_the_recognisers_answers(
        self, package: ModelPackage, example_parts: Path, tmp_path: Path
    ) -> None:
        """The tensors of a server and the outputs of its bundle are one contract."""
        frames = shown(package, example_parts)
        made = write_bundle(package, tmp_path / "texts.onnx", "fp32", has_texts=True)
        with Recognizer(package.path) as recognizer:
            expected = AnswerCodec(recognizer.labels, package.package_id).encode(recognizer.recognize_batch(frames))
        spec = PreprocessSpec(made.height, made.width)
        found = run(onnx.load(made.path), preprocess(frames, spec))
        for name, values in expected.items():
            if values.dtype == np.object_:
                assert [text.encode() for text in found[name]] == values.tolist()
            elif values.dtype == np.float32:
                np.testing.assert_allclose(found[name], values, atol=5e-3 if name == "pose" else 1e-3)
            else:
                np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype

    @pytest.mark.parametrize("batch", [1, 4])
    def test_a_fixed_batch(self, batch: int, package: ModelPackage, example_parts: Path, tmp_path: Path) -> None:
        made = bundle.bundle(package.path, tmp_path / "fixed.onnx", batch=batch)
        assert onnxruntime.InferenceSession(made.path).get_inputs()[0].shape == [batch, 192, 192, 3]
        compare(made.path, package, shown(package, example_parts)[8:28:5], batch)

    def test_a_region(self, package: ModelPackage, example_parts: Path, tmp_path: Path) -> None:
        """The program crops the frame to the region, as the metadata `preprocess` describes."""
        region = Region(20, 10, 256, 256)
        spec = msgspec.structs.replace(package.manifest.preprocess, region=region, golden_hw=(300, 290))
        copy = changed(package, tmp_path, preprocess=spec)
        made = bundle.bundle(copy.path, tmp_path / "region.onnx")
        assert facts_of(made.path)["preprocess"]["region"] == {"x": 20, "y": 10, "width": 256, "height": 256}
        framed = []
        for frame in shown(package, example_parts)[:30:5]:
            framed.append(np.full((300, 290, 3), 90, np.uint8))
            framed[-1][10:266, 20:276] = frame
        compare(made.path, copy, framed)

    @pytest.mark.parametrize("break_it", ["threshold", "by_margin", "least_margin", "bank", "grid"])
    def test_a_bundle_that_is_wrong_in_one_place_shows(
        self, break_it: str, package: ModelPackage, example_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The comparisons above notice each of these defects."""
        right = bundle.join

        def wrong(network: onnx.ModelProto, bank: Bank, spec: MatchingSpec, **options: Any) -> onnx.ModelProto:
            if break_it == "bank":
                records = bank.records.copy()
                records["image"][0] = records["image"][1]
                bank = Bank.of(records)
            elif break_it == "least_margin":
                spec = msgspec.structs.replace(spec, least_margin=0.99)  # a share of the agreement
            elif break_it != "grid":
                options["rule"] = msgspec.structs.replace(
                    options["rule"], **{break_it: 9.0 if break_it == "threshold" else 0.0}
                )
            return right(network, bank, spec, **options)

        monkeypatch.setattr(bundle, "join", wrong)
        if break_it == "grid":
            stretch_samples(monkeypatch)
        made = bundle.bundle(package.path, tmp_path / "wrong.onnx")
        with pytest.raises(AssertionError):
            compare(made.path, package, shown(package, example_parts))

    def test_nothing_is_overwritten(self, package: ModelPackage, tmp_path: Path) -> None:
        out = tmp_path / "line.onnx"
        out.write_text("mine")
        with pytest.raises(OutputError, match=r"line\.onnx"):
            bundle.bundle(package.path, out)
        assert out.read_text() == "mine"

    def test_a_full_disk_leaves_nothing(
        self, package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            assert list(tmp_path.iterdir())
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OutputError):
            bundle.bundle(package.path, tmp_path / "line.onnx")
        assert list(tmp_path.iterdir()) == []

    def test_a_package_that_searches_for_its_scores(self, tmp_path: Path) -> None:
        searched = write_package(tmp_path / "many.partsight", is_searched=True)
        with pytest.raises(ExportError, match=r"many\.partsight.*--search never"):
            bundle.bundle(searched, tmp_path / "line.onnx")
        assert not (tmp_path / "line.onnx").exists()

    def test_a_package_without_golden_images(self, tiny_package: Path, tmp_path: Path) -> None:
        with pytest.raises(PackageError, match=re.escape(str(tiny_package))):
            bundle.bundle(tiny_package, tmp_path / "line.onnx")
        assert not (tmp_path / "line.onnx").exists()

    def test_a_precision_that_the_package_lacks(self, package: ModelPackage, tmp_path: Path) -> None:
        with pytest.raises(PackageError, match=r"int8.*fp32"):
            bundle.bundle(package.path, tmp_path / "line.onnx", precision="int8")

    def test_a_batch_of_none(self, package: ModelPackage, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="batch is 0"):
            bundle.bundle(package.path, tmp_path / "line.onnx", batch=0)

    def test_a_damaged_bank(self, package: ModelPackage, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(package.path, tmp_path / "copy.partsight"))
        data = bytearray((copy / BANK_FILE).read_bytes())
        data[-1] ^= 1
        (copy / BANK_FILE).write_bytes(data)
        with pytest.raises(PackageError, match=BANK_FILE):
            bundle.bundle(copy, tmp_path / "line.onnx")

    def test_a_package_that_prepares_frames_otherwise(self, package: ModelPackage, tmp_path: Path) -> None:
        """Packages of earlier versions have one size for the network and another for matching."""
        straight = msgspec.structs.replace(package.manifest.preprocess, via=None)
        copy = changed(package, tmp_path, preprocess=straight)
        with pytest.raises(ExportError, match="64×64 and 192×192 px"):
            bundle.bundle(copy.path, tmp_path / "line.onnx")
        same = write_tiny_package(tmp_path / "same.partsight", matching=tiny_matching())  # one size, so it is the same
        assert bundle.bundle(same, tmp_path / "same.onnx").height == tiny_matching().spec.height


@pytest.fixture(scope="module")
def written(package: ModelPackage, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle.bundle(package.path, tmp_path_factory.mktemp("bundles") / "new" / "line.onnx")


def matching_of(package: ModelPackage) -> Matching:
    assert package.manifest.matching is not None
    return package.manifest.matching


def facts_of(file: Path) -> Any:
    return json.loads({item.key: item.value for item in onnx.load(file).metadata_props}[bundle.BUNDLE_KEY])


def changed(package: ModelPackage, folder: Path, **changes: Any) -> ModelPackage:
    """Return a copy of a package with another manifest."""
    copy = Path(shutil.copytree(package.path, folder / "copy.partsight"))
    (copy / MANIFEST_NAME).write_bytes(msgspec.structs.replace(package.manifest, **changes).to_json())
    return ModelPackage.read(copy)


def shown(package: ModelPackage, example_parts: Path) -> list[np.ndarray]:
    """Return golden images, varied ones, frames of other parts and pictures of unknown ones."""
    golden = [read_image(example_parts / "golden" / label / "golden.jpg") for label in package.manifest.labels]
    rng = np.random.default_rng(4)
    others = [
        folder for folder in sorted((example_parts / "line").iterdir()) if folder.name not in package.manifest.labels
    ]
    files = [next(folder.iterdir()) for folder in others[::12]] + sorted((example_parts / "unknown").iterdir())[::8]
    return [*golden, *(vary(image, Variation(), rng) for image in golden), *map(read_image, files)]


def compare(
    file: Path,
    package: ModelPackage,
    frames: Sequence[np.ndarray],
    batch: int | None = None,
    precision: Precision = "fp32",
) -> np.ndarray:
    """Compare a bundle in plain ONNX Runtime with `Recognizer`; return which frames are accepted.

    Args:
        file: of the bundle.
        package: of which it is.
        frames: as a camera takes them.
        batch: frames at once; None for all.
        precision: of the network.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # as the recogniser: INT8 sums do not overflow
    facts, session = facts_of(file), onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    known = facts["preprocess"]
    region = Region(**known["region"]) if known["region"] else None
    prepared = preprocess(frames, PreprocessSpec(known["height"], known["width"], known["color"], region))
    names = [output.name for output in session.get_outputs()]
    parts = [
        session.run(None, {"image_bgr": prepared[start : start + (batch or len(prepared))]})
        for start in range(0, len(prepared), batch or len(prepared))
    ]
    found = dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    with Recognizer(package.path, precision=precision) as recognizer:
        results = recognizer.recognize_batch(frames)
    assert facts["precision"] == precision
    assert found["accepted"].tolist() == [result.accepted for result in results]
    for index, result in enumerate(results):
        assert facts["labels"][found["label_index"][index]] == result.top[0][0]
        assert found["agreement"][index] == pytest.approx(result.score, abs=1e-3)
        assert found["margin"][index] == pytest.approx(result.margin, abs=1e-3)
        assert facts["reasons"][found["reason"][index]] == result.reason
    return np.asarray(found["accepted"])
