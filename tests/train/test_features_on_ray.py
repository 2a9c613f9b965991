"""Features of golden images on the actors of Ray."""

from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.cluster.batch import ActorPlan, RayMap
from partsight.train.catalog import read_catalog
from partsight.train.features import Extractor, FeatureCache
from tests.ray_session import local_ray
from tests.runtime.cluster.batch.conftest import RAY_DATA_WARNS


@pytest.mark.long
@pytest.mark.filterwarnings(RAY_DATA_WARNS)
def test_features_are_those_of_one_process(extractor: Extractor, example_parts: Path, tmp_path: Path) -> None:
    goldens = read_catalog(example_parts / "golden").goldens[:96]
    here, _ = FeatureCache(tmp_path / "here").golden_features(extractor, goldens)
    with local_ray(cpus=2):
        run = RayMap(ActorPlan(actors=2, cpus=1))
        there, computed = FeatureCache(tmp_path / "there").golden_features(extractor, goldens, run)
    print(f"{computed} features, largest difference {np.abs(here - there).max():.3g}")
    assert computed == len(goldens)
    np.testing.assert_array_equal(there, here)
