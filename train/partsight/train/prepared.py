"""Prepared references: gallery and bank for the package, from one pass over the catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partsight.runtime.core import Pixels, progress, sha256_bytes
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import Gallery, prepare_gallery


@dataclass(frozen=True)
class PreparedReferences:
    """Golden images and further references, prepared for the package.

    Attributes:
        gallery: Files and bank, as the package holds them.
        pixels_sha256: SHA-256 of each class's golden image as the network sees it.
    """

    gallery: Gallery
    pixels_sha256: tuple[str, ...]


def prepare(
    references: Sequence[Pixels], class_of: Sequence[int], spec: PreprocessSpec, matching: MatchingSpec
) -> PreparedReferences:
    """Read each reference once and prepare it for the package.

    Args:
        references: Golden image of each class, followed by its further references, each (height, width, 3) uint8 BGR
            or (height, width) uint8.
        class_of: Class of each reference, rising.
        spec: Preprocessing of the network.
        matching: Size of the references.
    """
    hashed = _Hashed(references, spec)
    gallery = prepare_gallery(hashed, spec, matching, class_of)
    return PreparedReferences(gallery, tuple(hashed.digests[row] for row in gallery.bank.references_of[:, 0]))


@dataclass
class _Hashed:
    """Yields images and keeps the SHA-256 of each as the network sees it."""

    images: Sequence[Pixels]
    spec: PreprocessSpec
    digests: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Pixels]:
        for image in progress(self.images, len(self.images), "preparing golden images", "image"):
            self.digests.append(sha256_bytes(preprocess([image], self.spec).tobytes()))
            yield image
