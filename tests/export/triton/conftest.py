"""Packages for a model repository."""

import shutil
from pathlib import Path

import msgspec
import pytest

from partsight.export.triton import Source
from partsight.runtime import ModelPackage
from partsight.runtime.core.safe_folder import MANIFEST_NAME


@pytest.fixture
def source(matching_package: Path) -> Source:
    return Source(ModelPackage.read(matching_package))


@pytest.fixture
def retrained(matching_package: Path, tmp_path: Path) -> Source:
    """The same parts with another threshold, so another package."""
    return Source(ModelPackage.read(with_threshold(matching_package, tmp_path / "retrained.partsight", 0.6)))


def with_threshold(package: Path, out: Path, threshold: float) -> Path:
    """Write a copy of a package with another threshold."""
    copy = Path(shutil.copytree(package, out))
    manifest = ModelPackage.read(package).manifest
    assert manifest.matching is not None
    decision = msgspec.structs.replace(manifest.matching.decision, threshold=threshold)
    matching = msgspec.structs.replace(manifest.matching, decision=decision)
    (copy / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, matching=matching).to_json())
    return copy
