"""The feature network of the small run."""

import pytest

from partsight.runtime.images.preprocessing import PreprocessSpec
from partsight.train.backbones import find_backbone
from partsight.train.features import Extractor
from partsight.train.heads import find_head
from partsight.train.stack import build_extractor

SPEC = PreprocessSpec(height=64, width=64, via=(192, 192))  # that of a run on the example parts


@pytest.fixture(scope="session", autouse=True)
def _quick(few_samples: None) -> None:
    """Use `few_samples` in every training."""


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    """EfficientNet-Lite0 at 64 px with embedded weights, average pooling."""
    return build_extractor(find_backbone("EfficientNetLite0"), "embedded", find_head("cosine"), SPEC)
