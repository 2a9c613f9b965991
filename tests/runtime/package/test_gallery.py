from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.core.errors import PackageError
from partsight.runtime.images import PreprocessSpec, Region, preprocess
from partsight.runtime.matching import matching_spec, prepare_all
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image, prepare_gallery, resized
from tests.laid import as_compared, golden


def test_colour_survives(example_parts: Path) -> None:
    """A grey level or two on real parts, and edges of saturated colours at full resolution."""
    for part in ("7SEGMENT-LED__HDSM531_HDSM533_SMD", "PinHeader_1x12_P2.00mm_Horizontal", "TO-8-2"):
        image = as_compared(golden(example_parts, part))
        found = decode_golden_image(encode_golden_image(image), "here").astype(int)
        assert np.abs(found - image).mean() < 1.5
        assert np.abs(found - image).max() < 32
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    found = decode_golden_image(encode_golden_image(stripes), "here").astype(int)
    assert np.abs(found - stripes).mean() < 8  # chroma at half resolution would make all of it purple


def test_bytes_are_the_same_each_time(example_parts: Path) -> None:
    image = as_compared(golden(example_parts, "TO-8-2"))
    data = encode_golden_image(image)
    assert data[:2] == b"\xff\xd8"  # JPEG
    assert encode_golden_image(image) == data
    found = decode_golden_image(data, "here")
    assert (found.shape, found.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image", b"\0" * 1000, b"\xff\xd8\xff\xe0" + b"\xff" * 100])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^gallery/00003\.jpg: "):
        decode_golden_image(data, "gallery/00003.jpg")


def test_damaged_bytes_raise_nothing_else(example_parts: Path) -> None:
    """They decode to something of some size, or they are refused."""
    whole = encode_golden_image(as_compared(golden(example_parts, "TO-8-2")))
    rng = np.random.default_rng(3)
    indices = [*range(0, 700), *rng.integers(700, len(whole), 100)]
    for index in indices:
        for byte in (0, 255):
            try:
                found = decode_golden_image(whole[:index] + bytes([byte]) + whole[index + 1 :], "here")
            except PackageError:
                continue
            assert found.ndim == 3


def test_a_picture_too_large_to_decode() -> None:
    """A header of 65,535 × 65,535 px on a few bytes."""
    _, encoded = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    data = bytearray(encoded.tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(PackageError, match=r"^here: "):
        decode_golden_image(bytes(data), "here")


@pytest.mark.parametrize("side", [2000, 20_000, 65_500])
def test_a_picture_that_claims_to_be_huge_is_not_decoded(side: int) -> None:
    """OpenCV would take 3 GB for it, or raise an error of its own."""
    data = bytearray(encode_golden_image(np.zeros((48, 64, 3), np.uint8)))
    index = data.index(b"\xff\xc0")
    data[index + 5 : index + 9] = side.to_bytes(2, "big") * 2
    with pytest.raises(PackageError, match=f"^here: .*{side}×{side} px.* 1024 px"):
        decode_golden_image(bytes(data), "here")


def test_a_picture_of_another_size_than_in_its_header() -> None:
    png = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    for data in (png[:60], png[:20] + b"\0\0\0\0" + png[24:]):
        with pytest.raises(PackageError, match=r"^here: "):
            decode_golden_image(data, "here")


def test_a_golden_image_of_another_size_is_brought_to_it() -> None:
    image = np.zeros((32, 40, 3), np.uint8)
    assert resized(image, (32, 40)) is image
    assert resized(image, (36, 42)).shape == (36, 42, 3)
    assert (resized(np.full((32, 40, 3), 90, np.uint8), (36, 42)) == 90).all()


def test_a_gallery_is_prepared_from_its_files(example_parts: Path) -> None:
    """A threshold found with these records holds on the line, which compares frames with the files."""
    goldens = [golden(example_parts, part) for part in ("TO-8-2", "PinHeader_1x12_P2.00mm_Horizontal")]
    network = PreprocessSpec(32, 32)
    spec = matching_spec(goldens[0], network)
    gallery = prepare_gallery(iter(goldens), network, spec)
    prepared = preprocess(goldens, spec.preprocess(network))
    decoded = [decode_golden_image(data, "here") for data in gallery.files]
    assert gallery.files == tuple(encode_golden_image(image) for image in prepared)
    assert (gallery.records == prepare_all(decoded)).all()
    assert (gallery.records["image"] != prepare_all(prepared)["image"]).any()
    assert gallery.records["class"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("shape", "region", "expected"),
    [
        ((50, 400, 3), None, (36, 192, 3)),
        ((1000, 40), None, (192, 36, 3)),
        ((300, 400, 3), Region(100, 0, 150, 300), (192, 96, 3)),
    ],
)
def test_files_keep_the_shape_of_what_the_network_sees(
    shape: tuple[int, ...], region: Region | None, expected: tuple[int, ...]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    network = PreprocessSpec(64, 64, "bgr" if len(shape) == 3 else "mono", region)
    gallery = prepare_gallery([image], network, matching_spec(image, network))
    assert decode_golden_image(gallery.files[0], "here").shape == expected
