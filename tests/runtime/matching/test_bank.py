import ast
import mmap
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.errors import PackageError
from partsight.runtime.matching import Bank, Matcher, MatchingSpec, decode_bank, encode_bank, prepare_all
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.preparation import MAX_RECORD_BYTES, prepare, record_type
from tests.laid import as_compared
from tests.runtime.matching.headers import images_of

SIZE_HW = (36, 48)


def pictures(count: int, size_hw: tuple[int, int] = SIZE_HW) -> list[Pixels]:
    rng = np.random.default_rng(7)
    return [cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), size_hw[::-1]) for _ in range(count)]


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    return prepare_all(pictures(5), [0, 1, 1, 1, 2])


def test_the_file_is_read_as_written(records: np.ndarray) -> None:
    data = encode_bank(records)
    found = decode_bank(data, 3, SIZE_HW, "here")
    assert found.dtype == records.dtype == record_type(SIZE_HW)
    np.testing.assert_array_equal(found, records)
    assert encode_bank(found) == data


def test_it_is_a_file_that_numpy_reads(records: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "bank.npy"
    path.write_bytes(encode_bank(records))
    found = np.load(path, allow_pickle=False)
    np.testing.assert_array_equal(found, records)
    assert all(found.dtype[name].newbyteorder("<") == found.dtype[name] for name in found.dtype.names)


def test_a_map_is_not_copied(records: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "bank.npy"
    path.write_bytes(encode_bank(records))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    found = decode_bank(mapped, 3, SIZE_HW, "here")
    np.testing.assert_array_equal(found, records)
    assert not found.flags.owndata and not found.flags.writeable
    bank = Bank.of(found)
    for name in ("middle", "middle_rows", "fine", "fine_rows", "image", "slope"):
        assert np.shares_memory(getattr(bank, name), found), name


def test_bytes_are_the_same_each_time(records: np.ndarray) -> None:
    assert encode_bank(prepare_all(pictures(5), [0, 1, 1, 1, 2])) == encode_bank(records)


def test_references_of_classes(records: np.ndarray) -> None:
    bank = Bank.of(records)
    assert (bank.count, bank.classes) == (5, 3)
    assert bank.class_of.tolist() == [0, 1, 1, 1, 2]
    assert bank.references_of.tolist() == [[0, 0, 0], [1, 2, 3], [4, 4, 4]]
    np.testing.assert_allclose(bank.thumbnail_squares, np.square(bank.thumbnails).sum(axis=1), rtol=1e-5)


def test_what_is_prepared_of_an_image_does_not_depend_on_the_others(records: np.ndarray) -> None:
    for index, image in enumerate(pictures(5)):
        for name, values in prepare(image).items():
            np.testing.assert_array_equal(records[name][index], values, err_msg=name)


@pytest.mark.parametrize("size_hw", [(192, 192), (36, 36), (36, 192), (192, 96)])
def test_a_record_is_small(size_hw: tuple[int, int]) -> None:
    assert record_type(size_hw).itemsize <= MAX_RECORD_BYTES
    assert prepare_all(pictures(1, size_hw), [0]).dtype == record_type(size_hw)


def header_of(data: bytes) -> bytes:
    return data[: data.index(b"\n") + 1]


def test_every_damaged_header_is_refused(records: np.ndarray) -> None:
    """Each bit of it: NumPy would parse it as Python."""
    data = encode_bank(records)
    for index in range(len(header_of(data))):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[index] ^= 1 << bit
            with pytest.raises(PackageError, match=r"^here: .* 3 .* 48×36 px"):
                decode_bank(bytes(damaged), 3, SIZE_HW, "here")


def test_headers_that_say_the_same_in_other_words(records: np.ndarray) -> None:
    data, header = encode_bank(records), header_of(encode_bank(records))
    fields = ast.literal_eval(header[10:].decode())
    assert fields["shape"] == (5,) and fields["fortran_order"] is False
    for text in (header.replace(b"(5,)", b"(05)"), header.replace(b"False", b"0    "), header.replace(b"'", b'"')):
        assert text != header and len(text) == len(header)
        with pytest.raises(PackageError, match=r"^here: .* 48×36 px"):
            decode_bank(text + data[len(header) :], 3, SIZE_HW, "here")


@pytest.mark.parametrize("more", [1, 4, 1000, -1, -100])
def test_another_length(records: np.ndarray, more: int) -> None:
    data = encode_bank(records)
    with pytest.raises(PackageError, match=r"^here: .* 48×36 px"):
        decode_bank(data[:more] if more < 0 else data + b"\0" * more, 3, SIZE_HW, "here")


def test_each_truncation_is_refused(records: np.ndarray) -> None:
    data, size = encode_bank(records), records.dtype.itemsize
    lengths = [*range(0, 3000, 7), *range(len(data) - size - 20, len(data) - size + 20), len(data) - 2 * size]
    for length in lengths:
        with pytest.raises(PackageError, match=r"^here: .* 48×36 px"):
            decode_bank(data[:length], 3, SIZE_HW, "here")


@pytest.mark.parametrize(("classes", "size_hw"), [(3, (48, 48)), (3, (36, 36)), (6, SIZE_HW)])
def test_a_bank_of_another_package(records: np.ndarray, classes: int, size_hw: tuple[int, int]) -> None:
    with pytest.raises(PackageError, match=f"^here: .* {classes} .* {size_hw[1]}×{size_hw[0]} px"):
        decode_bank(encode_bank(records), classes, size_hw, "here")


@pytest.mark.parametrize(
    "class_of",
    [
        [0, 1, 1, 1, 1],  # a class without a reference
        [0, 1, 1, 1, 3],
        [0, 2, 2, 1, 2],
        [1, 1, 1, 1, 2],
        [0, 1, 0, 1, 2],  # references of a class follow each other
        [2, 1, 1, 1, 0],
        [-1, 0, 1, 1, 2],
        [0, 1, 1, 2, 2**31 - 1],
        [0, 1, 1, 2, -(2**31)],
        [0, 1, 1, 1, 4],
        [0, 1, 2, 3, 3],
    ],
)
def test_classes_in_another_order(records: np.ndarray, class_of: list[int]) -> None:
    other = records.copy()
    other["class"] = class_of
    with pytest.raises(PackageError, match=r"^here: .* 0 to 2;"):
        decode_bank(encode_bank(other), 3, SIZE_HW, "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number(records: np.ndarray, value: float) -> None:
    names = [name for name in records.dtype.names if records.dtype[name].base.kind == "f"]
    assert len(names) >= 5
    for name in names:
        other = records.copy()
        other[name].reshape(5, -1)[3, -1] = value
        with pytest.raises(PackageError, match=f"^here: .* {name} "):
            decode_bank(encode_bank(other), 3, SIZE_HW, "here")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damage_that_is_not_seen_crashes_nothing(records: np.ndarray) -> None:
    """Any bytes in a record, as long as they are numbers: `ModelPackage` finds damage by the hash."""
    rng = np.random.default_rng(5)
    frames = np.stack(pictures(3))
    for _ in range(60):
        data = bytearray(encode_bank(records))
        start = len(header_of(bytes(data)))
        for index in rng.integers(start, len(data), rng.integers(1, 2000)):
            data[index] = rng.integers(0, 256)
        try:
            bank = Bank.of(decode_bank(bytes(data), 3, SIZE_HW, "here"))
        except PackageError:
            continue
        found = Matcher(bank, MatchingSpec(height=36, width=48)).match(frames, np.zeros((3, 3), np.float32))
        assert found.classes.shape == (3, 3)
        assert set(found.classes.ravel().tolist()) <= {0, 1, 2}


def test_slope_is_the_length_of_the_gradient() -> None:
    """A ramp of 1 grey level a pixel to the right and 2 down, in each channel."""
    down, right = np.mgrid[0:48, 0:60]
    slope = prepare(np.repeat((right + 2 * down)[:, :, None], 3, axis=2).astype(np.uint8))["slope"]
    rows, columns = Layout.of((48, 60)).judged.shape
    inner = slope.reshape(rows, columns)[4:-4, 4:-4]
    np.testing.assert_allclose(inner, round(np.sqrt(3 * (1**2 + 2**2))), atol=1)


def test_rows_turn_a_difference_into_the_step_that_made_it(example_parts: Path) -> None:
    """The gradient of a golden image by an unknown, taken as a difference, gives a step of 1 by that unknown."""
    image = as_compared(images_of(example_parts, ["TO-8-2"])[0])
    row, grid = prepare(image), Layout.of(image.shape[:2]).fine
    assert isinstance(grid, Grid)
    values = row["fine"].astype(np.float64)
    for rows, scale, golden in (
        (row["fine_rows"], row["fine_scale"], values),
        (row["middle_rows"], row["middle_scale"], row["middle"].astype(np.float64)),
    ):
        found = (rows.astype(np.float64) @ golden) * scale  # 1 % brighter, say: the image itself is the gain's gradient
        assert found[-1] == pytest.approx(1, abs=0.02)
        np.testing.assert_allclose(found[:-1], 0, atol=0.02)
    assert row["fine_prior"].shape == (6, 2)
    assert (np.diag(row["fine_prior"][3:5]) > 0).all()  # draws back
