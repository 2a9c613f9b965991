from collections.abc import Sequence

import numpy as np

from partsight.runtime.core import Pixels, sha256_bytes
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import prepare_gallery
from partsight.train.prepared import prepare

NETWORK, MATCHING = PreprocessSpec(32, 32), MatchingSpec(height=36, width=36)


class Counted(Sequence[Pixels]):
    """Images that note each reading."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self.images = images
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        image = self.images[index]
        self.read.append(index)
        return image


def test_one_pass_gives_gallery_and_hashes() -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (5, 48, 60, 3), np.uint8))
    counted = Counted(images)
    found, expected = prepare(counted, range(5), NETWORK, MATCHING), prepare_gallery(images, NETWORK, MATCHING)
    assert counted.read == list(range(5))
    assert found.gallery.files == expected.files
    assert found.gallery.records.tobytes() == expected.records.tobytes()
    assert found.pixels_sha256 == tuple(sha256_bytes(row.tobytes()) for row in preprocess(images, NETWORK))


def test_several_references_of_a_class() -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (5, 48, 60, 3), np.uint8))
    found, alone = prepare(images, [0, 0, 0, 1, 2], NETWORK, MATCHING), prepare_gallery(images, NETWORK, MATCHING)
    assert found.gallery.files == alone.files
    assert found.gallery.golden_files == tuple(alone.files[row] for row in (0, 3, 4))
    assert found.gallery.records["class"].tolist() == [0, 0, 0, 1, 2]
    assert found.gallery.records["image"].tobytes() == alone.records["image"].tobytes()
    goldens = preprocess([images[row] for row in (0, 3, 4)], NETWORK)
    assert found.pixels_sha256 == tuple(sha256_bytes(row.tobytes()) for row in goldens)
