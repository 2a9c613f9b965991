"""The size of a picture by the first bytes of its file, before a decoder takes memory for its pixels."""

import struct

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_JPEG = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that a frame header follows, with its size."""


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
