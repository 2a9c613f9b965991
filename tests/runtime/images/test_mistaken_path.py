"""A path of another kind than the command expects: the error names the kind and the command that helps."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from partsight.runtime import ModelPackage, PackageError, Recognizer
from partsight.runtime.core.errors import CatalogError, RunError
from partsight.runtime.images.mistaken_path import describe_mistake
from tests.tiny import solid


@pytest.fixture
def place(matching_package: Path, tmp_path: Path) -> Path:
    """A folder with one of each: package, run, archives, a folder around a package, catalogues, an empty folder."""
    shutil.copytree(matching_package, tmp_path / "p.partsight")
    shutil.copytree(matching_package, tmp_path / "outer" / "p.partsight")
    shutil.make_archive(str(tmp_path / "p"), "zip", tmp_path, "p.partsight")
    shutil.make_archive(str(tmp_path / "p"), "gztar", tmp_path, "p.partsight")
    (tmp_path / "zip_without_suffix").write_bytes((tmp_path / "p.zip").read_bytes())
    for folder in ("run", "cat", "parts/red", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "model.keras").write_bytes(b"keras")
    (tmp_path / "alone.keras").write_bytes(b"keras")
    for image in ("cat/red.png", "parts/red/1.png"):
        cv2.imwrite(str(tmp_path / image), solid("red"))
    return tmp_path


PACKAGES = {
    "run": "partsight export {}/run --out",
    "run/model.keras": "partsight export {}/run --out",
    "p.zip": "manifest.json",
    "p.tar.gz": "manifest.json",
    "zip_without_suffix": "manifest.json",
    "outer": "{}/outer/p.partsight",
    "p.partsight/manifest.json": "model package {}/p.partsight",
    "p.partsight/gallery": "model package {}/p.partsight",
    "alone.keras": "partsight train CATALOG",
    "cat": "partsight train {}/cat --out",
    "parts": "partsight train {}/parts --out",
    "cat/red.png": "image",
    "empty": "empty folder",
    "nothing": "partsight export",
}


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("read", [Recognizer, ModelPackage.read, ModelPackage.examine])
def test_in_place_of_a_package(name: str, read: Callable[[Path], object], place: Path) -> None:
    with pytest.raises(PackageError) as caught:
        read(place / name)
    assert str(caught.value).startswith(f"{place / name}: ")
    assert PACKAGES[name].format(place) in str(caught.value)


def test_a_model_alone_where_a_folder_is_needed(place: Path) -> None:
    with pytest.raises(PackageError, match=re.escape(f"model package {place / 'p.partsight'}")):
        ModelPackage.examine(place / "p.partsight" / "model.fp32.onnx")


def test_a_package_that_lacks_files_is_still_one(place: Path) -> None:
    (place / "p.partsight" / "model.fp32.onnx").unlink()
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx"):
        ModelPackage.read(place / "p.partsight")


def test_a_bundle(place: Path) -> None:
    bundle = place / "bundle.onnx"
    bundle.write_bytes(b"\x08\x08partsight.bundle")
    with pytest.raises(PackageError, match=r"bundle\.onnx: .*partsight bundle"):
        Recognizer(bundle)


RUNS = {
    "p.partsight": "model package",
    "p.partsight/manifest.json": "model package {}/p.partsight",
    "p.zip": "run.json",
    "run/model.keras": "run folder {}/run",
    "cat": "partsight train {}/cat",
    "nothing": "partsight train",
}


@pytest.mark.parametrize("name", RUNS)
def test_in_place_of_a_run(name: str, place: Path) -> None:
    run_folder = pytest.importorskip("partsight.train.run_folder")
    with pytest.raises(RunError) as caught:
        run_folder.RunFolder.read(place / name)
    assert RUNS[name].format(place) in str(caught.value)


CATALOGS = {
    "p.partsight": "model package",
    "run": "run folder",
    "p.zip": "archive",
    "cat/red.png": "{}/cat",
    "p.partsight/model.fp32.onnx": "model package",
}


@pytest.mark.parametrize("name", CATALOGS)
def test_in_place_of_a_catalogue(name: str, place: Path) -> None:
    catalog = pytest.importorskip("partsight.train.catalog")
    with pytest.raises(CatalogError) as caught:
        catalog.read_catalog(place / name)
    assert CATALOGS[name].format(place) in str(caught.value)


@pytest.mark.parametrize("name", ["cat", "parts", "empty", "nothing"])
def test_no_mistake_in_a_catalogue(name: str, place: Path) -> None:
    assert describe_mistake(place / name, "catalog") == ""
