"""Golden images of the package that answers now, for a browser."""

from collections.abc import Mapping
from dataclasses import dataclass

from partsight.runtime.page.why.overlay_pictures import jpeg_of
from partsight.runtime.recognition import Recognizer

_SIDE_PX = 360


@dataclass(frozen=True)
class GoldenPictures:
    """Golden images of one package.

    Attributes:
        package_id: Id of the package.
        indices: Index of each label; empty if the package has no golden images.
    """

    package_id: str
    indices: Mapping[str, int]

    @classmethod
    def of(cls, recognizer: Recognizer) -> "GoldenPictures":
        """Return those of a recogniser's package."""
        has_images = recognizer.manifest.matching is not None
        labels = recognizer.labels if has_images else ()
        return cls(recognizer.package_id, {label: index for index, label in enumerate(labels)})

    def url(self, label: str | None) -> str:
        """Return the address of a part's golden image; empty if the package has none."""
        index = self.indices.get(label or "")
        return "" if index is None else f"/golden/{index}.jpg?package={self.package_id}"


def golden_jpeg(recognizer: Recognizer, index: int) -> bytes | None:
    """Return the golden image of a class, as JPEG; None if the package has no such class or no golden images.

    Raises:
        PartsightError: the golden image is damaged, or the recogniser is closed.
    """
    if not 0 <= index < len(recognizer.labels):
        return None
    image = recognizer.golden_image(recognizer.labels[index])
    return None if image is None else jpeg_of(image, _SIDE_PX)
