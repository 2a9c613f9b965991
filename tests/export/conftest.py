"""A small trained run, for everything that export does with it."""

from pathlib import Path

import pytest

from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.trainer import train


@pytest.fixture(scope="session")
def small_run(small_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """EfficientNet-Lite0 at 64 px with a cosine head, over `small_catalog`."""
    return train(small_catalog, tmp_path_factory.mktemp("runs") / "run", TrainConfig(side_px=64))
