"""Fixtures of the commissioning tests: a package, frames of its line, and both after commissioning."""

from pathlib import Path

import pytest

from partsight.runtime.calibration import Commissioned, commission
from tests.runtime.calibration.commissioning.lines import write_frames, write_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight")


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="session")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("unknown"), count=2, seed=7)


@pytest.fixture(scope="session")
def done(package: Path, frames: Path, unknown: Path, tmp_path_factory: pytest.TempPathFactory) -> Commissioned:
    return commission(package, frames, tmp_path_factory.mktemp("new") / "new.partsight", unknown=unknown)
