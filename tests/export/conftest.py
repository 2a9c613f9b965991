"""A small trained run, for everything that export does with it."""

from pathlib import Path

import onnx
import pytest

from partsight.export import exporter
from partsight.export.convert import Converted, convert
from partsight.export.exporter import export
from partsight.runtime import ModelPackage
from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.trainer import train


@pytest.fixture(scope="session", autouse=True)
def _quick(few_samples: None) -> None:
    """For all trainings."""


@pytest.fixture(scope="session")
def small_run(small_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """EfficientNet-Lite0 at 64 px with a cosine head, over `small_catalog`."""
    return train(small_catalog, tmp_path_factory.mktemp("runs") / "run", TrainConfig(side_px=64))


@pytest.fixture(scope="session")
def package(small_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """What export makes of `small_run` in FP32 alone, in a folder that it had to make first."""
    return export(small_run.path, tmp_path_factory.mktemp("packages") / "new" / "line.partsight", precisions=("fp32",))


@pytest.fixture(scope="session")
def _converted(small_run: RunFolder) -> Converted:
    return convert(small_run.load_model())


@pytest.fixture
def converted_once(_converted: Converted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting takes most of an export's time, and gives the same graph each time: hand out copies of one."""

    def copied(network: object) -> Converted:
        model = onnx.ModelProto()
        model.CopyFrom(_converted.model)
        return Converted(model, _converted.summary)

    monkeypatch.setattr(exporter, "convert", copied)
