"""One training and one export for all that begins with a package."""

import shutil
from pathlib import Path

import pytest

from tests.integration.commands import partsight

PARTS = 24


@pytest.fixture(scope="session")
def catalog(example_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden images of some parts that have a line frame. Shared: copy it before changing it."""
    folder = tmp_path_factory.mktemp("job") / "golden"
    chosen = [path.name for path in sorted((example_parts / "line").iterdir())[::8]][:PARTS]
    for name in chosen:
        shutil.copytree(example_parts / "golden" / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def package(catalog: Path) -> Path:
    """Output of the command for the catalogue. Shared: copy it before changing it."""
    run, package = catalog.parent / "run", catalog.parent / "line.partsight"
    trained = partsight("train", catalog, "--out", run)
    assert trained.returncode == 0, trained.stderr
    assert "reached a golden accuracy of 1.0000" in trained.stdout
    exported = partsight("export", run, "--precision", "fp32", "--out", package)
    assert exported.returncode == 0, exported.stderr
    assert f"{PARTS} of {PARTS}" in exported.stdout
    return package
