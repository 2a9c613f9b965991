"""All 1,424 parts: what must hold for the whole catalogue, not for a sample of it."""

from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import preprocess
from partsight.runtime.inference.engine import SCORE_NAME
from partsight.train.backbones import find_backbone
from partsight.train.catalog import read_catalog
from partsight.train.features import BATCH, FeatureCache
from partsight.train.heads import find_head
from partsight.train.run_folder import TrainConfig
from partsight.train.stack import build_extractor
from partsight.train.trainer import train

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("head", ["cosine", "dense"])
def test_stacked_and_bottleneck_model_agree(head: str, example_parts: Path, tmp_path: Path) -> None:
    run = train(example_parts / "golden", tmp_path / "run", TrainConfig(head=head), tmp_path / "cache")
    assert len(run.record.labels) == 1424
    assert run.record.reached
    assert run.record.golden_accuracy >= 0.99
    stacked = run.load_model()
    catalog = read_catalog(example_parts / "golden")
    extractor = build_extractor(find_backbone("EfficientNetLite0"), "embedded", find_head(head), run.record.preprocess)
    features, computed = FeatureCache(tmp_path / "cache").golden_features(extractor, catalog.goldens)
    assert computed == 0
    bottleneck = stacked.layers[-1].predict(features, verbose=0)[SCORE_NAME]
    whole = np.concatenate(
        [
            stacked.predict_on_batch(preprocess([read_image(golden.path) for golden in chunk], run.record.preprocess))[
                SCORE_NAME
            ]
            for chunk in (catalog.goldens[start : start + BATCH] for start in range(0, len(catalog.goldens), BATCH))
        ]
    )
    difference = np.abs(bottleneck - whole).max()
    print(f"{head}: largest difference of 1,424 × 1,424 scores: {difference:.2g}")
    assert (bottleneck.argmax(axis=1) == whole.argmax(axis=1)).all()
    assert difference <= 1e-5
