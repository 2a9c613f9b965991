from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.errors import PackageError
from partsight.runtime.images import Pixels
from partsight.runtime.references import References, decode_reference, encode_reference, inner, smooth
from tests.laid import as_compared, golden

SIZE_HW = (40, 64)
MOST_READY = 64
"""As the documentation says: the latest stay in memory, 1.2 MB each."""


class Shelf:
    """Even pictures whose brightness is their class; keeps which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, index: int) -> Pixels:
        self.asked.append(index)
        return np.full((*SIZE_HW, 3), index % 256, np.uint8)


def test_a_reference_is_loaded_once() -> None:
    shelf = Shelf()
    references = References(shelf, SIZE_HW)
    assert shelf.asked == []  # nothing before it is needed
    first = references[7]
    assert references[7] is first
    assert first.image[0, 0, 0] == pytest.approx(7)
    assert shelf.asked == [7]


def test_nobody_can_write_to_what_all_share() -> None:
    reference = References(Shelf(), SIZE_HW)[0]
    for array in (reference.image, reference.slope, reference.fine.slopes, reference.fine.golden):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_latest_stay_and_no_more() -> None:
    shelf = Shelf()
    references = References(shelf, SIZE_HW)
    for index in range(MOST_READY):
        assert references[index].image[0, 0, 0] == pytest.approx(index)
    _ = references[0]  # used again: now 1 is the oldest
    _ = references[MOST_READY]
    shelf.asked.clear()
    _ = references[0], references[2], references[MOST_READY]
    assert shelf.asked == []
    _ = references[1]
    assert shelf.asked == [1]
    for index in range(300, 1000):
        _ = references[index]
        assert len(references._ready) == MOST_READY


def test_an_image_alone_is_not_kept() -> None:
    shelf = Shelf()
    references = References(shelf, SIZE_HW)
    assert references.image(7)[0, 0, 0] == 7
    assert not references._ready
    with pytest.raises(PackageError, match="the reference of class 3 has shape"):
        References(lambda _: np.zeros((2, 2, 3), np.uint8), SIZE_HW).image(3)


def test_many_threads() -> None:
    """Each gets the picture that it asked for, while others push it out."""
    references = References(Shelf(), SIZE_HW)

    def ask(seed: int) -> bool:
        wanted = np.random.default_rng(seed).integers(0, 200, 300)
        return all(np.allclose(references[int(index)].image, index, atol=1e-3) for index in wanted)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    assert len(references._ready) == MOST_READY


def test_what_finalists_need_is_the_same_for_all_threads(example_parts: Path) -> None:
    image = as_compared(golden(example_parts, "TO-8-2"))
    references = References(lambda _: image, image.shape[:2])

    def use(_: int) -> tuple[float, float, float]:
        reference = references[0]
        return float(reference.image.sum()), float(reference.slope.sum()), float(reference.fine.slopes.sum())

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(use, range(64)))) == 1


def test_an_error_is_raised_each_time_and_not_kept() -> None:
    calls = iter([PackageError("damaged"), PackageError("damaged"), None])

    def load(index: int) -> Pixels:
        error = next(calls)
        if error:
            raise error
        return np.zeros((*SIZE_HW, 3), np.uint8)

    references = References(load, SIZE_HW)
    for _ in range(2):
        with pytest.raises(PackageError, match="damaged"):
            _ = references[0]
    assert references[0].image.shape == inner(np.empty((*SIZE_HW, 3))).shape


@pytest.mark.parametrize("shape", [(64, 40, 3), (40, 63, 3), (41, 64, 3), (40, 64), (40, 64, 1), (40, 64, 4)])
def test_another_size(shape: tuple[int, ...]) -> None:
    references = References(lambda _: np.zeros(shape, np.uint8), SIZE_HW)
    with pytest.raises(
        PackageError, match=r"reference of class 3 has shape .*; expected \(40, 64, 3\): export the pack"
    ):
        _ = references[3]


def test_levels_are_kept_for_more() -> None:
    shelf = Shelf()
    references = References(shelf, SIZE_HW)
    first = references.levels(range(200))[1]
    assert first.shape == (200, *SIZE_HW)
    np.testing.assert_allclose(first[:, 5, 5], range(200), rtol=1e-3)
    assert not references._ready
    shelf.asked.clear()
    again = references.levels([7, 199, 200, 3])[1]
    np.testing.assert_array_equal(again[[0, 1, 3]], first[[7, 199, 3]])
    assert shelf.asked == [200]


def test_the_latest_levels_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.references.MOST_LEVELS", 3)
    shelf = Shelf()
    references = References(shelf, SIZE_HW)
    for wanted, asked in (([1, 2, 3], [1, 2, 3]), ([1], []), ([4], [4]), ([1, 3], []), ([2], [2]), ([5, 1], [5])):
        shelf.asked.clear()
        assert np.allclose(references.levels(wanted)[1][:, 0, 0], wanted, rtol=1e-3)
        assert sorted(shelf.asked) == asked


def test_levels_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.references.MOST_LEVELS", 20)
    references = References(Shelf(), SIZE_HW)

    def ask(seed: int) -> bool:
        wanted = [np.random.default_rng((seed, turn)).permutation(60)[:8].tolist() for turn in range(100)]
        return all(np.allclose(references.levels(some)[1][:, 9, 9], some, rtol=1e-3) for some in wanted)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_memory_stays(example_parts: Path) -> None:
    """Whatever two threads ask for: frames take from the heap between what stays."""
    image = as_compared(golden(example_parts, "TO-8-2"))
    references = References(lambda _: image, image.shape[:2])

    def ask(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 300, 300):
            _ = references[int(index)].slope.sum(), smooth(image)

    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    before = resident_mb()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, range(2)))
        filled = resident_mb()
        list(pool.map(ask, range(2, 6)))
        assert resident_mb() - filled < 15
    assert filled - before < 150


def test_slope_is_the_square_of_the_gradient() -> None:
    """A ramp of 3 grey levels a pixel to the right and 4 down, in each channel."""
    down, right = np.mgrid[0 : SIZE_HW[0], 0 : SIZE_HW[1]]
    ramp = np.repeat((right + 2 * down)[:, :, None], 3, axis=2).astype(np.uint8)
    slope = References(lambda _: ramp, SIZE_HW)[0].slope
    assert slope.shape == inner(ramp).shape[:2]
    np.testing.assert_allclose(slope[5:-5, 5:-5], 3 * (1**2 + 2**2), rtol=1e-4)


def test_smoothing_takes_the_noise_of_single_pixels() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    smoothed = smooth(noise)
    assert smoothed.dtype == np.float32
    assert smoothed.mean() == pytest.approx(noise.mean(), rel=0.01)
    assert smoothed.std() < 0.4 * noise.std()


def test_colour_survives(example_parts: Path) -> None:
    """A grey level or two on real parts, and edges of saturated colours at full resolution."""
    for part in ("7SEGMENT-LED__HDSM531_HDSM533_SMD", "PinHeader_1x12_P2.00mm_Horizontal", "TO-8-2"):
        image = as_compared(golden(example_parts, part))
        found = decode_reference(encode_reference(image), "here").astype(int)
        assert np.abs(found - image).mean() < 1.5
        assert np.abs(found - image).max() < 32
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    found = decode_reference(encode_reference(stripes), "here").astype(int)
    assert np.abs(found - stripes).mean() < 8  # chroma at half resolution would make all of it purple


def test_bytes_are_the_same_each_time(example_parts: Path) -> None:
    image = as_compared(golden(example_parts, "TO-8-2"))
    data = encode_reference(image)
    assert data[:2] == b"\xff\xd8"  # JPEG
    assert encode_reference(image) == data
    found = decode_reference(data, "here")
    assert (found.shape, found.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image", b"\0" * 1000, b"\xff\xd8\xff\xe0" + b"\xff" * 100])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"gallery/00003\.jpg: is not an image; export the package again"):
        decode_reference(data, "gallery/00003.jpg")


def test_damaged_bytes_raise_nothing_else(example_parts: Path) -> None:
    """They decode to something of some size, which `References` checks, or they are refused."""
    whole = encode_reference(as_compared(golden(example_parts, "TO-8-2")))
    rng = np.random.default_rng(3)
    places = [*range(0, 700), *rng.integers(700, len(whole), 100)]
    for place in places:
        for byte in (0, 255):
            try:
                found = decode_reference(whole[:place] + bytes([byte]) + whole[place + 1 :], "here")
            except PackageError:
                continue
            assert found.ndim == 3


def test_a_picture_too_large_to_decode() -> None:
    """A header of 65,535 × 65,535 px on a few bytes."""
    _, encoded = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    data = bytearray(encoded.tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(PackageError, match="here: is not an image"):
        decode_reference(bytes(data), "here")


@pytest.mark.parametrize("side", [2000, 20_000, 65_500])
def test_a_picture_that_claims_to_be_huge_is_not_decoded(side: int) -> None:
    """OpenCV would take 3 GB for it, or raise an error of its own."""
    data = bytearray(encode_reference(np.zeros((48, 64, 3), np.uint8)))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = side.to_bytes(2, "big") * 2
    with pytest.raises(PackageError, match=f"here: is not an image of at most 1024 px on a side, but of {side}×{side}"):
        decode_reference(bytes(data), "here")


def test_a_picture_of_another_size_than_its_header_says() -> None:
    png = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    for data in (png[:60], png[:20] + b"\0\0\0\0" + png[24:]):
        with pytest.raises(PackageError, match=r"here: is a damaged image|here: is not an image"):
            decode_reference(data, "here")
