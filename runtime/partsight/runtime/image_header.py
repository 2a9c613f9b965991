"""What a picture would take to decode, by its file's bytes: memory for its pixels, and time for its scans."""

import struct

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_JPEG = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that a frame header follows, with its size."""

MOST_SCANS = 100
"""Of a JPEG. Ten are usual; each goes over all pixels, and takes a few bytes in the file."""

_SCAN = b"\xff\xda"  # within a scan's own bytes, 0xFF is always followed by 0 or a restart marker


def has_too_many_scans(data: bytes) -> bool:
    """Say whether a JPEG would be decoded for longer than its size explains."""
    return data.startswith(_JPEG) and data.count(_SCAN) > MOST_SCANS


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return height and width of a PNG or JPEG, in pixels; None for anything else."""
    if data.startswith(_PNG) and len(data) >= len(_PNG) + 8:
        width, height = struct.unpack_from(">II", data, len(_PNG))
        return height, width
    return _size_of_jpeg(data) if data.startswith(_JPEG) else None


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    place = len(_JPEG)
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fills up
            place += 1
            continue
        length, _, height, width = struct.unpack_from(">HBHH", data, place + 2)
        if marker in _FRAMES:
            return height, width
        place += 2 + length
    return None
