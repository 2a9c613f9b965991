"""Pictures: files that people put into folders, and golden images in a package."""

import contextlib
import functools
import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from partsight.runtime.images.image_file import MAX_PIXELS, MIN_SIDE_PX, read_image
from partsight.runtime.images.listing import IMAGE_SUFFIXES
from partsight.runtime.package.gallery import decode_golden_image
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check

_SIDES = (0, 1, 31, 32, 255, 4096, 9000, 20_000, 65_500, 65_535, 2**24, 2**31 - 1, 2**32 - 1)


@contextlib.contextmanager
def open_files(folder: Path) -> Iterator[Case]:
    """Image files that are damaged, have a wrong suffix, or claim a false size in their header."""
    whole = tuple(whole_pictures())
    suffixes = sorted(IMAGE_SUFFIXES)

    def case(rng: random.Random) -> None:
        path = folder / f"part{rng.choice(suffixes)}"
        path.write_bytes(hostile_picture(rng, whole))
        pixels = read_image(path)
        check(pixels.dtype == np.uint8 and pixels.flags.c_contiguous, "not a frame")
        check(pixels.ndim == 2 or pixels.shape[2:] == (3,), f"a picture of shape {pixels.shape}")
        height, width = pixels.shape[:2]
        check(min(height, width) >= MIN_SIDE_PX and height * width <= MAX_PIXELS, "a size that partsight must refuse")

    yield case


@contextlib.contextmanager
def open_references(_folder: Path) -> Iterator[Case]:
    """Golden images of a package that were damaged before hashing."""
    whole = tuple(whole_pictures())

    def case(rng: random.Random) -> None:
        image = decode_golden_image(hostile_picture(rng, whole), "somewhere")
        check(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, f"a picture of {image.shape}")

    yield case


def hostile_picture(rng: random.Random, whole: tuple[bytes, ...]) -> bytes:
    """Return the bytes of a hostile picture."""
    style = rng.random()
    if style < 0.7:
        return damaged(rng, rng.choice(whole), whole)
    if style < 0.95:
        return rng.choice((_bomb_png, _bomb_bmp, _bomb_jpeg, _bomb_tiff, _bomb_webp, _bomb_gif))(rng)
    return garbage(rng, 2000)


def whole_pictures() -> Iterator[bytes]:
    """Yield small pictures of every format and kind that cameras and people save."""
    numbers = np.random.default_rng(5)
    colour = cv2.resize(numbers.integers(0, 256, (5, 6, 3), np.uint8), (48, 40))
    for image in (Image.fromarray(colour), Image.fromarray(colour[:, :, 0])):
        exif = Image.Exif()
        exif[0x0112] = 6
        forms: tuple[tuple[str, dict[str, object]], ...] = (
            ("BMP", {}),
            ("PNG", {"exif": exif, "dpi": (72, 72)}),
            ("JPEG", {"exif": exif, "comment": b"a part"}),
            ("JPEG", {"progressive": True, "subsampling": 2}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}),
            ("TIFF", {"compression": "jpeg"}),
            ("TIFF", {"compression": "packbits"}),
            ("WEBP", {"lossless": True, "exif": exif}),
            ("WEBP", {"quality": 60}),
        )
        for form, options in forms:
            stream = io.BytesIO()
            image.save(stream, form, **options)
            yield stream.getvalue()
    pages = io.BytesIO()
    Image.fromarray(colour).save(pages, "WEBP", save_all=True, append_images=[Image.fromarray(colour[::-1])])
    yield pages.getvalue()
    for mode in ("P", "1", "CMYK", "RGBA", "I;16"):
        stream = io.BytesIO()
        Image.fromarray(colour).convert("L" if mode == "I;16" else mode).save(stream, "TIFF")
        yield stream.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG, whole by its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _side(rng: random.Random) -> int:
    return rng.choice(_SIDES) if rng.random() < 0.7 else rng.randint(1, 12_000)


@functools.cache
def _packed(byte: bytes, count: int) -> bytes:
    return zlib.compress(byte * count, 9)


def _bomb_png(rng: random.Random) -> bytes:
    """A PNG of any size whose pixels or texts are compressed a thousandfold."""
    width, height, depth, kind = _side(rng), _side(rng), rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 6))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, rng.choice((0, 1)))
    zeros = _packed(b"\0", rng.choice((0, 1000, 4_000_000)))
    text = _packed(b"a", rng.choice((0, 2_000_000, 30_000_000))) if rng.random() < 0.3 else b""
    texts = png_chunk(b"zTXt", b"k\0\0" + text) + png_chunk(b"iCCP", b"p\0\0" + text) if text else b""
    body = png_chunk(b"IHDR", header) + texts + png_chunk(b"IDAT", zeros) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _bomb_bmp(rng: random.Random) -> bytes:
    width, height = _side(rng) & 0x7FFFFFFF, _side(rng) & 0xFFFFFFFF
    bits, packing = rng.choice((1, 4, 8, 16, 24, 32)), rng.choice((0, 1, 2, 3))
    info = struct.pack("<IIIHHIIIIII", 40, width, height, 1, bits, packing, 0, 0, 0, _side(rng), 0)
    return b"BM" + struct.pack("<IHHI", 1000, 0, 0, rng.choice((54, 0, 2**31))) + info + bytes(rng.choice((0, 2000)))


def _bomb_jpeg(rng: random.Random) -> bytes:
    """A JPEG whose frame header has another size than its pixels; perhaps with a scan that is repeated many times."""
    image = Image.fromarray(np.zeros((40, 48, 3), np.uint8))
    stream = io.BytesIO()
    image.save(stream, "JPEG", progressive=rng.random() < 0.5)
    data = bytearray(stream.getvalue())
    header = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[header + 5 : header + 9] = struct.pack(">HH", _side(rng) & 0xFFFF, _side(rng) & 0xFFFF)
    scan = data.rfind(b"\xff\xda")
    return bytes(data[:scan]) + bytes(data[scan:-2]) * rng.choice((1, 1, 50, 1000)) + b"\xff\xd9"


def _bomb_tiff(rng: random.Random) -> bytes:
    """A TIFF of any size, in strips or tiles, with one strip for all."""
    strip = _packed(b"\0", rng.choice((0, 1000, 1_000_000)))
    tags = [
        (256, 4, _side(rng)), (257, 4, _side(rng)), (258, 3, rng.choice((1, 8, 16, 32))),
        (259, 3, rng.choice((1, 5, 8))),
        (262, 3, rng.choice((0, 1, 2, 3, 6))), (273, 4, 8), (277, 3, rng.choice((1, 3, 4, 200))),
        (278, 4, _side(rng)), (279, 4, rng.choice((len(strip), 2**32 - 1))), (284, 3, rng.choice((1, 2))),
    ]  # fmt: skip
    if rng.random() < 0.3:
        tags += [(322, 4, _side(rng)), (323, 4, _side(rng)), (324, 4, 8), (325, 4, len(strip))]
    entries = b"".join(
        struct.pack("<HHII", tag, kind, rng.choice((1, 1, 1, 1, 1, 2**28)), value) for tag, kind, value in tags
    )
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def _bomb_webp(rng: random.Random) -> bytes:
    width, height = _side(rng) & 0x3FFF, _side(rng) & 0x3FFF
    size = struct.pack("<I", width | height << 14)[:4]
    body = b"VP8L" + struct.pack("<I", 5 + 100) + b"\x2f" + size + rng.randbytes(100)
    if rng.random() < 0.5:
        canvas = struct.pack("<I", _side(rng) & 0xFFFFFF)[:3] + struct.pack("<I", _side(rng) & 0xFFFFFF)[:3]
        body = b"VP8X" + struct.pack("<I", 10) + rng.choice((b"\0", b"\x02", b"\x10")) + bytes(3) + canvas + body
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _bomb_gif(rng: random.Random) -> bytes:
    """Formats that partsight does not read, by their first bytes."""
    width, height = _side(rng) & 0xFFFF, _side(rng) & 0xFFFF
    return rng.choice(
        (
            b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + rng.randbytes(60),
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(x) print\n%%EOF\n",
            b"%PDF-1.4\n" + rng.randbytes(60),
            b"P6\n%d %d\n255\n" % (width, height) + rng.randbytes(100),
            b"P5\n%d %d\n255\n" % (_side(rng), _side(rng)),
            b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3) + rng.randbytes(60),
            b"\0\0\1\0\1\0" + rng.randbytes(60),
            b"\x59\xa6\x6a\x95" + struct.pack(">IIIIIII", _side(rng), _side(rng), 24, _side(rng), 1, 0, 0),
            b"\x76\x2f\x31\x01" + rng.randbytes(60),
            b"\0\0\0\x0cjP  \r\n\x87\n" + rng.randbytes(60),
            b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (_side(rng), _side(rng)) + rng.randbytes(60),
        )
    )
