"""Frames from camera drivers and from user programs."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partsight.runtime.cameras.pixels import FORMAT_BY_CODE, to_frame
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess
from partsight.runtime.recognition.recognizer import Recognizer
from tests.fuzz import wild
from tests.fuzz.surface import Case, check
from tests.tiny import tiny_matching, write_tiny_package

_DTYPES = ("u1", "u1", "u1", "i1", "<u2", ">u2", "<f4", "f8", "?", "c8", "O", "S3", "U2", "M8[s]", "V3", "i8")


@contextlib.contextmanager
def open_sizes(_folder: Path) -> Iterator[Case]:
    """Frames of 1 to 3,000 px, colour and mono, to any size of network: finite, and the same for a copy."""
    pool = np.random.default_rng(3).integers(0, 256, 3000 * 3000 * 3, np.uint8)

    def case(rng: random.Random) -> None:
        longest = rng.choice((4, 40, 300, 300, 3000))
        height, width = rng.randint(1, longest), rng.randint(1, longest)
        color = rng.choice(("bgr", "bgr", "mono"))
        shape = (height, width, 3) if color == "bgr" else (height, width)
        size = int(np.prod(shape))
        start = rng.randint(0, pool.size - size)
        frame = pool[start : start + size].reshape(shape)
        spec = PreprocessSpec(rng.randint(1, 320), rng.randint(1, 320), color, _region(rng, height, width))
        first = preprocess([frame], spec)
        check(first.shape == (1, spec.height, spec.width, 3) and first.dtype == np.uint8, f"a batch of {first.shape}")
        out = np.full((2, spec.height, spec.width, 3), rng.randrange(256), np.uint8)
        again = preprocess([frame.copy(), frame], spec, out)
        check(
            np.array_equal(first[0], again[0]) and np.array_equal(first[0], again[1]), "two copies come out different"
        )
        region = spec.region or Region(0, 0, width, height)
        seen = frame[region.y : region.y + region.height, region.x : region.x + region.width]
        check(seen.min() <= first.min() and first.max() <= seen.max(), "a grey level that the frame does not have")

    yield case


def _region(rng: random.Random, height: int, width: int) -> Region | None:
    if rng.random() < 0.7:
        return None
    x, y = rng.randrange(width), rng.randrange(height)
    return Region(x, y, rng.randint(1, width - x), rng.randint(1, height - y))


@contextlib.contextmanager
def open_arrays(folder: Path) -> Iterator[Case]:
    """Arrays of any type, shape and strides, and other objects, for a recogniser that compares golden images."""
    package = write_tiny_package(folder / "v.partsight", matching=tiny_matching())
    good = np.full((40, 50, 3), (255, 0, 0), np.uint8)
    with Recognizer(package, batch_size=3) as recognizer:

        def case(rng: random.Random) -> None:
            frame = _array(rng)
            try:
                answers = recognizer.recognize_batch([good, frame])  # type: ignore[list-item]
            finally:
                check(recognizer.recognize(good).label == "blue", "a good frame after it is not recognised")
            check(answers[0].label == "blue", "a good frame in the same batch is not recognised")
            check(len(answers) == 2 and 0 <= answers[1].score <= 1, f"an agreement of {answers[1].score}")

        yield case


def _array(rng: random.Random) -> object:
    style = rng.random()
    if style < 0.1:
        return rng.choice((None, 0, "frame", b"frame", [[1]], np.uint8(3), {}, np.ma.zeros((40, 40, 3), np.uint8)))
    axes = rng.choice((0, 1, 2, 3, 3, 3, 3, 4))
    shape = tuple(rng.choice((0, 1, 2, 3, 40, 70)) for _ in range(axes))
    shape = (*shape[:2], 3) if axes == 3 and rng.random() < 0.7 else shape
    array = np.zeros(shape, rng.choice(_DTYPES))
    if array.dtype == np.uint8 and array.size:
        array.reshape(-1)[:] = np.frombuffer(rng.randbytes(array.size), np.uint8)
    return rng.choice(_VIEWS)(array)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


_VIEWS = (
    lambda array: array,
    lambda array: array,
    lambda array: array[::-1] if array.ndim else array,
    lambda array: array[:, ::2] if array.ndim > 1 else array,
    lambda array: array[..., ::-1] if array.ndim else array,
    np.asfortranarray,
    lambda array: array.T,
    lambda array: np.broadcast_to(array, (40, *array.shape)),
    lambda array: np.lib.stride_tricks.as_strided(array, array.shape, (0,) * array.ndim, writeable=False),
    _read_only,
)


@contextlib.contextmanager
def open_buffers(_folder: Path) -> Iterator[Case]:
    """Buffers of industrial cameras whose size, padding and format do not fit."""
    formats = (*FORMAT_BY_CODE.values(), "Mono10p", "")

    def case(rng: random.Random) -> None:
        data = np.frombuffer(rng.randbytes(rng.choice((0, 1, 100, 4096, 20_000))), np.uint8)
        shape = rng.choice((0, 1, 7, 64, 65_535, 2**31)), rng.choice((0, 1, 9, 48, 65_535, 2**31))
        name = rng.choice(formats) if rng.random() < 0.9 else wild.text(rng)
        image = to_frame(data, shape, rng.choice((0, 0, 1, 4, 2**20)), name, "camera")
        check(image.shape[:2] == shape[::-1] and image.flags.c_contiguous, f"a frame of {image.shape}")

    yield case
