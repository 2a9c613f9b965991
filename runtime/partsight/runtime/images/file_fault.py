"""Faults of an image file, found in its bytes: several pictures, other than 8 bits a sample, transparency.

Decoders read such files without a warning: they return the first of several pictures, half of the bits, or a colour in
place of transparency. Each function returns the fault with its remedy, or None.
"""

import math
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from partsight.runtime.images.header import MAX_SCANS, READ_FORMATS, format_of, has_too_many_scans, size_of
from partsight.runtime.images.tiff_tags import (
    BITS_PER_SAMPLE,
    EXTRA_SAMPLES,
    IMAGE_DEPTH,
    NEW_SUBFILE_TYPE,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    SAMPLES_PER_PIXEL,
    SUBFILE_TYPE,
    TiffTags,
    read_tiff_tags,
)

EXPECTED = "expected 8-bit RGB or grey"
ONE_PICTURE = "expected one picture"
DEPTH = "save it with 8 bits a channel, like the camera's frames"
FLATTEN = "flatten its transparency onto the background that the camera sees"
_SPLIT = "save each picture in its own file"

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_PADDING = b"\0\r\n"
_REST_BYTES = 2**16

_JPEG_START = b"\xff\xd8\xff"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def find_fault(file: BinaryIO, name: str) -> str | None:
    """Return why a file is not one 8-bit picture without transparency, and the remedy; None if it is one.

    Args:
        file: File, open for reading; its position changes.
        name: Name of the format, one of `READ_FORMATS`.

    Raises:
        struct.error, ValueError: the file is damaged.
    """
    return _CHECKS[name](file)


def _check_jpeg(file: BinaryIO) -> str | None:
    data = file.read()
    if has_too_many_scans(data):
        return f"more than {MAX_SCANS} scans; expected one or a few: save it again as a JPEG"
    position, has_index, starts = 2, False, data.count(_JPEG_START)
    while match := _NEXT_MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == 0xD9 or (marker == 0xDA and starts == 1):  # the end, or pixels that no other picture follows
            break
        if marker in (0x01, 0xD8):
            continue
        length, first = struct.unpack_from(">HB", data, position)
        if marker in _JPEG_FRAMES and first != 8:
            return f"samples of {first} bits; {EXPECTED}: {DEPTH}"
        has_index |= marker == 0xE2 and data.startswith(b"MPF\0", position + 2)
        position += length
    if has_index or starts == 1:  # `read_image` checks the pictures of an index
        return None
    rest = data[position:].lstrip(_PADDING)
    return _several() if rest.startswith(_JPEG_START) and not is_smaller_jpeg(rest, size_of(data)) else None


def is_smaller_jpeg(data: bytes, size: tuple[int, int] | None) -> bool:
    """Return whether a JPEG has fewer pixels than `size`: a preview, gain map or depth map of a photo."""
    own = size_of(data)
    return own is not None and size is not None and math.prod(own) < math.prod(size)


def _check_png(file: BinaryIO) -> str | None:
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IHDR":
            depth = file.read(9)[8]
            if depth != 8:
                return f"samples of {depth} bits; {EXPECTED}: {DEPTH}"
            length -= 9
        if kind == b"tRNS":
            return f"a transparent colour; {EXPECTED}: {FLATTEN}"
        if kind == b"acTL":
            return _several("an animation")
        file.seek(length + 4, 1)
        if kind == b"IEND":
            break
    return _check_rest(file)


def _check_webp(file: BinaryIO) -> str | None:
    size = struct.unpack("<4xI4x", file.read(12))[0]
    while file.tell() < size + 8 and len(header := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", header)
        if kind in (b"ANIM", b"ANMF"):
            return _several("an animation")
        if kind == b"ALPH":
            return f"transparency; {EXPECTED}: {FLATTEN}"
        file.seek(length + length % 2, 1)
    file.seek(size + 8 + size % 2)
    return _check_rest(file)


def _check_bmp(file: BinaryIO) -> str | None:
    head = file.read(66)
    size, start, header_size = struct.unpack_from("<I4xII", head, 2)
    bits = struct.unpack_from("<H", head, 24 if header_size == 12 else 28)[0]
    if bits not in (8, 24, 32):
        return f"{bits} bits a pixel; {EXPECTED}: save it with 24 bits a pixel, or 8 if it is grey"
    if bits == 32 and _uses_fourth_byte(file, head, start):
        return f"a fourth channel, probably transparency; {EXPECTED}: {FLATTEN}"
    file.seek(size)
    return _check_rest(file) if size > start else None


def _uses_fourth_byte(file: BinaryIO, head: bytes, start: int) -> bool:
    """Return whether the fourth byte of the pixels has a meaning: then it differs between pixels."""
    unused = 0xFF000000
    if struct.unpack_from("<I", head, 30)[0] == 3:  # the header has the bit masks of the colours
        red, green, blue = struct.unpack_from("<III", head, 54)
        unused = 0xFFFFFFFF & ~(red | green | blue)
    offset = (unused.bit_length() - 1) // 8  # of the fourth byte within a pixel
    width, height = struct.unpack_from("<ii", head, 18)
    file.seek(start)
    left, values = 4 * abs(width * height), set[int]()
    while left > 0 and len(values) < 2 and (block := file.read(min(left, 2**20))):
        values |= set(block[offset::4])
        left -= len(block)
    return len(values) > 1


def _check_tiff(file: BinaryIO) -> str | None:
    tags = read_tiff_tags(file)
    several = _tiff_pictures(tags)
    if several is not None:
        return several
    bits, kinds = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(SAMPLE_FORMAT, (1,))
    if set(bits) != {8}:
        return f"samples of {', '.join(str(number) for number in sorted(set(bits)))} bits; {EXPECTED}: {DEPTH}"
    if set(kinds) != {1}:
        return f"samples that are not unsigned integers; {EXPECTED}: {DEPTH}"
    if EXTRA_SAMPLES in tags.values:
        return f"a further channel, probably transparency; {EXPECTED}: {FLATTEN}"
    photometric, samples = tags.get(PHOTOMETRIC, (-1,))[0], tags.get(SAMPLES_PER_PIXEL, (len(bits),))[0]
    if samples != {0: 1, 1: 1, 2: 3, 6: 3}.get(photometric, samples) or photometric < 0:
        return f"{samples} channels of unknown meaning; {EXPECTED}: save it as RGB or grey"
    return None


def _tiff_pictures(tags: TiffTags) -> str | None:
    if tags.pages > 1:
        return _several(f"{tags.pages} pages")
    if tags.inner_pages:
        return _several("pictures within a page")
    if tags.get(NEW_SUBFILE_TYPE, (0,))[0] & 0b101 or tags.get(SUBFILE_TYPE, (1,))[0] == 2:
        return f"a thumbnail or mask on its first page; {ONE_PICTURE}: save the picture itself"
    layers = max(tags.get(IMAGE_DEPTH, (1,))[0], tags.imagej_images)
    return _several(f"a stack of {layers} pictures") if layers > 1 else None


def _check_rest(file: BinaryIO) -> str | None:
    """Return a fault if another picture follows the end of this one, as in joined files."""
    return _several() if format_of(file.read(_REST_BYTES).lstrip(_PADDING)[:512]) in READ_FORMATS else None


def _several(contents: str = "several pictures") -> str:
    return f"{contents} in one file; {ONE_PICTURE}: {_SPLIT}"


_CHECKS: dict[str, Callable[[BinaryIO], str | None]] = {
    "BMP": _check_bmp,
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "TIFF": _check_tiff,
    "WebP": _check_webp,
}
