"""A package of solid colours that compares frames with golden images, and image files to enrol."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx

from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Decision, Manifest, Verification
from partsight.runtime.outlines import OUTLINE_FILE, Outlines
from partsight.runtime.package import ModelPackage
from partsight.runtime.package_folder import MANIFEST_NAME
from partsight.runtime.preprocess import PreprocessSpec, preprocess
from partsight.runtime.references import encode_reference
from partsight.runtime.storage import sha256_bytes
from partsight.runtime.verification import VerificationSpec
from tests.tiny import COLOURS_BGR, solid, tiny_model, with_new_digest, write_tiny_package

SPEC = VerificationSpec(height=48, width=64)


def write_package(path: Path, *, is_searched: bool = False, **changes: object) -> Path:
    """Write the tiny package with a reference for each label."""
    write_tiny_package(path, is_searched=is_searched, **changes)
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_bytes(), "tiny")
    names = tuple(f"gallery/{place:05d}.jpg" for place in range(len(COLOURS_BGR)))
    files = dict(manifest.files)
    for name, colour in zip(names, COLOURS_BGR, strict=True):
        data = encode_reference(preprocess([solid(colour)], SPEC.preprocess(PreprocessSpec(32, 32)))[0])
        (path / name).write_bytes(data)
        files[name] = sha256_bytes(data)
    decision = Decision("agreement", 0.3, "by hand", 6, 0.01, 0.02)
    manifest = msgspec.structs.replace(
        manifest, files=files, verification=Verification(SPEC, decision, names), preprocess=manifest.preprocess
    )
    (path / MANIFEST_NAME).write_bytes(manifest.to_json())
    return path


def write_outlined_package(path: Path) -> Path:
    """Write the same with outlines."""
    package = ModelPackage.read(write_package(path))
    assert package.manifest.verification is not None
    data = Outlines.of(package.reference(place) for place in range(len(package.manifest.labels))).to_bytes()
    (path / OUTLINE_FILE).write_bytes(data)
    manifest = msgspec.structs.replace(
        package.manifest,
        files=package.manifest.files | {OUTLINE_FILE: sha256_bytes(data)},
        verification=msgspec.structs.replace(package.manifest.verification, outlines=OUTLINE_FILE),
    )
    (path / MANIFEST_NAME).write_bytes(manifest.to_json())
    return path


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
