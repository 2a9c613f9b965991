"""New golden images next to those of a package of real parts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.enrolment.golden_check import find_misfits
from partsight.runtime.enrolment.new_parts import NewPartImages
from partsight.runtime.images.image_file import ImageFiles
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess
from partsight.runtime.matching import MatchingSpec, prepare_all
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image
from partsight.runtime.package.manifest import Decision
from tests.laid import as_compared, golden

SPEC = MatchingSpec(height=192, width=192)
COUNT = 40
Change = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class RealPackage:
    """A stand-in for a package: real golden images of its first parts, and one more part."""

    labels: tuple[str, ...]
    images: tuple[Pixels, ...]
    records: np.ndarray
    other: Pixels

    def package(self, **preprocessing: Any) -> Any:
        manifest = SimpleNamespace(
            labels=self.labels,
            preprocess=PreprocessSpec(224, 224, **preprocessing),
            matching=SimpleNamespace(spec=SPEC, decision=Decision("agreement", 0.27, "by hand", 4, 0.01)),
        )
        return SimpleNamespace(
            manifest=manifest,
            path="line3.partsight",
            golden_image=lambda index: decode_golden_image(in_package(self.images[index]), "golden"),
        )


@pytest.fixture(scope="module")
def real(example_parts: Path) -> RealPackage:
    names = sorted(folder.name for folder in (example_parts / "golden").iterdir())[:: 1400 // COUNT]
    images = tuple(golden(example_parts, name) for name in names)
    first = [as_compared(image) for image in images[:3]]
    return RealPackage(tuple(names[:-1]), images[:-1], prepare_all(first, range(3)), images[-1])


def in_package(image: Pixels) -> bytes:
    return encode_golden_image(preprocess([image], PreprocessSpec(192, 192))[0])


def new_part(label: str, path: Path, image: Pixels) -> NewPartImages:
    cv2.imwrite(str(path), image)
    return NewPartImages(label, ImageFiles([path]), ("",), (in_package(image),))


def zoomed(scale: float) -> Change:
    def zoom(image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, scale)
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    return zoom


def blurred(image: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)


def tinted(image: Pixels) -> Pixels:
    return np.asarray(np.rint(image * np.array([0.85, 1, 1])), np.uint8)


def noisy(image: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def misfits_of(package: Any, one: NewPartImages, records: np.ndarray | None = None) -> tuple[str, ...]:
    return find_misfits(package, [one], records)[one.label]


@pytest.mark.parametrize(
    ("change", "datum"),
    [
        (zoomed(1.25), "scale"),
        (blurred, "focus"),
        (noisy, "gain"),
        (tinted, "white balance"),
        (lambda image: np.asarray(image // 2), "1.0 EV"),
        (lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8), "0.3 EV"),
    ],
)
def test_a_new_part_with_an_unusual_picture(real: RealPackage, tmp_path: Path, change: Change, datum: str) -> None:
    (text,) = misfits_of(real.package(), new_part("new", tmp_path / "new.png", change(real.other)))
    assert datum in text
    assert str(tmp_path / "new.png") in text


def test_a_new_part_as_the_others_has_none(real: RealPackage, tmp_path: Path) -> None:
    package = real.package(golden_hw=(256, 256))
    assert misfits_of(package, new_part("new", tmp_path / "new.png", real.other)) == ()
    assert find_misfits(package, [], None) == {}


@pytest.mark.parametrize(
    ("size", "preprocessing", "datum"),
    [
        ((300, 300), {"golden_hw": (256, 256)}, "256×256 px"),
        ((320, 240), {}, "1.33"),
        ((300, 300), {}, None),
        ((320, 240), {"region": Region(0, 0, 200, 200)}, None),
    ],
)
def test_a_picture_of_another_size(
    real: RealPackage, tmp_path: Path, size: tuple[int, int], preprocessing: dict[str, Any], datum: str | None
) -> None:
    image = np.asarray(cv2.resize(real.other, size), np.uint8)
    found = misfits_of(real.package(**preprocessing), new_part("new", tmp_path / "new.png", image))
    sizes = [text for text in found if " px" in text or "1.33" in text]
    assert [datum in text for text in sizes if datum] == ([True] if datum else [])
    assert len(sizes) == (datum is not None)


@pytest.mark.parametrize(
    ("change", "datum"),
    [
        (zoomed(1.25), "scale 1.25"),
        (zoomed(0.8), "scale 0.80"),
        (lambda image: np.ascontiguousarray(image[::-1, ::-1]), "180°"),
        (lambda image: image, None),
    ],
)
def test_another_picture_of_a_part_is_laid_over_its_old_one(
    real: RealPackage, tmp_path: Path, change: Change, datum: str | None
) -> None:
    one = new_part(real.labels[0], tmp_path / "again.png", change(real.images[0]))
    found = misfits_of(real.package(), one, real.records)
    assert len(found) == (datum is not None)
    assert datum is None or datum in found[0]


def test_a_package_of_few_parts_or_without_golden_images(real: RealPackage, tmp_path: Path) -> None:
    one = new_part("new", tmp_path / "new.png", blurred(real.other))
    few = RealPackage(real.labels[:2], real.images[:2], real.records, real.other)
    assert misfits_of(few.package(), one) == ()
    bare = real.package()
    bare.manifest.matching = None
    assert misfits_of(bare, one) == ()
