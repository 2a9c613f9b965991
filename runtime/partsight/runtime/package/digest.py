"""The digest at the end of an ONNX file: the SHA-256 of all bytes before it.

A package's manifest has the SHA-256 of each file, but an ONNX file used without its package has only this digest. With
a flipped bit in a weight the model is still valid, and answers wrong. The digest is an entry of the file's metadata,
which the format allows at the end: other programs read the file as before, and partsight checks it before an engine
reads a byte.

The digest shows damage, not malice: an attacker changes the digest too. Signatures of packages protect against that.
"""

import hashlib

from partsight.runtime.core import PackageError

DIGEST_KEY = "partsight.sha256"
"""Key of the digest in an ONNX file's metadata."""

_DIGITS = 64
_LENGTHS = bytes([2 + len(DIGEST_KEY) + 2 + _DIGITS, 0x0A, len(DIGEST_KEY)])
# Field 14 of onnx.proto's ModelProto, of wire type 2: an entry of a key (field 1) and a value (field 2).
_START = b"\x72" + _LENGTHS + DIGEST_KEY.encode() + bytes([0x12, _DIGITS])


def with_digest(model: bytes) -> bytes:
    """Return the bytes of an ONNX file, which must have no digest, with the digest at the end."""
    return b"".join((model, _START, hashlib.sha256(model).hexdigest().encode()))


def check_digest(model: bytes, source: str) -> None:
    """Refuse an ONNX file that differs in any bit from the file that partsight wrote.

    Args:
        model: Bytes of the ONNX file.
        source: Path of the file, for messages.

    Raises:
        PackageError: the file has no digest at its end, or a wrong one.
    """
    end = len(model) - _DIGITS
    start = end - len(_START)
    if start < 0 or model[start:end] != _START:
        raise PackageError(
            f"{source}: has no SHA-256 at its end: the file was cut off or altered, or `partsight export` did not "
            "write it; copy it again, or use the package's folder"
        )
    found = hashlib.sha256(memoryview(model)[:start]).hexdigest()
    if model[end:] != found.encode():
        raise PackageError(
            f"{source}: has SHA-256 {found[:12]}…, its end says {model[end : end + 12]!r}: the file was damaged or "
            "altered after export; copy it again, or use the package's folder"
        )
