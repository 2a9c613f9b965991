"""What several tests of training share: a small trained run, and the network that its features come from."""

from pathlib import Path

import pytest

from partsight.runtime.preprocess import PreprocessSpec
from partsight.train.backbones import find_backbone
from partsight.train.features import Extractor
from partsight.train.heads import find_head
from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.stack import build_extractor
from partsight.train.trainer import train

SPEC = PreprocessSpec(height=64, width=64, via=(192, 192))  # that of a run on the example parts


@pytest.fixture(scope="session", autouse=True)
def _quick(few_samples: None) -> None:
    """For all trainings."""


@pytest.fixture(scope="session")
def small_run(small_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """EfficientNet-Lite0 at 64 px with a cosine head, over `small_catalog`. Shared: copy it before changing it."""
    return train(small_catalog, tmp_path_factory.mktemp("runs") / "run", TrainConfig(side_px=64))


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    """EfficientNet-Lite0 at 64 px with embedded weights, average pooling."""
    return build_extractor(find_backbone("EfficientNetLite0"), "embedded", find_head("cosine"), SPEC)
