"""Messages between a recogniser and its comparers: length first, then MessagePack."""

import struct
from typing import BinaryIO

import msgspec

from partsight.runtime.verification import VerificationSpec, Verified

_LENGTH = struct.Struct("<Q")


class Setup(msgspec.Struct, frozen=True, tag=True):
    """The first message to a comparer.

    Attributes:
        spec: how to compare.
        classes: how many there are.
        outlines: a package's file of outlines, where it has one.
    """

    spec: VerificationSpec
    classes: int
    outlines: bytes | None


class Golden(msgspec.Struct, frozen=True, tag=True):
    """The golden image of a class, of `encode_reference`."""

    index: int
    data: bytes


class Frame(msgspec.Struct, frozen=True, tag=True):
    """A frame to compare; see `verify`.

    Attributes:
        pixels: (spec.height, spec.width, 3) uint8.
        score: (classes,) float32.
        threshold: agreement from which on it is accepted.
    """

    pixels: bytes
    score: bytes
    threshold: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A comparer's answer to its setup."""


class Compared(msgspec.Struct, frozen=True, tag=True):
    """A comparer's answer to a frame."""

    verified: Verified


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A frame that this comparer cannot compare: it was not given all golden images, or one is damaged."""

    reason: str


Told = Setup | Golden | Frame
Reply = Ready | Compared | Refused

_encoder = msgspec.msgpack.Encoder()
_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
_reply: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def send(message: Told | Reply, stream: BinaryIO) -> None:
    """Write a message; raises OSError or ValueError if the other side is gone."""
    data = _encoder.encode(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive_told(stream: BinaryIO) -> Told | None:
    """Read a message to a comparer; None at the end."""
    data = _read(stream)
    return None if data is None else _told.decode(data)


def receive_reply(stream: BinaryIO) -> Reply | None:
    """Read a comparer's answer; None at the end."""
    data = _read(stream)
    return None if data is None else _reply.decode(data)


def _read(stream: BinaryIO) -> bytes | None:
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    data = stream.read(size)
    return data if len(data) == size else None
