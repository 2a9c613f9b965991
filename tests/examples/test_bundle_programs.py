"""The programs in `examples/bundle`, which run a bundle without partsight, and the numbers in `docs/bundle.md`.

Node and C++ need: node and g++; onnxruntime-node in the folder that the variable PARTSIGHT_NODE_MODULES names
(`.../node_modules`); the Debian package nlohmann-json3-dev; the extra `openvino`.
"""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from partsight.export.bundle import bundle
from partsight.runtime import Recognizer, Result, read_image
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess, resize
from tests.waiting import HANG_S

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "examples" / "bundle"
DOC = ROOT / "docs" / "bundle.md"
VECTORS_FILE = PROGRAMS / "resize_vectors.json"
VECTORS = json.loads(VECTORS_FILE.read_text("utf-8")) if VECTORS_FILE.is_file() else []
pytestmark = pytest.mark.skipif(not PROGRAMS.is_dir(), reason="examples are not part of this copy of the source")

REASONS = ("recognised", "agrees_with_none", "two_parts_fit")
LABELS = ("Zylinder 4×12", 'nut "M8"', "washer")
HEIGHT, WIDTH = 12, 16
REGION = {"x": 3, "y": 2, "width": 61, "height": 43}
# One of each path, (height, width) before and after: means, samples, both, unequal axes, area, growing.
SIZES = [
    ((96, 128), (12, 16)),
    ((53, 71), (12, 16)),
    ((1024, 1280), (150, 150)),
    ((240, 100), (30, 40)),
    ((20, 30), (12, 16)),
    ((300, 300), (300, 220)),
    ((7, 5), (12, 16)),
    ((9, 40), (12, 16)),
    ((1, 1), (3, 2)),
]

Prepare = Callable[[np.ndarray, int, int], np.ndarray]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


def formula(height: int, width: int) -> np.ndarray:
    """Return the frame of the test vectors: pixel[y][x][c] = (31 y + 17 x + 85 c) % 256."""
    return np.fromfunction(lambda y, x, c: (31 * y + 17 * x + 85 * c) % 256, (height, width, 3)).astype(np.uint8)


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a frame after partsight's preprocessing."""
    out = np.empty((height, width, 3), np.uint8)
    resize(frame, [out])
    return out


def check_pixels(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare pixels; OpenCV for other processors may round differently by one level."""
    allowed = 0 if platform.machine() in {"x86_64", "AMD64"} else 1
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= allowed


def write_stand_in(path: Path, color: str, region: dict[str, int] | None, golden_hw: tuple[int, int] | None) -> Path:
    """Write an ONNX file with the contract of a bundle.

    Its three parts are the colours: the agreement is a weighted mean of the blue, green or red values, with a weight of
    its own for each pixel, so that a misplaced pixel changes the answer.
    """
    weights = np.zeros((HEIGHT, WIDTH, 3, 3), np.float32)
    for channel in range(3):
        values = np.random.default_rng(channel).uniform(0.5, 1.5, (HEIGHT, WIDTH))
        weights[:, :, channel, channel] = values / values.sum() / 255
    constants = {
        "weights": weights.reshape(-1, 3),
        "all": np.array([3], np.int64),
        "first": np.array(0, np.int64),
        "second": np.array(1, np.int64),
        "pads": np.array([0, 0, 0, 2], np.int64),
        "no_index": np.array(-1, np.int64),
        "no_agreement": np.array(0, np.float32),
        "threshold": np.array(0.4, np.float32),
        "least_margin": np.array(0.1, np.float32),
        "recognised": np.array(0, np.int64),
        "agrees_with_none": np.array(1, np.int64),
        "two_parts_fit": np.array(2, np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image_bgr"], ["values"], to=TensorProto.FLOAT),
        node("Flatten", ["values"], ["flat"], axis=1),
        node("MatMul", ["flat", "weights"], ["agreements"]),
        node("TopK", ["agreements", "all"], ["best", "best_index"], axis=1),
        node("Pad", ["best", "pads", "no_agreement"], ["top_agreement"]),
        node("Pad", ["best_index", "pads", "no_index"], ["top_index"]),
        node("Gather", ["best_index", "first"], ["label_index"], axis=1),
        node("Gather", ["best", "first"], ["agreement"], axis=1),
        node("Gather", ["best", "second"], ["next"], axis=1),
        node("Sub", ["agreement", "next"], ["margin"]),
        node("GreaterOrEqual", ["agreement", "threshold"], ["agrees"]),
        node("GreaterOrEqual", ["margin", "least_margin"], ["leads"]),
        node("And", ["agrees", "leads"], ["accepted"]),
        node("Where", ["leads", "recognised", "two_parts_fit"], ["reason_of_agreeing"]),
        node("Where", ["agrees", "reason_of_agreeing", "agrees_with_none"], ["reason"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("label_index", TensorProto.INT64, ["batch"]),
            ("agreement", TensorProto.FLOAT, ["batch"]),
            ("margin", TensorProto.FLOAT, ["batch"]),
            ("accepted", TensorProto.BOOL, ["batch"]),
            ("reason", TensorProto.INT64, ["batch"]),
            ("top_index", TensorProto.INT64, ["batch", 5]),
            ("top_agreement", TensorProto.FLOAT, ["batch", 5]),
        )
    ]
    image = helper.make_tensor_value_info("image_bgr", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "stand_in", [image], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    facts = {
        "schema_version": 1,
        "labels": LABELS,
        "package_id": "5b1f7f0f3c9a2d10",
        "preprocess": {"height": HEIGHT, "width": WIDTH, "color": color, "region": region, "golden_hw": golden_hw},
        "threshold": 0.4,
        "least_margin": 0.1,
        "precision": "fp32",
    }
    helper.set_model_props(model, {"other": "", "partsight.bundle": json.dumps(facts)})
    onnx.save(model, path)
    return path


def bundle_file(
    folder: Path,
    color: str = "bgr",
    region: dict[str, int] | None = None,
    golden_hw: tuple[int, int] | None = (60, 83),
) -> Path:
    """Write a stand-in for a bundle."""
    return write_stand_in(folder / "bundle.onnx", color, region, golden_hw)


def expected_answer(file: Path, frame: np.ndarray) -> dict[str, object]:
    """Return the bundle's answer after partsight's preprocessing."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["partsight.bundle"])
    known = facts["preprocess"]
    region = Region(**known["region"]) if known["region"] else None
    spec = PreprocessSpec(known["height"], known["width"], known["color"], region)
    names = ["label_index", "agreement", "margin", "accepted", "reason"]
    values = session.run(names, {"image_bgr": preprocess([frame], spec)})
    index, agreement, margin, accepted, reason = (value[0].item() for value in values)
    return {
        "label": facts["labels"][index] if accepted else None,
        "agreement": pytest.approx(agreement, abs=1e-6),
        "margin": pytest.approx(margin, abs=1e-6),
        "accepted": accepted,
        "reason": REASONS[reason],
    }


def frame_of(levels: Sequence[int]) -> np.ndarray:
    """Return a frame of a colour, with noise."""
    return (noise(60, 83) // 8 + np.array(levels)).astype(np.uint8)


FRAMES = {
    "recognised": frame_of((40, 20, 180)),
    "agrees_with_none": frame_of((50, 10, 10)),
    "two_parts_fit": frame_of((160, 150, 20)),
}


def run(*command: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=HANG_S)


def prepare_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle_prepare", PROGRAMS / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Programs


@pytest.fixture
def python_program() -> list[str | Path]:
    return [sys.executable, PROGRAMS / "recognize.py"]


@pytest.fixture(scope="module")
def node_program(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The program in a folder with `node_modules`, which Node needs."""
    node, modules = shutil.which("node"), os.environ.get("PARTSIGHT_NODE_MODULES", "")
    if node is None or not (Path(modules) / "onnxruntime-node").is_dir():
        pytest.skip("needs node, and onnxruntime-node in the folder that PARTSIGHT_NODE_MODULES names")
    folder = tmp_path_factory.mktemp("node")
    for source in PROGRAMS.glob("*.mjs"):
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(Path(modules).resolve())
    return [node, folder / "recognize.mjs"]


def compiled(source: Path, program: Path, *options: str | Path) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    done = run(compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", source, "-o", program, *options)
    assert done.returncode == 0, done.stderr.decode()
    return program


@pytest.fixture(scope="module")
def cpp_program(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        pytest.skip("needs the extra openvino")
    if not Path("/usr/include/nlohmann/json.hpp").is_file():
        pytest.skip("needs the Debian package nlohmann-json3-dev")
    openvino = Path(found.origin).parent
    libraries = openvino / "libs"
    options = ["-isystem", openvino / "include", *libraries.glob("libopenvino.so.*"), f"-Wl,-rpath,{libraries}"]
    program = tmp_path_factory.mktemp("cpp") / "recognize"
    return [compiled(PROGRAMS / "recognize.cpp", program, *options)]


ON_RAW_FRAMES = [pytest.param(name, marks=pytest.mark.debian) for name in ("node_program", "cpp_program")]


@pytest.mark.parametrize("reason", FRAMES)
def test_python_program(reason: str, python_program: list[str | Path], tmp_path: Path) -> None:
    file, image = bundle_file(tmp_path), tmp_path / "frame.png"
    cv2.imwrite(str(image), FRAMES[reason])
    done = run(*python_program, file, image)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert answer == expected_answer(file, FRAMES[reason])
    assert answer["reason"] == reason


@pytest.mark.parametrize("color", ["bgr", "mono"])
def test_python_program_crops(color: str, python_program: list[str | Path], tmp_path: Path) -> None:
    file, image = bundle_file(tmp_path, color, REGION), tmp_path / "frame.png"
    frame = noise(60, 83) if color == "bgr" else np.ascontiguousarray(noise(60, 83)[:, :, 0])
    cv2.imwrite(str(image), frame)
    done = run(*python_program, file, image)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == expected_answer(file, frame)


def test_python_program_refuses_a_frame_of_another_size(python_program: list[str | Path], tmp_path: Path) -> None:
    image = tmp_path / "frame.png"
    cv2.imwrite(str(image), noise(60, 84))
    done = run(*python_program, bundle_file(tmp_path, region=REGION), image)
    assert done.returncode == 1
    assert b"ValueError" in done.stderr
    assert run(*python_program, bundle_file(tmp_path), image).returncode == 0  # without a region


def test_python_program_refuses_what_is_no_image(python_program: list[str | Path], tmp_path: Path) -> None:
    done = run(*python_program, bundle_file(tmp_path), tmp_path / "none.png")
    assert done.returncode == 1
    assert b"cannot read the image" in done.stderr


@pytest.mark.parametrize("program", ON_RAW_FRAMES)
@pytest.mark.parametrize("reason", FRAMES)
def test_program_on_raw_frames(program: str, reason: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    command = request.getfixturevalue(program)
    file, raw, frame = bundle_file(tmp_path), tmp_path / "frame.bgr", FRAMES[reason]
    frame.tofile(raw)
    done = run(*command, file, raw, str(frame.shape[1]), str(frame.shape[0]))
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert answer == expected_answer(file, frame)
    assert answer["reason"] == reason


@pytest.mark.parametrize("program", ON_RAW_FRAMES)
@pytest.mark.parametrize("color", ["bgr", "mono"])
def test_program_on_raw_frames_crops(program: str, color: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    command = request.getfixturevalue(program)
    file, raw = bundle_file(tmp_path, color, REGION), tmp_path / "frame.raw"
    frame = noise(60, 83) if color == "bgr" else np.ascontiguousarray(noise(60, 83)[:, :, 0])
    frame.tofile(raw)
    done = run(*command, file, raw, "83", "60")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == expected_answer(file, frame)


@pytest.mark.parametrize("program", ON_RAW_FRAMES)
@pytest.mark.parametrize(
    ("sent", "claimed", "golden"),
    [((60, 83), (59, 83), (60, 83)), ((30, 40), (30, 40), None), ((60, 84), (60, 84), (60, 83))],
    ids=["a file of another length", "smaller than the region", "not as the golden images"],
)
def test_program_on_raw_frames_refuses_a_wrong_size(
    program: str,
    sent: tuple[int, int],
    claimed: tuple[int, int],
    golden: tuple[int, int] | None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    command = request.getfixturevalue(program)
    file, raw = bundle_file(tmp_path, region=REGION, golden_hw=golden), tmp_path / "frame.bgr"
    noise(*sent).tofile(raw)
    done = run(*command, file, raw, str(claimed[1]), str(claimed[0]))
    assert done.returncode != 0
    assert done.stdout == b""


@dataclass(frozen=True)
class RealBundle:
    """A bundle of a trained and exported package, and frames with the answers of `Recognizer`."""

    file: Path
    frames: list[Pixels]
    results: list[Result]

    def check(self, index: int, done: subprocess.CompletedProcess[bytes]) -> None:
        assert done.returncode == 0, done.stderr.decode()
        answer, result = json.loads(done.stdout), self.results[index]
        assert answer.pop("reason") == ("recognised" if result.accepted else "agrees_with_none")
        assert answer == {
            "label": result.label,
            "agreement": pytest.approx(result.score, abs=1e-3),
            "margin": pytest.approx(result.margin, abs=1e-3),
            "accepted": result.accepted,
        }


@pytest.fixture(scope="module")
def real_bundle(
    small_catalog: Path, example_parts: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RealBundle:
    """Bundle of twelve real parts; frames: a golden image, one of 1280×1024 px, and an unknown part."""
    pytest.importorskip("tensorflow")
    folder, package = tmp_path_factory.mktemp("real"), request.getfixturevalue("small_package")
    taught = [read_image(next((small_catalog / label).iterdir())) for label in package.manifest.labels[:2]]
    unknown = read_image(sorted((example_parts / "unknown").iterdir())[0])
    frames = [taught[0], np.asarray(cv2.resize(taught[1], (1280, 1024), interpolation=cv2.INTER_CUBIC)), unknown]
    with Recognizer(package.path) as recognizer:
        results = recognizer.recognize_batch(frames)
    assert [result.label for result in results] == [*package.manifest.labels[:2], None]
    return RealBundle(bundle(package.path, folder / "line.onnx").path, frames, results)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_python_program_on_a_real_bundle(
    index: int, python_program: list[str | Path], real_bundle: RealBundle, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "frame.png"), real_bundle.frames[index])
    real_bundle.check(index, run(*python_program, real_bundle.file, tmp_path / "frame.png"))


@pytest.mark.parametrize("program", ON_RAW_FRAMES)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_program_on_raw_frames_on_a_real_bundle(
    program: str, index: int, request: pytest.FixtureRequest, real_bundle: RealBundle, tmp_path: Path
) -> None:
    command, frame, raw = request.getfixturevalue(program), real_bundle.frames[index], tmp_path / "frame.bgr"
    frame.tofile(raw)
    done = run(*command, real_bundle.file, raw, str(frame.shape[1]), str(frame.shape[0]))
    real_bundle.check(index, done)


# Preparing


@pytest.fixture
def python_resize() -> Prepare:
    resize_in_python: Prepare = prepare_module().resize
    return resize_in_python


def over_stdin(*command: str | Path) -> Prepare:
    """A program that reads a raw frame from stdin and sizes from arguments, and writes the raw result."""

    def resize_there(frame: np.ndarray, height: int, width: int) -> np.ndarray:
        sizes = [str(size) for size in (*frame.shape[:2], height, width)]
        done = run(*command, *sizes, stdin=frame.tobytes())
        assert done.returncode == 0, done.stderr.decode()
        return np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3)

    return resize_there


@pytest.fixture(scope="module")
def node_resize(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    program = tmp_path_factory.mktemp("resize") / "resize.mjs"
    program.write_text(
        'import { readFileSync, writeSync } from "node:fs";\n'
        f'import {{ resize }} from "{(PROGRAMS / "prepare.mjs").as_uri()}";\n'
        "const [rows, columns, height, width] = process.argv.slice(2).map(Number);\n"
        "const frame = { data: readFileSync(0), height: rows, width: columns, channels: 3 };\n"
        "const { data } = resize(frame, height, width);\n"
        "for (let at = 0; at < data.length; ) at += writeSync(1, data, at);\n"
    )
    return over_stdin(node, program)


@pytest.fixture(scope="module")
def cpp_resize(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    folder = tmp_path_factory.mktemp("resize")
    (folder / "resize.cpp").write_text(
        f'#include "{PROGRAMS / "prepare.hpp"}"\n'
        "#include <iostream>\n#include <string>\n"
        "int main(int, char** sizes) {\n"
        "    Frame frame(std::stoi(sizes[1]), std::stoi(sizes[2]), 3);\n"
        "    std::cin.read(reinterpret_cast<char*>(frame.data.data()), frame.data.size());\n"
        "    const Frame out = resize(frame, std::stoi(sizes[3]), std::stoi(sizes[4]));\n"
        "    std::cout.write(reinterpret_cast<const char*>(out.data.data()), out.data.size());\n"
        "}\n"
    )
    return over_stdin(compiled(folder / "resize.cpp", folder / "resize"))


LANGUAGES = ["python_resize", *(pytest.param(name, marks=pytest.mark.debian) for name in ("node_resize", "cpp_resize"))]


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_resize_as_partsight_does(language: str, request: pytest.FixtureRequest) -> None:
    resize_there = request.getfixturevalue(language)
    for shape, size in SIZES:
        frame = noise(*shape)
        check_pixels(resize_there(frame, *size), resized(frame, *size))


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_resize_as_the_vectors_say(language: str, request: pytest.FixtureRequest) -> None:
    resize_there = request.getfixturevalue(language)
    for vector in VECTORS:
        found = resize_there(formula(*vector["frame"]), *vector["size"])
        check_pixels(found, np.array(vector["bgr"]).reshape(*vector["size"], 3))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["path"])
def test_vector_is_what_partsight_gives(vector: dict[str, list[int]]) -> None:
    expected = np.array(vector["bgr"]).reshape(*vector["size"], 3)
    check_pixels(resized(formula(*vector["frame"]), *vector["size"]), expected)


def test_doc_has_the_vectors() -> None:
    """Return the blue channel of each frame, below a line with its path and its sizes."""
    pattern = r"^(.+): (\d+)×(\d+) → (\d+)×(\d+)\n\n```text\n([\d\s]+?)```$"
    blocks = re.findall(pattern, DOC.read_text("utf-8"), re.MULTILINE)
    found = [(path, [int(size) for size in sizes], rows.split()) for path, *sizes, rows in blocks]
    assert found == [
        (vector["path"], vector["frame"] + vector["size"], [str(value) for value in vector["bgr"][::3]])
        for vector in VECTORS
    ]
