"""Prepared golden images: gallery and bank for the package, from one pass over the catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partsight.runtime.core import Pixels, progress, sha256_bytes
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import Gallery, prepare_gallery


@dataclass(frozen=True)
class PreparedGoldens:
    """Golden images, prepared for the package.

    Attributes:
        gallery: Golden images and bank, as the package holds them.
        pixels_sha256: SHA-256 of each golden image as the network sees it.
    """

    gallery: Gallery
    pixels_sha256: tuple[str, ...]


def prepare(goldens: Sequence[Pixels], spec: PreprocessSpec, matching: MatchingSpec) -> PreparedGoldens:
    """Read each golden image once and prepare it for the package.

    Args:
        goldens: Golden images, each (height, width, 3) uint8 BGR or (height, width) uint8.
        spec: Preprocessing of the network.
        matching: Size of the references.
    """
    hashed = _Hashed(goldens, spec)
    gallery = prepare_gallery(hashed, spec, matching)
    return PreparedGoldens(gallery, tuple(hashed.digests))


@dataclass
class _Hashed:
    """Yields golden images and keeps the SHA-256 of each prepared image."""

    goldens: Sequence[Pixels]
    spec: PreprocessSpec
    digests: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Pixels]:
        for golden in progress(self.goldens, len(self.goldens), "preparing golden images", "image"):
            self.digests.append(sha256_bytes(preprocess([golden], self.spec).tobytes()))
            yield golden
