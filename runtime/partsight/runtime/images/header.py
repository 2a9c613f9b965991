"""The header of an image file: its format, its size, and whether it takes too long to decode."""

import codecs
import re
import struct

READ_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WebP")
"""Formats that partsight reads."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    *((0, magic, "TIFF") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (8, b"WEBP", "WebP"),
    (0, b"GIF8", "GIF picture"),
    (4, b"ftypavif", "AVIF picture"),
    (4, b"ftypavis", "AVIF picture"),
    *((4, b"ftyp" + brand, "HEIF picture") for brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")),
    (4, b"ftypcrx ", "raw picture"),
    (0, b"IIRO", "raw picture"),
    (0, b"IIU\0", "raw picture"),
    (0, b"FUJIFILMCCD-RAW", "raw picture"),
    (0, b"8BPS", "Photoshop picture"),
    (0, b"gimp xcf", "GIMP picture"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000 picture"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL picture"),
    (0, b"\xff\x0a", "JPEG XL picture"),
    (0, b"II\xbc", "JPEG XR picture"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR picture"),
    (0, b"#?RADIANCE", "Radiance picture"),
    (0, b"\0\0\1\0", "icon picture"),
    (0, b"%!PS", "PostScript picture"),
    (0, b"<svg", "SVG picture"),
    (0, b"version https://git-lfs", "pointer of Git LFS"),
    (4, b"ftyp", "video"),
    (8, b"AVI ", "video"),
    (0, b"\x1a\x45\xdf\xa3", "video"),
    *((0, magic, "archive") for magic in (b"PK\3\4", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")),
    (0, b"\x28\xb5\x2f\xfd", "archive"),
    (257, b"ustar", "archive"),
    (0, b"L\0\0\0\x01\x14\x02\0", "shortcut of Windows"),
    (0, b"%PDF", "PDF"),
)
"""(offset in bytes, bytes there, format): the first match counts."""

_PNM = re.compile(rb"P[4-7]\s")
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_JPEG = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG before a frame header, which has the size."""

MAX_SCANS = 100
"""Limit of scans of a JPEG; ten are usual. Each scan takes a pass over all pixels, but only a few bytes in the file."""

_SCAN = b"\xff\xda"  # within the data of a scan, 0 or a restart marker follows each 0xFF

_IN_TEXTS = dict.fromkeys(map(ord, "\t\n\r\f\x1b\ufeff"))
"""Characters of texts that are not printable."""


def format_of(head: bytes) -> str:
    """Return the format of a file by its first 512 bytes.

    Returns:
        One of `READ_FORMATS`; another format, whose name ends in " picture" for pictures; "text"; "" if unknown.
    """
    for position, magic, name in _MAGIC:
        if head.startswith(magic, position):
            return name
    if head.startswith(b"BM") and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADERS:
        return "BMP"
    if head and _is_text(head):
        return "text"
    return "PNM picture" if _PNM.match(head) else ""


def _is_text(head: bytes) -> bool:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: `head` may end within a letter
    except UnicodeDecodeError:
        return False
    return text.translate(_IN_TEXTS).isprintable()


def has_too_many_scans(data: bytes) -> bool:
    """Return whether a JPEG has more than `MAX_SCANS` scans, and so takes too long to decode."""
    return data.startswith(_JPEG) and data.count(_SCAN) > MAX_SCANS


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return height and width of a PNG or JPEG, in pixels; None for anything else."""
    if data.startswith(_PNG) and len(data) >= len(_PNG) + 8:
        width, height = struct.unpack_from(">II", data, len(_PNG))
        return height, width
    return _size_of_jpeg(data) if data.startswith(_JPEG) else None


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    offset = len(_JPEG)
    while offset + 9 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # padding
            offset += 1
            continue
        length, _, height, width = struct.unpack_from(">HBHH", data, offset + 2)
        if marker in _FRAMES:
            return height, width
        offset += 2 + length
    return None
