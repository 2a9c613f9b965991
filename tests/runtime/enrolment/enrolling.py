"""A package of solid colours that compares frames with golden images, and image files to enrol."""

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.matching import BANK_FILE, MatchingSpec, encode_bank, prepare_all
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image
from partsight.runtime.package.manifest import Decision, Manifest, Matching
from tests.tiny import COLOURS_BGR, solid, tiny_model, with_new_digest, write_tiny_package

SPEC = MatchingSpec(height=48, width=66)
GRAPH_FILE = "matching.onnx"
VERSION_1_HW = (47, 64)
"""Height and width of golden images in `write_version_1_package`: no multiples of 6."""

ORANGE, VIOLET = (0, 128, 255), (255, 0, 128)
"""Colours of new parts, BGR."""


def write_package(path: Path, *, is_searched: bool = False, spec: MatchingSpec = SPEC, **changes: object) -> Path:
    """Write the tiny package with a golden image and a reference for each label."""
    write_tiny_package(path, is_searched=is_searched, **changes)
    gallery = _gallery(spec.size_hw)
    images = (decode_golden_image(data, name) for name, data in gallery.items())
    bank = encode_bank(prepare_all(images, range(len(gallery))))
    matching = Matching(spec, Decision("agreement", 0.3, "by hand", 6, 0.01, 0.02), tuple(gallery), BANK_FILE)
    manifest = _with_files(path, gallery | {BANK_FILE: bank})
    (path / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, matching=matching).to_json())
    return path


def write_version_1_package(path: Path) -> Path:
    """Write the same as a package of schema version 1: golden images and outlines, and no bank."""
    write_tiny_package(path)
    gallery = _gallery(VERSION_1_HW)
    manifest = _with_files(path, gallery | {"outlines.npy": b"outlines"})
    document = json.loads(manifest.to_json())
    del document["sha256"], document["matching"]
    document["schema_version"] = 1
    document["verification"] = {
        "spec": {
            **dict(zip(("height", "width"), VERSION_1_HW, strict=True)),
            **{"shortlist": 32, "outlined": 20, "screened": 12, "finalists": 5, "clear_margin": 1e9},
        },
        "decision": msgspec.to_builtins(Decision("agreement", 0.3, "by hand", 6, 0.01, 0.02)),
        "references": list(gallery),
        "outlines": "outlines.npy",
    }
    (path / MANIFEST_NAME).write_bytes(json.dumps(document).encode())
    return path


def _gallery(size_hw: tuple[int, int]) -> dict[str, bytes]:
    spec = PreprocessSpec(*size_hw)
    return {
        f"gallery/{index:05d}.jpg": encode_golden_image(preprocess([solid(colour)], spec)[0])
        for index, colour in enumerate(COLOURS_BGR)
    }


def _with_files(path: Path, files: dict[str, bytes]) -> Manifest:
    """Write files into a package, and return the manifest that names them."""
    for name, data in files.items():
        (path / name).write_bytes(data)
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_bytes(), "tiny")
    hashes = {name: sha256_bytes(data) for name, data in files.items()}
    return msgspec.structs.replace(manifest, files=manifest.files | hashes)


def rewrite_model(path: Path, change: object) -> None:
    """Change a package's ONNX file, and the manifest with it."""
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_bytes(), "tiny")
    model = onnx.load_from_string(tiny_model())
    change(model)  # type: ignore[operator]
    data = with_new_digest(model)
    (path / "model.fp32.onnx").write_bytes(data)
    models = {"fp32": msgspec.structs.replace(manifest.models["fp32"], sha256=sha256_bytes(data))}
    (path / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, models=models).to_json())


def picture(path: Path, colour: str | tuple[int, int, int] | Pixels, height: int = 48, width: int = 64) -> Path:
    """Write an image file of one colour (or these pixels) and return its path."""
    pixels = colour if isinstance(colour, np.ndarray) else solid(colour, height, width)
    assert cv2.imwrite(str(path), pixels)
    return path
