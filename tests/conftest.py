"""Fixtures that every room's tests share."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import tiny_matching, write_tiny_package


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model package that knows solid colours (see `tests.tiny`). Shared: copy it before changing it."""
    return write_tiny_package(tmp_path_factory.mktemp("packages") / "tiny.partsight")


@pytest.fixture(scope="session")
def verified_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and frames are compared with its golden images. Shared: copy it before changing it."""
    return write_tiny_package(tmp_path_factory.mktemp("packages") / "v.partsight", matching=tiny_matching())


@pytest.fixture
def altered_package(verified_package: Path, tmp_path: Path) -> Path:
    """A copy of that one whose golden image of `red` was altered."""
    package = Path(shutil.copytree(verified_package, tmp_path / "altered.partsight"))
    (package / "gallery" / "red.png").write_bytes((package / "gallery" / "blue.png").read_bytes())
    return package


@pytest.fixture(scope="session")
def example_parts() -> Path:
    """The folder of real images: `golden/PART/golden.jpg`, `line/PART/N.jpg`, `unknown/PART.jpg`."""
    folder = Path(__file__).parents[1] / "examples" / "parts"
    if not folder.is_dir():
        pytest.skip("the example images are not part of this copy of the source")
    return folder


@pytest.fixture(scope="session")
def small_catalog(example_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real golden images, one folder each. Shared: copy it before changing it."""
    folder = tmp_path_factory.mktemp("catalog") / "golden"
    for source in sorted((example_parts / "golden").iterdir())[::120]:
        shutil.copytree(source, folder / source.name)
    return folder


@pytest.fixture(scope="session")
def few_samples() -> Iterator[None]:
    """Let a calibration take no more frames than there are parts: of a dozen, it is most of a training's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partsight.train.calibrate.SMALLEST_SAMPLE", 1)
        yield


@pytest.fixture
def pythons_sigint() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, though a shell that runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
