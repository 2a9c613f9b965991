"""Fixtures that every room's tests share."""

import math
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partsight.runtime import ModelPackage
from tests.shared import built_once
from tests.tiny import tiny_matching, write_tiny_package

if TYPE_CHECKING:
    from partsight.train.run_folder import RunFolder

# With this variable, each of the hundreds of child processes would compile partsight again, for a second each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests and their child processes use Keras without the settings of other projects on this machine.
os.environ |= {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(Path(os.devnull) / "keras")}


@pytest.fixture(autouse=True)
def _no_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable progress lines, whose number depends on the speed of the machine."""
    monkeypatch.setattr("partsight.runtime.core.progress_bars.LINE_S", math.inf)


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model package that knows solid colours (see `tests.tiny`). Shared: copy it before changing it."""
    return write_tiny_package(tmp_path_factory.mktemp("packages") / "tiny.partsight")


@pytest.fixture(scope="session")
def matching_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny package with matching. Shared: copy it before changing it."""
    return write_tiny_package(tmp_path_factory.mktemp("packages") / "v.partsight", matching=tiny_matching())


@pytest.fixture
def altered_package(matching_package: Path, tmp_path: Path) -> Path:
    """A copy of `matching_package` with another golden image of `red`."""
    package = Path(shutil.copytree(matching_package, tmp_path / "altered.partsight"))
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

    def copy(folder: Path) -> None:
        for source in sorted((example_parts / "golden").iterdir())[::120]:
            shutil.copytree(source, folder / "golden" / source.name)

    return built_once(tmp_path_factory, "catalog", copy) / "golden"


@pytest.fixture(scope="session")
def small_run(small_catalog: Path, few_samples: None, tmp_path_factory: pytest.TempPathFactory) -> "RunFolder":
    """EfficientNet-Lite0 at 64 px with a cosine head, over `small_catalog`. Shared: copy it before changing it."""
    from partsight.train.run_folder import RunFolder, TrainConfig
    from partsight.train.trainer import train

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:  # a dozen frames would choose the threshold by chance
            patch.setattr("partsight.train.calibration.MIN_SAMPLE", 120)
            train(small_catalog, folder / "run", TrainConfig(side_px=64))

    folder = built_once(tmp_path_factory, "run", make)
    return RunFolder.read(folder / "run")


@pytest.fixture(scope="session")
def small_package(small_run: "RunFolder", tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """The FP32 package of `small_run`. Shared: copy it before changing it."""

    def make(folder: Path) -> None:
        from partsight.export.exporter import export

        export(small_run.path, folder / "new" / "line.partsight", precisions=("fp32",))

    return ModelPackage.read(built_once(tmp_path_factory, "package", make) / "new" / "line.partsight")


@pytest.fixture(scope="session")
def few_samples() -> Iterator[None]:
    """Let training vary as few golden images as possible, because that takes most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partsight.train.calibration.MIN_SAMPLE", 1)
        patch.setattr("partsight.train.tolerance.SAMPLE", 1)
        yield


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training use a network of two blocks, for tests of everything else."""
    from tests.faults.tiny_backbone import find

    monkeypatch.setattr("partsight.train.trainer.find_backbone", find)


@pytest.fixture
def pythons_sigint() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, even if a background shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
