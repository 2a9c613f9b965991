"""A real model package that recognises solid colours, and is fast to build."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partsight.export.search import replace_head
from partsight.runtime import EngineSettings
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.npy_file import PROTOTYPE_FILE, encode_prototypes
from partsight.runtime.core.storage import new_folder, sha256_bytes
from partsight.runtime.images.preprocessing import PreprocessSpec
from partsight.runtime.matching import BANK_FILE, MatchingSpec, encode_bank, prepare_all
from partsight.runtime.package import ModelPackage, add_references
from partsight.runtime.package.digest import DIGEST_KEY, with_digest
from partsight.runtime.package.gallery import decode_golden_image
from partsight.runtime.package.manifest import (
    METADATA_KEY,
    SCHEMA_VERSION,
    Decision,
    Manifest,
    Matching,
    ModelFile,
    Parity,
    Provenance,
    Search,
)
from partsight.runtime.recognition import load_bank

SIDE_PX = 36
COLOURS_BGR = {
    "blue": (255, 0, 0),
    "cyan": (255, 255, 0),
    "green": (0, 255, 0),
    "magenta": (255, 0, 255),
    "red": (0, 0, 255),
    "yellow": (0, 255, 255),
}
"""Taught colours, in the order of the labels. The package does not know black, white and grey."""
THRESHOLD = 0.9
AGREEMENT_THRESHOLD = 0.5
"""Threshold of a package with matching."""
ONE_THREAD = EngineSettings(threads=1)
"""Settings for networks so small that a second thread gains nothing."""


def solid(colour: str | tuple[int, int, int], height: int = 48, width: int = 64) -> Pixels:
    """Return a (height, width, 3) uint8 BGR frame of one colour: a label, or its BGR values."""
    bgr = COLOURS_BGR[colour] if isinstance(colour, str) else colour
    return np.full((height, width, 3), bgr, np.uint8)


def tiny_manifest() -> Manifest:
    """Return the manifest of the ONNX file's metadata: without models and files."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        labels=tuple(COLOURS_BGR),
        preprocess=PreprocessSpec(height=SIDE_PX, width=SIDE_PX),
        decision=Decision(
            score="cosine", threshold=THRESHOLD, method="by hand", samples=len(COLOURS_BGR), expected_false_reject=0.0
        ),
        provenance=Provenance(
            created="2025-01-01T00:00:00Z",
            backbone="mean-colour",
            backbone_weights="none",
            head="cosine",
            catalog_sha256=sha256_bytes(b"catalog"),
            weights_sha256=sha256_bytes(b"weights"),
            golden_accuracy=1.0,
            versions={"onnx": onnx.__version__},
        ),
    )


def tiny_matching() -> Matching:
    """Return matching with the package's gallery, for `write_tiny_package(..., matching=tiny_matching())`."""
    return Matching(
        spec=MatchingSpec(height=SIDE_PX, width=SIDE_PX),
        decision=Decision(
            score="agreement",
            threshold=AGREEMENT_THRESHOLD,
            method="by hand",
            samples=len(COLOURS_BGR),
            expected_false_reject=0.0,
            expected_false_accept=0.25,
        ),
        references=tuple(f"gallery/{label}.png" for label in COLOURS_BGR),
        bank=BANK_FILE,
    )


def tiny_prototypes() -> np.ndarray:
    """Return a (6, 3) float32 row of length 1 for each colour."""
    taught = np.array(list(COLOURS_BGR.values()), np.float32) - 127.5
    return np.asarray(taught / np.linalg.norm(taught, axis=1, keepdims=True), np.float32)


def searched(model: bytes) -> bytes:
    """Return a tiny model that returns bounds of its scores, in one dimension of three."""
    bounding = onnx.load_from_string(model)
    replace_head(bounding, 1)
    return with_new_digest(bounding)


def tiny_model(manifest: Manifest | None = None, classes: int | None = None) -> bytes:
    """Return the ONNX file: mean colour around grey, scaled to length 1 unless pale, times one such row for each class.

    Args:
        manifest: Manifest for the metadata; None for `tiny_manifest()`.
        classes: Number of classes to keep; None for all.
    """
    manifest = manifest or tiny_manifest()
    weights = tiny_prototypes()[:classes].T
    constants = {"grey": np.float32(127.5), "palest": np.float32(60), "weights": np.ascontiguousarray(weights)}
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image_bgr"], ["image"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Sub", ["mean", "grey"], ["colour"]),
            helper.make_node("ReduceL2", ["colour"], ["length"], axes=[1], keepdims=1),
            helper.make_node("Max", ["length", "palest"], ["divisor"]),
            helper.make_node("Div", ["colour", "divisor"], ["embedding"]),
            helper.make_node("MatMul", ["embedding", "weights"], ["score"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image_bgr", TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", weights.shape[1]]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json().decode()})
    onnx.checker.check_model(model)
    return with_new_digest(model)


def with_new_digest(model: onnx.ModelProto) -> bytes:
    """Return the file's bytes with a digest of its present content."""
    texts = {item.key: item.value for item in model.metadata_props if item.key != DIGEST_KEY}
    helper.set_model_props(model, texts)
    return with_digest(model.SerializeToString())


def write_tiny_package(path: Path, *, is_searched: bool = False, **changes: object) -> Path:
    """Write the package to `path` and return it.

    Args:
        path: Path of the package, which must not exist.
        is_searched: Whether the prototypes stand in a separate file, as in a package of very many parts.
        changes: Fields of `Manifest` to replace, in the folder and in the ONNX file's metadata.
    """
    bare = msgspec.structs.replace(tiny_manifest(), **changes)
    model = tiny_model(bare)
    files = {f"gallery/{label}.png": _png(label) for label in COLOURS_BGR}
    files["report.html"] = b"<!doctype html><title>tiny</title>\n"
    search = None
    if bare.matching is not None and bare.matching.bank is not None:
        images = [decode_golden_image(files[name], name) for name in bare.matching.references]
        files[bare.matching.bank] = encode_bank(prepare_all(images, range(len(images))))
    if is_searched:
        model = searched(model)
        files[PROTOTYPE_FILE] = encode_prototypes(tiny_prototypes())
        search = Search(PROTOTYPE_FILE)
    manifest = msgspec.structs.replace(
        bare,
        search=search,
        models={
            "fp32": ModelFile(
                file="model.fp32.onnx",
                sha256=sha256_bytes(model),
                opset=17,
                affine_left=0,
                parity=Parity(images=6, labels_equal=6, max_score_difference=0.0, top1_accuracy=1.0),
            )
        },
        files={name: sha256_bytes(data) for name, data in files.items()},
    )
    with new_folder(path) as folder:
        (folder / "gallery").mkdir()
        for name, data in {**files, "model.fp32.onnx": model, "manifest.json": manifest.to_json()}.items():
            (folder / name).write_bytes(data)
    return path


def add_further(path: Path, images: dict[str, list[Pixels]]) -> Path:
    """Add further references to parts of a package with matching, and return its path.

    Args:
        path: Package; it is changed in place.
        images: Frames of each part, by label.
    """
    package = ModelPackage.examine(path)
    more = add_references(package.manifest, np.array(load_bank(package).records), images)
    files = {**more.files, BANK_FILE: encode_bank(more.records)}
    for name, data in files.items():
        (path / name).write_bytes(data)
    hashes = package.manifest.files | {name: sha256_bytes(data) for name, data in files.items()}
    manifest = msgspec.structs.replace(package.manifest, matching=more.matching, files=hashes)
    (path / "manifest.json").write_bytes(manifest.to_json())
    return path


def _png(label: str) -> bytes:
    _, encoded = cv2.imencode(".png", solid(label, SIDE_PX, SIDE_PX))
    return encoded.tobytes()
