"""Bytes that were something once."""

import random
import struct

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def damaged(rng: random.Random, data: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """Return bytes with one to a few injuries, as disks, cables and people cause them.

    Args:
        rng: to choose by.
        data: whole.
        others: of which pieces may be put in.
    """
    result = bytearray(data)
    for _ in range(1 if rng.random() < 0.6 else rng.randint(2, 8)):
        rng.choice(_INJURIES)(rng, result)
    if others and rng.random() < 0.15:
        other = rng.choice(others)
        cut = rng.randint(0, len(other))
        place = rng.randint(0, len(result))
        result[place : place + rng.randint(0, 64)] = other[cut : cut + rng.randint(1, 256)]
    return bytes(result)


def garbage(rng: random.Random, longest: int) -> bytes:
    """Return up to `longest` bytes that were never anything: of all values, or of few."""
    size = rng.choice((rng.randint(0, 16), rng.randint(0, longest)))
    if rng.random() < 0.5:
        return rng.randbytes(size)
    return bytes(rng.choices(rng.randbytes(rng.randint(1, 4)), k=size))


def _flip_bit(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))


def _cut_end(rng: random.Random, data: bytearray) -> None:
    del data[rng.randint(0, len(data)) :]


def _cut_out(rng: random.Random, data: bytearray) -> None:
    start = rng.randint(0, len(data))
    del data[start : start + rng.choice((1, 2, 4, rng.randint(0, 64), rng.randint(0, len(data))))]


def _put_in(rng: random.Random, data: bytearray) -> None:
    start = rng.randint(0, len(data))
    data[start:start] = garbage(rng, 64)


def _say_again(rng: random.Random, data: bytearray) -> None:
    start = rng.randint(0, len(data))
    piece = data[start : start + rng.randint(1, 128)]
    place = rng.randint(0, len(data))
    data[place:place] = piece * rng.choice((1, 1, 2, 50))


def _set_number(rng: random.Random, data: bytearray) -> None:
    """Put a number of the edge of its range where a length may stand."""
    form = rng.choice(("<B", ">B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    if len(data) >= size:
        place = rng.randrange(len(data) - size + 1)
        data[place : place + size] = struct.pack(form, rng.choice(_EDGES) & (1 << 8 * size) - 1)


def _wipe(rng: random.Random, data: bytearray) -> None:
    """Zero a block, as a power cut leaves it."""
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice((4, 16, 512, 4096)))
    data[start:end] = bytes(end - start)


_INJURIES = (_flip_bit, _flip_bit, _set_byte, _set_byte, _cut_end, _cut_out, _put_in, _say_again, _set_number, _wipe)
