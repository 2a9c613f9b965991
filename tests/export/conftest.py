"""The small run as a package, and its network converted once."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from partsight.export import exporter
from partsight.export.conversion import Converted, convert
from partsight.runtime import ModelPackage
from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.trainer import train
from tests.faults import tiny_backbone
from tests.shared import built_once


@pytest.fixture(scope="session", autouse=True)
def _quick(few_samples: None) -> None:
    """Use `few_samples` in every test of export."""


@pytest.fixture(scope="session")
def package(small_package: ModelPackage) -> ModelPackage:
    """The FP32 package of `small_run`, in a folder that export creates."""
    return small_package


@pytest.fixture(scope="session")
def tiny_run(small_catalog: Path, few_samples: None, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of a network of two blocks, for tests of everything else. Shared: copy it before changing it."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("partsight.train.trainer.find_backbone", tiny_backbone.find)
            train(small_catalog, folder / "run", TrainConfig(side_px=64))

    return RunFolder.read(built_once(tmp_path_factory, "tiny-run", make) / "run")


@pytest.fixture(scope="session")
def copies(small_run: RunFolder) -> Callable[[object], Converted]:
    """Stand in for `convert`, which takes most of an export's time and always returns the same graph."""
    converted = convert(small_run.load_model())

    def copied(network: object) -> Converted:
        model = onnx.ModelProto()
        model.CopyFrom(converted.model)
        return Converted(model, converted.summary)

    return copied


@pytest.fixture
def converted_once(copies: Callable[[object], Converted], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exports of `small_run` share one conversion."""
    monkeypatch.setattr(exporter, "convert", copies)
