import io

import numpy as np
import pytest

from partsight.runtime.core.errors import PackageError
from partsight.runtime.core.npy_file import decode_prototypes, encode_prototypes

VALUES = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def saved(values: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, version, allow_pickle=True)
    return stream.getvalue()


def test_what_was_written_is_read() -> None:
    data = encode_prototypes(np.asfortranarray(VALUES))
    found = decode_prototypes(data, 5, "here")
    np.testing.assert_array_equal(found, VALUES)
    assert (found.dtype, found.flags.c_contiguous, found.flags.writeable) == (np.dtype(np.float32), True, False)
    np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), VALUES)


WRONG = {
    "double": saved(VALUES.astype(np.float64)),
    "big end first": saved(VALUES.astype(">f4")),
    "pickled": saved(VALUES.astype(object)),
    "other order": saved(np.asfortranarray(VALUES)),
    "one row": saved(VALUES[0]),
    "too many rows": saved(np.concatenate([VALUES, VALUES])),
    "no columns": saved(VALUES[:, :0]),
    "cut off": saved(VALUES)[:-1],
    "too long": saved(VALUES) + b"\0",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_another_array(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^here: .*float32 \(5, d\)"):
        decode_prototypes(data, 5, "here")


def with_header(text: str) -> bytes:
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + VALUES.tobytes()


NONE = {
    "empty": b"",
    "zip": b"PK\3\4",
    "cut off": saved(VALUES)[:40],
    "version 2": saved(VALUES, (2, 0)),
    "a bracket that is left open": with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3\n"),
    "deep": with_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (5, {'-' * 5000}3), }}\n"),
    "no Python": with_header("{'descr': \xbf\n"),
    "another length": saved(VALUES)[:8] + b"\x75" + saved(VALUES)[9:],
}


@pytest.mark.parametrize("data", NONE.values(), ids=NONE)
def test_no_such_file(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^here: "):
        decode_prototypes(data, 5, "here")
