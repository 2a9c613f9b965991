"""The prototype file of a package of very many parts: NumPy's format, which can hold a program."""

import contextlib
import io
import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partsight.runtime.core.npy_file import decode_prototypes, encode_prototypes
from tests.fuzz import wild
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check
from tests.tiny import tiny_prototypes


class _Program:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('a pickle was run')",))


@contextlib.contextmanager
def open_prototypes(_folder: Path) -> Iterator[Case]:
    """Files with pickles, huge shapes, other types, and damage."""
    whole = encode_prototypes(tiny_prototypes())

    def case(rng: random.Random) -> None:
        values = decode_prototypes(_hostile(rng, whole), 6, "somewhere")
        check(
            values.shape[0] == 6 and values.dtype == np.float32 and values.ndim == 2, f"{values.shape} {values.dtype}"
        )

    yield case


def _hostile(rng: random.Random, whole: bytes) -> bytes:
    style = rng.random()
    if style < 0.5:
        return damaged(rng, whole, (whole,))
    if style < 0.55:
        return garbage(rng, 300)
    if style < 0.6:
        stream = io.BytesIO()
        np.save(stream, np.array([_Program()], object), allow_pickle=True)
        return rng.choice((stream.getvalue(), pickle.dumps(_Program())))
    return _with_header(rng, _header(rng), whole)


def _header(rng: random.Random) -> str:
    shape = rng.choice(
        ("(6, 3)", "(6, 3,)", "(6,)", "()", "(6, 2**40)", f"(6, {wild.number(rng)})", "(6, -3)", "(True, 3)")
    )
    descr = rng.choice(
        ("'<f4'", "'<f4'", "'>f4'", "'O'", "'|O'", "[('a','<f4')]", "'<f999999999'", repr(wild.text(rng)))
    )
    extra = rng.choice(
        ("", "", ", 'x': 1", ", 'x': " + "(" * 200 + ")" * 200, ", 'x': " + "-" * 5000 + "1", ", 'x':\n  1")
    )
    text = f"{{'descr': {descr}, 'fortran_order': {rng.choice(('False', 'True', '0'))}, 'shape': {shape}{extra}}}"
    return text if rng.random() < 0.7 else damaged(rng, text.encode()).decode("latin-1")


def _with_header(rng: random.Random, header: str, whole: bytes) -> bytes:
    data = header.encode("utf-8", "surrogatepass") + b" " * rng.choice((0, 3, 60)) + rng.choice((b"\n", b""))
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\xff\x00"))
    size = len(data).to_bytes(2 if version == b"\x01\x00" else 4, "little") if len(data) < 65536 else b"\xff\xff"
    return b"\x93NUMPY" + version + size + data + whole[-72:] * rng.choice((0, 1, 1, 2))
