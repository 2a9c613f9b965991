import json
import mmap
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime.core.errors import PackageError
from partsight.runtime.core.npy_file import encode_prototypes
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.matching import encode_bank, prepare_all
from partsight.runtime.package.package import ModelPackage
from tests.tiny import COLOURS_BGR, SIDE_PX, solid, tiny_prototypes, write_tiny_package


@pytest.fixture
def package(tiny_package: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))


@pytest.fixture
def verified(matching_package: Path, tmp_path: Path) -> Path:
    """A copy, with golden images to compare with, that a test may damage."""
    return Path(shutil.copytree(matching_package, tmp_path / "line4.partsight"))


def edit(package: Path, change: Callable[[Any], object]) -> None:
    path = package / "manifest.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_whole_package(tiny_package: Path) -> None:
    package = ModelPackage.read(str(tiny_package))
    assert package.path == tiny_package
    assert package.manifest.labels == tuple(COLOURS_BGR)
    assert package.package_id == sha256_bytes((tiny_package / "manifest.json").read_bytes())[:16]
    assert package.model_bytes("fp32") == (tiny_package / "model.fp32.onnx").read_bytes()
    assert package.model("fp32").file == "model.fp32.onnx"
    package.check_hashes()


def test_the_old_name_of_check_hashes(package: Path) -> None:
    read = ModelPackage.read(package)
    (package / "report.html").write_text("altered")
    with pytest.warns(DeprecationWarning, match="check_hashes"), pytest.raises(PackageError, match=r"report\.html"):
        read.verify()


def test_hashes_name_every_file_but_the_manifest(tiny_package: Path) -> None:
    found = {path.relative_to(tiny_package).as_posix() for path in tiny_package.rglob("*") if path.is_file()}
    assert set(ModelPackage.read(tiny_package).hashes()) == found - {"manifest.json"}


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"line3: .*partsight export"):
        ModelPackage.read(tmp_path / "line3")


def test_not_a_folder(tiny_package: Path) -> None:
    with pytest.raises(PackageError, match=f"model package .*{tiny_package.name}"):
        ModelPackage.read(tiny_package / "manifest.json")


def test_a_folder_that_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="empty folder"):
        ModelPackage.read(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PackageError, match=r"manifest\.json .*partsight export"):
        ModelPackage.read(tmp_path)


def test_damaged_manifest_is_named_by_the_packages_path(package: Path) -> None:
    (package / "manifest.json").write_text("{")
    with pytest.raises(PackageError, match=r"line3\.partsight: .*manifest"):
        ModelPackage.read(package)


def test_a_manifest_too_large_is_not_read(package: Path) -> None:
    with (package / "manifest.json").open("r+b") as file:
        file.truncate(2**40)  # sparse: takes no space
    with pytest.raises(PackageError, match=rf"manifest\.json .*{2**40}"):
        ModelPackage.read(package)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "gallery/red.png", "report.html", "bank.npy"])
def test_missing_file(verified: Path, name: str) -> None:
    (verified / name).unlink()
    with pytest.raises(PackageError, match=f"{name} "):
        ModelPackage.read(verified)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "gallery/red.png", "report.html", "bank.npy"])
def test_one_altered_bit(verified: Path, name: str) -> None:
    data = bytearray((verified / name).read_bytes())
    data[len(data) // 2] ^= 1
    (verified / name).write_bytes(data)
    read = ModelPackage.read(verified)
    with pytest.raises(PackageError, match=f"{name} .*SHA-256"):
        read.check_hashes()
    if name.endswith(".onnx"):
        with pytest.raises(PackageError, match=f"{name} .*SHA-256"):
            read.model_bytes("fp32")
    if name.endswith(".npy"):
        with pytest.raises(PackageError, match=r"bank\.npy .*SHA-256"):
            read.bank_records()


def test_a_file_lost_after_reading(package: Path) -> None:
    read = ModelPackage.read(package)
    (package / "model.fp32.onnx").unlink()
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx "):
        read.model_bytes("fp32")


def test_missing_precision(tiny_package: Path) -> None:
    with pytest.raises(PackageError, match=r"int8.*fp32.*partsight export RUN --out NEW --precision fp32,int8"):
        ModelPackage.read(tiny_package).model_bytes("int8")


def test_no_model(package: Path) -> None:
    edit(package, lambda document: document.update(models={}))
    with pytest.raises(PackageError, match=r"line3\.partsight: .*no model"):
        ModelPackage.read(package)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "gallery/../../x",
        "..\\x",
        "gallery\\..\\..\\x",
        "C:\\x",
        "C:x",
        "\\x",
        "\\\\server\\share\\x",
        "/etc/hostname",
        "",
        ".",
        "..",
        "x" * 101,
        "a/b/c/d/e",
        "a//b",
        "a/",
        "a\0b",
        "a\n",
        "ä",
        ".hidden",
        "a:stream",
        "GALLER~1",
        "a*",
        "a ",
        "a.",
        "gallery./red.png",
        "nul",
        "gallery/Com1.png",
        "manifest.json",
        "Signature.JSON",
    ],
)
@pytest.mark.parametrize("kind", ["model", "file"])
def test_names_outside_the_package(package: Path, name: str, kind: str) -> None:
    (package.parent / "x").touch()
    if kind == "model":
        edit(package, lambda document: document["models"]["fp32"].update(file=name))
    else:
        edit(package, lambda document: document["files"].update({name: "0" * 64}))
    with pytest.raises(PackageError, match=re.escape(repr(name))):
        ModelPackage.read(package)


@pytest.mark.parametrize("name", ["gallery", "manifest.json/x", "Model.fp32.onnx.png"])
def test_names_that_no_file_has(package: Path, name: str) -> None:
    edit(package, lambda document: document["files"].update({name: "0" * 64}))
    with pytest.raises(PackageError, match=re.escape(name)):
        ModelPackage.read(package)


@pytest.mark.parametrize("name", ["Model.fp32.onnx", "model.fp32.onnx", "GALLERY/red.png"])
def test_names_that_are_one_file_on_some_systems(package: Path, name: str) -> None:
    edit(package, lambda document: document["files"].update({name: "0" * 64}))
    with pytest.raises(PackageError, match=rf"(?i:{name}) twice"):
        ModelPackage.read(package)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "gallery/red.png", "gallery", "manifest.json"])
def test_links(package: Path, name: str) -> None:
    (package / name).rename(package.parent / "outside")
    (package / name).symlink_to(package.parent / "outside")
    with pytest.raises(PackageError, match=f": {name} "):
        ModelPackage.read(package)


def test_a_package_may_be_reached_by_a_link(package: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(package)
    ModelPackage.read(tmp_path / "link").check_hashes()


def test_references(matching_package: Path, tiny_package: Path) -> None:
    package = ModelPackage.read(matching_package)
    for index, colour in enumerate(COLOURS_BGR):
        np.testing.assert_array_equal(package.golden_image(index), solid(colour, SIDE_PX, SIDE_PX))
    with pytest.raises(PackageError, match=r"tiny\.partsight: .*golden images"):
        ModelPackage.read(tiny_package).golden_image(0)


def test_a_reference_without_a_hash(verified: Path) -> None:
    edit(verified, lambda document: document["files"].pop("gallery/green.png"))
    with pytest.raises(PackageError, match=r"line4\.partsight: .*SHA-256 .*gallery/green\.png"):
        ModelPackage.read(verified)


@pytest.mark.parametrize("name", ["../x.jpg", "C:\\x", "/etc/hostname"])
def test_a_reference_outside_the_package(verified: Path, name: str) -> None:
    (verified.parent / "x.jpg").touch()
    edit(verified, lambda document: document["matching"]["references"].__setitem__(0, name))
    with pytest.raises(PackageError, match="SHA-256"):
        ModelPackage.read(verified)
    edit(verified, lambda document: document["files"].update({name: "0" * 64}))
    with pytest.raises(PackageError, match=re.escape(repr(name))):
        ModelPackage.read(verified)


def test_a_missing_reference(verified: Path) -> None:
    (verified / "gallery" / "red.png").unlink()
    with pytest.raises(PackageError, match=r"gallery/red\.png "):
        ModelPackage.read(verified)


def test_an_altered_reference(verified: Path) -> None:
    read = ModelPackage.read(verified)
    data = bytearray((verified / "gallery" / "red.png").read_bytes())
    data[-20] ^= 1
    (verified / "gallery" / "red.png").write_bytes(data)
    labels = list(COLOURS_BGR)
    with pytest.raises(PackageError, match=r"gallery/red\.png .*SHA-256"):
        read.golden_image(labels.index("red"))
    assert read.golden_image(labels.index("blue")).shape == (SIDE_PX, SIDE_PX, 3)
    (verified / "gallery" / "red.png").unlink()
    with pytest.raises(PackageError, match=r"gallery/red\.png "):
        read.golden_image(labels.index("red"))


def test_a_reference_that_is_no_image(verified: Path) -> None:
    """Though its bytes are those that the manifest names."""
    (verified / "gallery" / "red.png").write_bytes(b"no image")
    edit(verified, lambda document: document["files"].update({"gallery/red.png": sha256_bytes(b"no image")}))
    with pytest.raises(PackageError, match=r"line4\.partsight: gallery/red\.png: "):
        ModelPackage.read(verified).golden_image(list(COLOURS_BGR).index("red"))


def test_the_bank(matching_package: Path, tiny_package: Path) -> None:
    records = ModelPackage.read(matching_package).bank_records()
    images = [solid(colour, SIDE_PX, SIDE_PX) for colour in COLOURS_BGR]
    np.testing.assert_array_equal(records, prepare_all(images, range(len(images))))
    with pytest.raises(PackageError, match=r"tiny\.partsight: .*golden images"):
        ModelPackage.read(tiny_package).bank_records()


def test_the_bank_is_mapped_and_not_read(verified: Path) -> None:
    records = ModelPackage.read(verified).bank_records()
    while isinstance(records.base, np.ndarray):
        records = records.base
    assert isinstance(records.base, (mmap.mmap, memoryview)), type(records.base)
    with pytest.raises(ValueError, match="read-only"):
        records[0] = records[1]


def test_a_bank_without_a_hash(verified: Path) -> None:
    edit(verified, lambda document: document["files"].pop("bank.npy"))
    with pytest.raises(PackageError, match=r"SHA-256 .*bank\.npy"):
        ModelPackage.read(verified)


@pytest.mark.parametrize("name", ["bank", "graph"])
def test_a_file_of_matching_outside_the_package(verified: Path, name: str) -> None:
    (verified.parent / "x.npy").touch()
    edit(verified, lambda document: document["matching"].update({name: "../x.npy"}))
    with pytest.raises(PackageError, match=r"SHA-256 .*\.\./x\.npy"):
        ModelPackage.read(verified)
    edit(verified, lambda document: document["files"].update({"../x.npy": "0" * 64}))
    with pytest.raises(PackageError, match=re.escape("'../x.npy'")):
        ModelPackage.read(verified)


def with_bank(package: Path, data: bytes) -> ModelPackage:
    """A package with another bank, whose bytes are those that the manifest names."""
    (package / "bank.npy").write_bytes(data)
    edit(package, lambda document: document["files"].update({"bank.npy": sha256_bytes(data)}))
    return ModelPackage.read(package)


def test_a_bank_of_other_labels(verified: Path) -> None:
    records = ModelPackage.read(verified).bank_records()
    with pytest.raises(PackageError, match=r"line4\.partsight: bank\.npy: "):
        with_bank(verified, encode_bank(records[:5])).bank_records()
    with pytest.raises(PackageError, match=r"bank\.npy: "):
        with_bank(verified, encode_bank(records[[0, 1, 2, 3, 4, 4]])).bank_records()


def test_an_empty_bank(verified: Path) -> None:
    with pytest.raises(PackageError, match=r"bank\.npy"):
        with_bank(verified, b"").bank_records()


def test_a_bank_that_is_larger_than_its_labels_need(verified: Path) -> None:
    with (verified / "bank.npy").open("r+b") as file:
        file.truncate(2**33)  # sparse: takes no space
    with pytest.raises(PackageError, match=rf"bank\.npy .*{2**33}"):
        ModelPackage.read(verified).bank_records()


def of_version_1(package: Path) -> Path:
    """Make a package one of schema version 1: no bank, and another second stage on the same golden images."""

    def change(document: Any) -> None:
        matching = document.pop("matching")
        spec = {"height": matching["spec"]["height"], "width": matching["spec"]["width"], "shortlist": 32}
        document["schema_version"] = 1
        document["verification"] = {"spec": spec, "outlines": None} | {
            name: matching[name] for name in ("decision", "references")
        }
        del document["files"]["bank.npy"]

    (package / "bank.npy").unlink()
    edit(package, change)
    return package


def test_version_1_has_no_bank(verified: Path) -> None:
    package = ModelPackage.read(of_version_1(verified))
    assert package.manifest.schema_version == 1
    assert package.bank_records() is None


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A package with its prototypes in a file of their own."""
    return write_tiny_package(tmp_path / "many.partsight", is_searched=True)


def test_the_prototypes_of_a_package(searched: Path, tiny_package: Path) -> None:
    prototypes = ModelPackage.read(searched).prototypes()
    assert prototypes is not None
    np.testing.assert_array_equal(prototypes, tiny_prototypes())
    assert ModelPackage.read(tiny_package).prototypes() is None


def test_altered_prototypes(searched: Path) -> None:
    (searched / "prototypes.npy").write_bytes(encode_prototypes(-tiny_prototypes()))
    with pytest.raises(PackageError, match=r"prototypes\.npy .*SHA-256"):
        ModelPackage.read(searched).prototypes()


def test_missing_prototypes(searched: Path) -> None:
    (searched / "prototypes.npy").unlink()
    with pytest.raises(PackageError, match=r"prototypes\.npy"):
        ModelPackage.read(searched)


def test_prototypes_without_a_hash(searched: Path) -> None:
    edit(searched, lambda document: document["files"].pop("prototypes.npy"))
    with pytest.raises(PackageError, match=r"SHA-256 .*prototypes\.npy"):
        ModelPackage.read(searched)


def test_prototypes_of_other_labels(searched: Path) -> None:
    edit(searched, lambda document: document["labels"].pop())
    with pytest.raises(PackageError, match=r"prototypes\.npy: .*\(6, 3\).*\(5, d\)"):
        ModelPackage.read(searched).prototypes()


def test_an_array_that_is_larger_than_its_labels_need(searched: Path) -> None:
    with (searched / "prototypes.npy").open("r+b") as file:
        file.truncate(2**33)  # sparse: takes no space
    with pytest.raises(PackageError, match=rf"prototypes\.npy .*{2**33}.* 25231360"):
        ModelPackage.read(searched).check_hashes()
