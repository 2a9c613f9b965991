"""Files that a decoder reads without a warning, though they hold other than one 8-bit picture."""

import io
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from partsight.runtime.core.errors import ImageError
from partsight.runtime.images.file_fault import EXPECTED, ONE_PICTURE
from partsight.runtime.images.image_file import read_image

RGB = cv2.resize(np.random.default_rng(1).integers(0, 256, (5, 6, 3), np.uint8), (48, 40))
GREY = np.ascontiguousarray(RGB[:, :, 1])
HEIGHT, WIDTH = GREY.shape
PLANES = [RGB[:, :, index].tobytes() for index in range(3)]

TIFF_TYPES = {2: "B", 3: "H", 4: "I"}
BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, FORMAT = 258, 262, 277, 284, 338, 339


def tiff(
    data: Sequence[bytes], tags: Mapping[int, tuple[int, Sequence[int]]], order: str = "<", big: bool = False
) -> bytes:
    """Return a TIFF with one page: strips, and (type, values) of tags."""
    position = "Q" if big else "I"
    start = 16 if big else 8
    strips = [start + sum(map(len, data[:index])) for index in range(len(data))]
    page = start + sum(map(len, data))
    every = {
        256: (4, [WIDTH]), 257: (4, [HEIGHT]), 259: (3, [1]), 273: (4, strips), 278: (4, [HEIGHT]),
        279: (4, [len(strip) for strip in data]), **tags,
    }  # fmt: skip
    entry = 20 if big else 12
    after = page + (8 if big else 2) + entry * len(every) + struct.calcsize(position)
    entries = further = b""
    for tag, (kind, values) in sorted(every.items()):
        packed = struct.pack(f"{order}{len(values)}{TIFF_TYPES[kind]}", *values)
        field = packed if len(packed) <= entry - 12 + 4 else struct.pack(order + position, after + len(further))
        further += b"" if field is packed else packed
        entries += struct.pack(f"{order}HH{position}", tag, kind, len(values)) + field.ljust(8 if big else 4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, page) if big else struct.pack(f"{order}HI", 42, page)
    count = struct.pack(order + ("Q" if big else "H"), len(every))
    return mark + head + b"".join(data) + count + entries + bytes(struct.calcsize(position)) + further


def grey_tiff(tags: Mapping[int, tuple[int, Sequence[int]]], data: bytes = GREY.tobytes(), **options: object) -> bytes:
    plain = {BITS: (3, [8]), PHOTOMETRIC: (3, [1]), SAMPLES: (3, [1])}
    return tiff([data], {**plain, **tags}, **options)  # type: ignore[arg-type]


def rgb_tiff(tags: Mapping[int, tuple[int, Sequence[int]]], data: Sequence[bytes] = (RGB.tobytes(),)) -> bytes:
    return tiff(data, {BITS: (3, [8, 8, 8]), PHOTOMETRIC: (3, [2]), SAMPLES: (3, [3]), **tags})


def png(depth: int, kind: int, raw: np.ndarray, before: bytes = b"", after: bytes = b"") -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in raw)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bmp(bits: int, body: bytes, compression: int = 0, masks: Sequence[int] = (), palette: bytes = b"") -> bytes:
    fields = struct.pack(f"<{len(masks)}I", *masks)
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, -HEIGHT, 1, bits, compression, len(body), 0, 0, len(palette) // 4, 0)
    start = 14 + len(info) + len(fields) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + fields + palette + body


def with_fourth(values: np.ndarray | int) -> bytes:
    fourth = np.broadcast_to(np.asarray(values, np.uint8), GREY.shape)
    return np.dstack([RGB[:, :, ::-1], fourth]).tobytes()


def encoded(form: str, image: np.ndarray = RGB, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form, **options)
    return stream.getvalue()


def several(form: str, count: int = 3) -> bytes:
    others = [Image.fromarray(np.roll(RGB, step, 0)) for step in range(1, count)]
    return encoded(form, save_all=True, append_images=others)


JPEG, PNG, WEBP = encoded("JPEG"), encoded("PNG"), encoded("WEBP", lossless=True)

SEVERAL = {
    "tiff pages": several("TIFF"),
    "big tiff pages": encoded("TIFF", save_all=True, append_images=[Image.fromarray(RGB)], big_tiff=True),
    "tiff picture within a page": grey_tiff({330: (4, [8])}),
    "tiff depth": grey_tiff({32997: (4, [3])}, GREY.tobytes() * 3),
    "imagej stack": grey_tiff({270: (2, list(b"ImageJ=1.53t\nimages=10\nslices=10\n\0"))}, GREY.tobytes() * 10),
    "thumbnail page": grey_tiff({254: (4, [1])}),
    "old thumbnail page": grey_tiff({255: (3, [2])}),
    "apng": several("PNG"),
    "apng of one picture": png(8, 2, RGB, chunk(b"acTL", struct.pack(">II", 1, 0))),
    "animated webp": several("WEBP"),
    "mpo": several("MPO", 2),
    "two jpeg": JPEG * 2,
    "two jpeg, aligned": JPEG + bytes(512) + JPEG,
    "two png": PNG * 2,
    "two png, aligned": PNG + bytes(512) + PNG,
    "two webp": WEBP * 2,
    "two bmp": encoded("BMP") * 2,
}

DEPTHS = {
    "planar 16-bit tiff": rgb_tiff({BITS: (3, [16] * 3), PLANAR: (3, [2])}, [plane * 2 for plane in PLANES]),
    "mixed tiff": rgb_tiff({BITS: (3, [8, 16, 8])}),
    "16-bit tiff": grey_tiff({BITS: (3, [16])}, GREY.tobytes() * 2),
    "12-bit tiff": grey_tiff({BITS: (3, [12])}, GREY.tobytes() * 2),
    "4-bit tiff": grey_tiff({BITS: (3, [4])}),
    "signed tiff": grey_tiff({FORMAT: (3, [2])}),
    "signed rgb tiff": rgb_tiff({FORMAT: (3, [2, 2, 2])}),
    "float tiff": rgb_tiff({BITS: (3, [32] * 3), FORMAT: (3, [3] * 3)}, [RGB.astype("<f4").tobytes()]),
    "12-bit jpeg": JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
    "16-bit png": png(16, 2, RGB.astype(">u2")),
    "4-bit png": png(4, 0, GREY[:, ::2]),
    "2-bit png": png(2, 0, GREY[:, ::4]),
    "16-bit bmp": bmp(16, GREY.tobytes() * 2),
    "565 bmp": bmp(16, GREY.tobytes() * 2, 3, (0xF800, 0x7E0, 0x1F)),
    "4-bit bmp": bmp(4, GREY[:, ::2].tobytes(), palette=b"".join(bytes([i, i, i, 0]) for i in range(16))),
}

CHANNELS = {
    "tiff with a fourth channel": rgb_tiff({BITS: (3, [8] * 4), SAMPLES: (3, [4]), EXTRA: (3, [0])}, [with_fourth(9)]),
    "planar tiff with a fourth channel": rgb_tiff(
        {BITS: (3, [8] * 4), SAMPLES: (3, [4]), EXTRA: (3, [0]), PLANAR: (3, [2])}, [*PLANES, GREY.tobytes()]
    ),
    "grey tiff with a second channel": grey_tiff(
        {BITS: (3, [8, 8]), SAMPLES: (3, [2]), EXTRA: (3, [0])}, np.dstack([GREY, GREY]).tobytes()
    ),
    "three grey channels": rgb_tiff({PHOTOMETRIC: (3, [1])}),
    "rgb png with a transparent colour": png(8, 2, RGB, chunk(b"tRNS", bytes(6))),
    "grey png with a transparent colour": png(8, 0, GREY, chunk(b"tRNS", bytes(2))),
    "png with a late transparent colour": png(8, 2, RGB, after=chunk(b"tRNS", bytes(6))),
    "webp with transparency": encoded("WEBP", np.dstack([RGB, GREY])),
    "bmp with a fourth channel": bmp(32, with_fourth(GREY)),
    "lab tiff": rgb_tiff({PHOTOMETRIC: (3, [8])}),
    "ycbcr tiff": rgb_tiff({PHOTOMETRIC: (3, [6])}),
}

WHOLE = {
    "planar tiff": (rgb_tiff({PLANAR: (3, [2])}, PLANES), RGB),
    "white is 0": (grey_tiff({PHOTOMETRIC: (3, [0])}, (255 - GREY).tobytes()), GREY),
    "big-endian tiff": (grey_tiff({}, order=">"), GREY),
    "big tiff": (grey_tiff({}, big=True), GREY),
    "one depth for all": (rgb_tiff({BITS: (3, [8])}), RGB),
    "imagej picture": (grey_tiff({270: (2, list(b"ImageJ=1.53t\nunit=mm\n\0"))}), GREY),
    "page of a document": (grey_tiff({254: (4, [2])}), GREY),
    "turned tiff": (rgb_tiff({274: (3, [6])}), np.rot90(RGB, -1)),
    "gamma": (png(8, 2, RGB, chunk(b"gAMA", struct.pack(">I", 100_000))), RGB),
    "text after a png": (PNG + b"trailer", RGB),
    "32-bit bmp": (bmp(32, with_fourth(0)), RGB),
    "opaque 32-bit bmp": (bmp(32, with_fourth(255)), RGB),
    "bmp with masks": (bmp(32, with_fourth(7), 3, (0xFF0000, 0xFF00, 0xFF)), RGB),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_pictures(tmp_path: Path, name: str) -> None:
    (tmp_path / "part").write_bytes(SEVERAL[name])
    with pytest.raises(ImageError, match=f"part: .*{ONE_PICTURE}"):
        read_image(tmp_path / "part")


@pytest.mark.parametrize("name", DEPTHS)
def test_samples_of_other_than_8_bits(tmp_path: Path, name: str) -> None:
    (tmp_path / "part").write_bytes(DEPTHS[name])
    with pytest.raises(ImageError, match=f"part: .*{EXPECTED}"):
        read_image(tmp_path / "part")


@pytest.mark.parametrize("name", CHANNELS)
def test_other_channels(tmp_path: Path, name: str) -> None:
    (tmp_path / "part").write_bytes(CHANNELS[name])
    with pytest.raises(ImageError, match=f"part: .*{EXPECTED}"):
        read_image(tmp_path / "part")


@pytest.mark.parametrize("name", WHOLE)
def test_rare_files_of_one_picture(tmp_path: Path, name: str) -> None:
    data, expected = WHOLE[name]
    (tmp_path / "part").write_bytes(data)
    np.testing.assert_array_equal(
        read_image(tmp_path / "part"), expected[..., ::-1] if expected.ndim == 3 else expected
    )


def test_the_error_names_the_number_of_pages(tmp_path: Path) -> None:
    (tmp_path / "part.tif").write_bytes(several("TIFF", 7))
    with pytest.raises(ImageError, match="7"):
        read_image(tmp_path / "part.tif")


def test_a_chain_of_pages_without_end(tmp_path: Path) -> None:
    data = bytearray(grey_tiff({}))
    page = struct.unpack_from("<I", data, 4)[0]
    struct.pack_into("<I", data, page + 2 + 12 * struct.unpack_from("<H", data, page)[0], page)
    (tmp_path / "part.tif").write_bytes(data)
    assert read_image(tmp_path / "part.tif").shape == GREY.shape


@pytest.mark.parametrize("trailer", [b"SEFT\xff\xd8\xff", b"\0\0\0\x18ftypmp42" + JPEG])
def test_what_phones_append_to_a_photo(tmp_path: Path, trailer: bytes) -> None:
    (tmp_path / "part.jpg").write_bytes(JPEG + trailer)
    assert read_image(tmp_path / "part.jpg").shape == RGB.shape


def test_a_thumbnail_in_the_header_is_not_read(tmp_path: Path) -> None:
    thumbnail = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encoded("JPEG", RGB[::4, ::4])
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    (tmp_path / "part.jpg").write_bytes(JPEG[:2] + segment + JPEG[2:])
    assert read_image(tmp_path / "part.jpg").shape == RGB.shape


def mpo(*further: np.ndarray, segment: bytes = b"") -> bytes:
    """Return a JPEG with an index of further pictures."""
    data = encoded("MPO", save_all=True, append_images=[Image.fromarray(image) for image in further])
    return data[:2] + segment + data[2:]


def reduced_page(order: str = "<") -> bytes:
    return struct.pack(f"{order}HHHII", 1, 254, 4, 1, 1) + bytes(4)


def with_pages(data: bytes, *pages: bytes) -> bytes:
    """Return a TIFF with further pages in its chain."""
    whole = bytearray(data)
    page = struct.unpack_from("<I", whole, 4)[0]
    for further in pages:
        count = struct.unpack_from("<H", whole, page)[0]
        struct.pack_into("<I", whole, page + 2 + 12 * count, len(whole))
        page = len(whole)
        whole += further
    return bytes(whole)


SMALL = RGB[::2, ::2]
WITH_PREVIEWS = {
    "previews in the index": mpo(RGB[:, :-8], SMALL),
    "grey gain map": mpo(GREY[::2, ::2]),
    "preview after the photo": JPEG + encoded("JPEG", SMALL),
    "depth map after padding": JPEG + bytes(99) + encoded("JPEG", GREY[:, ::2]),
    "smaller pages": with_pages(grey_tiff({}), reduced_page(), reduced_page()),
    "smaller page within": grey_tiff({330: (4, [8])}, reduced_page() + GREY.tobytes()),
    "smaller page within, big-endian": grey_tiff({330: (4, [8])}, reduced_page(">") + GREY.tobytes(), order=">"),
}
NOT_ONLY_PREVIEWS = {
    "two in the index": mpo(SMALL, RGB[::-1]),
    "larger in the index": encoded("MPO", RGB[:, :-8], save_all=True, append_images=[Image.fromarray(RGB)]),
    "larger after it": encoded("JPEG", RGB[:, :-8]) + JPEG,
    "another page after the smaller one": with_pages(grey_tiff({}), reduced_page(), b"\1\0\0\1\4\0" + bytes(12)),
    "mask": with_pages(grey_tiff({}), reduced_page().replace(b"\1\0\0\0\1\0\0\0", b"\1\0\0\0\4\0\0\0")),
    "thumbnail page first": with_pages(grey_tiff({254: (4, [1])}), b"\1\0\0\1\4\0" + bytes(12)),
}


@pytest.mark.parametrize("name", WITH_PREVIEWS)
def test_previews_are_not_pictures_of_their_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "part").write_bytes(WITH_PREVIEWS[name])
    assert read_image(tmp_path / "part").shape[:2] == GREY.shape


@pytest.mark.parametrize("name", NOT_ONLY_PREVIEWS)
def test_more_than_previews(tmp_path: Path, name: str) -> None:
    (tmp_path / "part").write_bytes(NOT_ONLY_PREVIEWS[name])
    with pytest.raises(ImageError, match=ONE_PICTURE):
        read_image(tmp_path / "part")


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"),
        (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version="1.0"/>'),
    ],
)
def test_a_gain_map_is_not_a_picture_of_its_own(tmp_path: Path, marker: int, content: bytes) -> None:
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    (tmp_path / "part.jpg").write_bytes(mpo(RGB[::-1], segment=segment))
    assert read_image(tmp_path / "part.jpg").shape == RGB.shape


@pytest.mark.parametrize(
    ("data", "format_name"),
    [(b"GIF89a", "GIF"), (b"\0\0\0\x18ftypheic", "HEIF"), (b"version https://git-lfs", "Git LFS"), (b"", "empty")],
)
def test_what_was_received_instead(tmp_path: Path, data: bytes, format_name: str) -> None:
    (tmp_path / "part.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=format_name):
        read_image(tmp_path / "part.jpg")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "part.png")
    with pytest.raises(ImageError, match=r"part\.png: "):
        read_image(tmp_path / "part.png")


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    try:
        (tmp_path / "part.png").symlink_to(tmp_path / "missing.png")
    except OSError:
        pytest.skip("this user may not make links")
    with pytest.raises(ImageError, match=r"part\.png: "):
        read_image(tmp_path / "part.png")
