from collections.abc import Iterable

import numpy as np
import pytest

from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Decision
from partsight.runtime.session import FloatArray
from partsight.train.calibrate import LARGEST_SAMPLE, calibrate
from partsight.train.heads import find_head

COSINE = find_head("cosine")


class Scorer:
    """Scores pictures by their brightness, and keeps what it was shown."""

    def __init__(self) -> None:
        self.images: list[Pixels] = []
        self.scores: FloatArray = np.empty(0, np.float32)

    def __call__(self, images: Iterable[Pixels], total: int) -> FloatArray:
        self.images = list(images)
        assert len(self.images) == total
        self.scores = np.array([image.mean() / 255 for image in self.images], np.float32)
        return self.scores


def goldens(count: int) -> list[Pixels]:
    """Pictures of even brightness, each brighter than the last by more than exposure varies."""
    levels = np.geomspace(20, 200, count)
    return [np.full((32, 32, 3), level, np.uint8) for level in levels]


def run(count: int, share: float, seed: int = 0, head: str = "cosine") -> tuple[Decision, Scorer]:
    scorer = Scorer()
    return calibrate(goldens(count), scorer, find_head(head), share, seed), scorer


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.99, 1])
@pytest.mark.parametrize("count", [1, 2, 12, 60])
def test_no_more_than_the_share_is_refused(share: float, count: int) -> None:
    decision, scorer = run(count, share)
    assert (scorer.scores < decision.threshold).mean() <= share
    assert decision.threshold in scorer.scores.astype(float)
    assert (scorer.scores < decision.threshold).mean() > share - 2 / count  # nor many fewer


def test_what_it_says() -> None:
    decision, _ = run(12, 0.05)
    assert decision.score == "cosine"
    assert decision.samples == 12
    assert decision.expected_false_reject == 0.05
    assert decision.method == "quantile of the best scores of 12 varied golden images"
    assert run(12, 0.05, head="dense")[0].score == "probability"


def test_every_golden_image_is_varied_once() -> None:
    _, scorer = run(12, 0.01)
    found = sorted(image.mean() for image in scorer.images)
    for brightness, golden in zip(found, goldens(12), strict=True):
        assert brightness == pytest.approx(golden.mean(), rel=0.10)
    assert all(len(np.unique(image)) > 1 for image in scorer.images)  # noise: none is the golden image itself


def test_of_many_a_sample_is_drawn() -> None:
    decision, scorer = run(LARGEST_SAMPLE + 50, 0.01)
    assert decision.samples == len(scorer.images) == LARGEST_SAMPLE


def test_the_seed_draws() -> None:
    first, again, other = (run(12, 0.5, seed)[0].threshold for seed in (1, 1, 2))
    assert first == again != other


def test_grey_images() -> None:
    scorer = Scorer()
    calibrate([image[:, :, 0].copy() for image in goldens(3)], scorer, COSINE, 0.01, 0)
    assert {image.shape for image in scorer.images} == {(32, 32)}
