"""Damaged copies of valid data, and random bytes."""

import random
import struct

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def damaged(rng: random.Random, data: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """Return bytes with one to eight injuries, as disks, cables and people cause them.

    Args:
        rng: Source of all choices.
        data: Undamaged bytes.
        others: Data whose pieces the damage may insert.
    """
    result = bytearray(data)
    for _ in range(1 if rng.random() < 0.6 else rng.randint(2, 8)):
        rng.choice(_INJURIES)(rng, result)
    if others and rng.random() < 0.15:
        other = rng.choice(others)
        cut = rng.randint(0, len(other))
        start = rng.randint(0, len(result))
        result[start : start + rng.randint(0, 64)] = other[cut : cut + rng.randint(1, 256)]
    return bytes(result)


def garbage(rng: random.Random, longest: int) -> bytes:
    """Return up to `longest` random bytes: of all values, or of few."""
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


def _repeat(rng: random.Random, data: bytearray) -> None:
    start = rng.randint(0, len(data))
    piece = data[start : start + rng.randint(1, 128)]
    target = rng.randint(0, len(data))
    data[target:target] = piece * rng.choice((1, 1, 2, 50))


def _set_number(rng: random.Random, data: bytearray) -> None:
    """Write the smallest or largest number of a type where a length may stand."""
    form = rng.choice(("<B", ">B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    if len(data) >= size:
        start = rng.randrange(len(data) - size + 1)
        data[start : start + size] = struct.pack(form, rng.choice(_EDGES) & (1 << 8 * size) - 1)


def _wipe(rng: random.Random, data: bytearray) -> None:
    """Zero a block, as a power cut leaves it."""
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice((4, 16, 512, 4096)))
    data[start:end] = bytes(end - start)


_INJURIES = (_flip_bit, _flip_bit, _set_byte, _set_byte, _cut_end, _cut_out, _put_in, _repeat, _set_number, _wipe)
