import io

import numpy as np
import pytest

from partsight.runtime.errors import PackageError
from partsight.runtime.prototype_file import decode_prototypes, encode_prototypes

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
    with pytest.raises(PackageError, match=r"here: holds .*expected float32 \(5, d\).*export the package again"):
        decode_prototypes(data, 5, "here")


@pytest.mark.parametrize("data", [b"", b"PK\3\4", saved(VALUES)[:40], saved(VALUES, (2, 0))])
def test_no_such_file(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"here: is not a NumPy file \(.*export the package again"):
        decode_prototypes(data, 5, "here")
