"""Fixtures of the enrolment tests: an old package, images of new parts, and the path of the new package."""

from pathlib import Path

import pytest

from tests.runtime.enrolment.enrolling import ORANGE, VIOLET, picture, write_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight")


@pytest.fixture
def orange(tmp_path: Path) -> Path:
    return picture(tmp_path / "orange.png", ORANGE)


@pytest.fixture
def violet(tmp_path: Path) -> Path:
    return picture(tmp_path / "violet.png", VIOLET)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new.partsight"
