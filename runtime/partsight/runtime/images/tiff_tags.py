"""Tags of a TIFF file: the number of its pictures, and the form of their samples."""

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

NEW_SUBFILE_TYPE = 254
SUBFILE_TYPE = 255
BITS_PER_SAMPLE = 258
PHOTOMETRIC = 262
SAMPLES_PER_PIXEL = 277
SUB_IFDS = 330
EXTRA_SAMPLES = 338
SAMPLE_FORMAT = 339
IMAGE_DEPTH = 32997

_DESCRIPTION = 270
_READ = frozenset(
    {
        *(NEW_SUBFILE_TYPE, SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, _DESCRIPTION, SAMPLES_PER_PIXEL, SUB_IFDS),
        *(EXTRA_SAMPLES, SAMPLE_FORMAT, IMAGE_DEPTH),
    }
)
_TYPES = {1: "B", 2: "c", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_VALUES = 64
_MAX_BYTES = 65536
_MAX_PAGES = 10_000
_IMAGEJ = re.compile(rb"^ImageJ=.*?^images=(\d{1,9})", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class TiffTags:
    """Tags of the first page, and numbers of pictures.

    Attributes:
        values: Values of the tags above that the page has, by number of the tag; at most the first 64 values each.
        imagej_images: Number of pictures that ImageJ stored in this page; only the description has it.
        pages: Number of pages, without the smaller copies that viewers and scanners add.
        inner_pages: Number of pages within the first page, without smaller copies.
    """

    values: dict[int, tuple[int, ...]]
    imagej_images: int
    pages: int
    inner_pages: int

    def get(self, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return the values of a tag, or the default if the page lacks it."""
        return self.values.get(tag) or default


@dataclass(frozen=True)
class _Layout:
    """Form of numbers in a file: byte order, and whether positions have 8 bytes (BigTIFF)."""

    order: str
    is_big: bool

    def read(self, file: BinaryIO, form: str) -> tuple[int, ...]:
        packed = struct.Struct(self.order + form)
        return packed.unpack(file.read(packed.size))

    @property
    def position(self) -> str:
        return "Q" if self.is_big else "I"


def read_tiff_tags(file: BinaryIO) -> TiffTags:
    """Read the tags of a TIFF file's first page.

    Raises:
        struct.error, ValueError: the file is damaged.
    """
    head = file.read(4)
    order = "<" if head.startswith(b"II") else ">"
    layout = _Layout(order, b"+" in head)
    if layout.is_big:
        file.read(4)
    (start,) = layout.read(file, layout.position)
    values, description = _read_page(file, layout, start)
    stack = _IMAGEJ.match(description)
    inner = sum(not _is_smaller_copy(file, layout, page) for page in values.get(SUB_IFDS, ()))
    return TiffTags(values, int(stack[1]) if stack else 1, _count_pages(file, layout, start), inner)


def _read_page(file: BinaryIO, layout: _Layout, start: int) -> tuple[dict[int, tuple[int, ...]], bytes]:
    file.seek(start)
    (count,) = layout.read(file, "Q" if layout.is_big else "H")
    field_bytes = 8 if layout.is_big else 4
    entries = [(layout.read(file, "HH" + layout.position), file.read(field_bytes)) for _ in range(min(count, 65535))]
    values: dict[int, tuple[int, ...]] = {}
    description = b""
    for (tag, kind, length), field in entries:
        form = _TYPES.get(kind)
        if form is None or tag not in _READ:
            continue
        taken = min(length, _MAX_BYTES if form == "c" else _MAX_VALUES)
        data = _read_field(file, layout, field, struct.calcsize(form) * taken)
        if form != "c":
            values[tag] = struct.unpack(f"{layout.order}{taken}{form}", data)
        elif tag == _DESCRIPTION:
            description = data
    return values, description


def _read_field(file: BinaryIO, layout: _Layout, field: bytes, size: int) -> bytes:
    """Return the bytes of a tag: the field itself if they fit into it, else the bytes at the position in the field."""
    if size > len(field):
        file.seek(struct.unpack(layout.order + layout.position, field)[0])
        return file.read(size)
    return field[:size]


def _count_pages(file: BinaryIO, layout: _Layout, start: int) -> int:
    """Count pages along their chain, up to its end, a page seen before, or a page outside the file."""
    seen: set[int] = set()
    copies = 0
    while start and start not in seen and len(seen) < _MAX_PAGES:
        file.seek(start)
        try:
            (count,) = layout.read(file, "Q" if layout.is_big else "H")
            file.seek(count * (20 if layout.is_big else 12), 1)
            (following,) = layout.read(file, layout.position)
        except (struct.error, OverflowError, OSError):
            break
        seen.add(start)
        copies += _is_smaller_copy(file, layout, start)
        start = following
    return len(seen) - copies


def _is_smaller_copy(file: BinaryIO, layout: _Layout, start: int) -> bool:
    """Return whether a page is marked as a smaller copy. Its first tag has the mark: tags are sorted by number."""
    try:
        file.seek(start)
        layout.read(file, "Q" if layout.is_big else "H")
        tag, kind, _ = layout.read(file, "HH" + layout.position)
        (value,) = layout.read(file, _TYPES[kind]) if tag in (NEW_SUBFILE_TYPE, SUBFILE_TYPE) else (0,)
    except (struct.error, KeyError, OverflowError, OSError):
        return False
    return bool(value & 0b101 == 1 if tag == NEW_SUBFILE_TYPE else tag == SUBFILE_TYPE and value == 2)
