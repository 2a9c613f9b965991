import cv2
import numpy as np
import pytest

from partsight.runtime.images.header import format_of, size_of

IMAGE = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("progressive", [0, 1])
def test_size(suffix: str, progressive: int) -> None:
    data = cv2.imencode(suffix, IMAGE, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    assert size_of(data) == (40, 50)


def test_markers_before_the_frame_are_passed_over() -> None:
    data = cv2.imencode(".jpg", IMAGE)[1].tobytes()
    assert size_of(data[:2] + b"\xff\xff\xff\xfe\x00\x08remark" + data[2:]) == (40, 50)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8abc" * 9, b"BM" + bytes(60), b"\x89PNG\r\n\x1a\n"]
)
def test_none(data: bytes) -> None:
    assert size_of(data) is None


def test_a_jpeg_without_a_frame() -> None:
    data = cv2.imencode(".jpg", IMAGE)[1].tobytes()
    assert size_of(data[: data.index(b"\xff\xc0")]) is None


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", ""),
        (b"\0\1\2", ""),
        (b"BM 10 mm, from the second shelf", "text"),
        ("Größe M8".encode(), "text"),
        ("Größe".encode()[:3], "text"),  # the end lies within a letter
        ("Größe".encode("utf-16"), "text"),
        (b"P6 bolt", "text"),
        (b"P6\n40 33\n255\n\0\1\xff", "PNM picture"),
        (b"RIFF\0\0\0\0AVI ", "video"),
        (bytes(257) + b"ustar", "archive"),
    ],
)
def test_formats(head: bytes, name: str) -> None:
    assert format_of(head) == name


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".png", ".tif", ".webp"])
def test_formats_that_are_read(suffix: str) -> None:
    data = cv2.imencode(suffix, IMAGE)[1].tobytes()
    expected = {".jpg": "JPEG", ".tif": "TIFF", ".webp": "WebP"}.get(suffix, suffix[1:].upper())
    assert format_of(data[:512]) == expected
