"""Frames of a request: cropped, grey or encoded, they are what a local recogniser gets; anything else is refused."""

import base64

import cv2
import numpy as np
import pytest

from partsight.runtime.cluster.serve.frames import FrameReader
from partsight.runtime.cluster.serve.protocol import InferRequest
from partsight.runtime.cluster.serve.tensor_data import RequestError
from partsight.runtime.images import MAX_PIXELS, PreprocessSpec, Region
from tests.runtime.cluster.serve.clients import files

VIA = (40, 50)
PLAIN = PreprocessSpec(height=36, width=36)
REGION = PreprocessSpec(height=36, width=36, region=Region(10, 20, 80, 60), golden_hw=(120, 160))
MONO = PreprocessSpec(height=36, width=36, color="mono")

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (120, 160, 3), np.uint8)
GREY = np.repeat(FRAME[:, :, :1], 3, axis=2)


def read(spec: PreprocessSpec, name: str, values: np.ndarray, max_frames: int = 4) -> list[np.ndarray]:
    return list(FrameReader(spec, VIA, max_frames).read(InferRequest({name: values})))


def encoded(frame: np.ndarray, kind: str = ".png") -> bytes:
    return bytes(cv2.imencode(kind, frame)[1].tobytes())


def test_prepared_frames_pass_as_they_are() -> None:
    frames = RNG.integers(0, 256, (2, *VIA, 3), np.uint8)
    assert np.array_equal(read(REGION, "image_bgr", frames), frames)


def test_whole_frames_are_cropped_to_the_region() -> None:
    for values in (FRAME[None], files(encoded(FRAME))):
        name = "frame_bgr" if values.dtype == np.uint8 else "frame_file"
        (frame,) = read(REGION, name, values)
        assert np.array_equal(frame, FRAME[20:80, 10:90])
        assert frame.flags.c_contiguous
        assert np.array_equal(read(PLAIN, name, values)[0], FRAME)


def test_files_of_several_formats_and_sizes_are_read() -> None:
    kinds = (".png", ".jpg", ".bmp", ".webp", ".tiff")
    frames = read(PLAIN, "frame_file", files(*[encoded(FRAME[: 60 + 10 * i], kind) for i, kind in enumerate(kinds)]), 5)
    assert [frame.shape[0] for frame in frames] == [60, 70, 80, 90, 100]


def test_a_file_may_come_in_base64() -> None:
    (frame,) = read(PLAIN, "frame_file", files(base64.b64encode(encoded(FRAME))))
    assert np.array_equal(frame, FRAME)


@pytest.mark.parametrize("name", ["frame_bgr", "frame_file", "image_bgr"])
def test_a_package_of_grey_images_takes_grey_frames_alone(name: str) -> None:
    frame = np.ascontiguousarray(GREY[: VIA[0], : VIA[1]])
    values = files(encoded(frame)) if name == "frame_file" else frame[None]
    assert np.array_equal(read(MONO, name, values)[0], frame[:, :, 0])
    frame[0, 0, 1] ^= 1
    values = files(encoded(frame)) if name == "frame_file" else frame[None]
    with pytest.raises(RequestError):
        read(MONO, name, values)


def test_a_grey_frame_may_have_one_channel() -> None:
    assert np.array_equal(read(MONO, "frame_bgr", GREY[None, :, :, :1])[0], GREY[:, :, 0])
    assert np.array_equal(read(MONO, "frame_file", files(encoded(GREY[:, :, 0])))[0], GREY[:, :, 0])
    with pytest.raises(RequestError):
        read(PLAIN, "frame_bgr", GREY[None, :, :, :1])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image_bgr", FRAME[None]),
        ("image_bgr", FRAME[None, : VIA[0], : VIA[1]].astype(np.int16)),
        ("image_bgr", np.zeros((0, *VIA, 3), np.uint8)),
        ("image_bgr", np.zeros((5, *VIA, 3), np.uint8)),
        ("frame_bgr", FRAME[None, :-1]),
        ("frame_bgr", FRAME),
        ("frame_bgr", np.zeros((1, 120, 160, 4), np.uint8)),
        ("frame_bgr", np.zeros((1, 0, 160, 3), np.uint8)),
        ("frame_bgr", np.zeros((1, 120, 160, 0), np.uint8)),
        ("frame_file", files(*[encoded(FRAME)] * 5)),
        ("frame_file", files(encoded(FRAME[:100]))),
        ("frame_file", files(encoded(FRAME)[:-200])),
        ("frame_file", files(b"AAAA")),
        ("frame_file", files(b"%!PS-Adobe")),
        ("frame_file", FRAME[0, :, 0]),
        ("frame_file", files(encoded(FRAME)).reshape(1, 1)),
        ("frame", FRAME[None]),
    ],
)
def test_other_values_are_refused(name: str, values: np.ndarray) -> None:
    for spec in (REGION, MONO):
        with pytest.raises(RequestError) as caught:
            read(spec, name, values)
        assert caught.value.status == 400


def test_one_input_is_expected() -> None:
    reader = FrameReader(PLAIN, VIA, 4)
    for inputs in ({}, {"frame_bgr": FRAME[None], "frame_file": files(encoded(FRAME))}):
        with pytest.raises(RequestError):
            reader.read(InferRequest(inputs))


def test_small_files_of_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = bytearray(encoded(FRAME))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(RequestError):
        read(PLAIN, "frame_file", files(bytes(bomb)))
    monkeypatch.setattr("partsight.runtime.cluster.serve.frames.MAX_PIXELS", 2 * FRAME.shape[0] * FRAME.shape[1])
    assert len(read(PLAIN, "frame_file", files(*[encoded(FRAME)] * 2))) == 2
    with pytest.raises(RequestError):
        read(PLAIN, "frame_file", files(*[encoded(FRAME)] * 3))
    assert MAX_PIXELS > 0
