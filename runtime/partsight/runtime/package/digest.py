"""The digest that an ONNX file ends in: SHA-256 of all that stands before it.

A package's manifest has the SHA-256 of its files; a file that is used alone has none but this. Without it, a flipped
bit in a weight is a valid model that answers something else. It is an entry of the file's metadata, which the format
lets stand last, so that the file is read as before, and is checked before an engine sees a byte of it.

It tells damage, not malice: who changes a file on purpose changes its end as well. Against that a package is signed.
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
    """Return an ONNX file's bytes with the digest at their end; none may be in them."""
    return b"".join((model, _START, hashlib.sha256(model).hexdigest().encode()))


def check_digest(model: bytes, source: str) -> None:
    """Refuse a file that is not, to the bit, what was written.

    Args:
        model: an ONNX file's bytes.
        source: where they came from, for messages.

    Raises:
        PackageError: it ends in no digest, or in that of another file.
    """
    end = len(model) - _DIGITS
    start = end - len(_START)
    if start < 0 or model[start:end] != _START:
        raise PackageError(
            f"{source}: does not end in the SHA-256 that tells a whole file from a damaged one: it was cut off or "
            "altered, or `partsight export` did not write it; copy it again, or use the package's folder"
        )
    found = hashlib.sha256(memoryview(model)[:start]).hexdigest()
    if model[end:] != found.encode():
        raise PackageError(
            f"{source}: has SHA-256 {found[:12]}…, its end says {model[end : end + 12]!r}: it was damaged or altered "
            "after export; copy it again, or use the package's folder"
        )
