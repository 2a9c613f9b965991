"""Objects that people pass as frames; each message names the object and the expression that helps."""

import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from partsight.runtime import FrameError, MicroBatcher, Recognizer
from partsight.runtime.cameras import Frame
from partsight.runtime.images.frame_fault import check_batch, describe_fault
from partsight.runtime.images.preprocessing import PreprocessSpec, check_frame
from tests.tiny import solid

SPEC, MONO = PreprocessSpec(24, 32), PreprocessSpec(24, 32, color="mono")
BGR = np.dstack([np.full((40, 50), value, np.uint8) for value in (10, 120, 250)])
ENCODED = cv2.imencode(".jpg", BGR)[1]


class Tensor:
    """An array of another library, with the attributes that partsight reads without importing the library."""

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        self.shape, self.device = shape, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


def of_library(name: str, shape: tuple[int, ...] = (40, 50, 3), device: str = "cuda:0") -> object:
    return type("Tensor", (Tensor,), {"__module__": f"{name}.inner"})(shape, device)


FAULTS: dict[str, tuple[object, tuple[str, ...]]] = {
    "none": (None, ("None", "cv2.imread")),
    "name of a file": ("part.png", ("'part.png'", "read_image")),
    "path": (Path("part.png"), ("'part.png'", "read_image")),
    "PIL image": (Image.fromarray(BGR), ("PIL", "[..., ::-1]")),
    "bytes of a file": (ENCODED.tobytes(), ("bytes", "cv2.imdecode")),
    "array of a file's bytes": (ENCODED, ("encoded", "cv2.imdecode")),
    "VideoCapture": (cv2.VideoCapture(), ("cv2.VideoCapture", "capture.read()")),
    "a class": (np.ndarray, ("class ndarray",)),
    "paths": (np.array(["part.png"]), ("text", "read_image")),
    "answer of VideoCapture": ((True, BGR), ("tuple", "capture.read()")),
    "camera's frame": (Frame(BGR, "usb:0", 0, 0.0), ("Frame", "`image`")),
    "list of frames": ([BGR, BGR], ("list", "recognize_batch")),
    "torch": (of_library("torch"), ("torch.Tensor", "cuda:0", ".cpu().numpy()")),
    "torch, channels first": (of_library("torch", (3, 40, 50)), ("(3, 40, 50)", "(channels, height, width)")),
    "cupy": (of_library("cupy"), ("cupy.asnumpy",)),
    "tensorflow": (of_library("tensorflow"), (".numpy()",)),
    "another library": (of_library("mine"), ("mine.Tensor", "from_dlpack")),
    "UMat": (cv2.UMat(BGR), ("cv2.UMat", ".get()")),
    "channels first": (BGR.transpose(2, 0, 1).copy(), ("(3, 40, 50)", "transpose(1, 2, 0)")),
    "floats to 1": (BGR.astype(np.float32) / 255, ("float32", "* 255")),
    "floats to 1, channels first": (BGR.transpose(2, 0, 1) / 255.0, ("float64", "(3, 40, 50)", "* 255", "transpose")),
    "floats to 255": (BGR.astype(np.float32), ("float32", "astype(numpy.uint8)")),
    "normalised": (BGR.astype(np.float32) - 100, ("float32", "-90", "150")),
    "not numbers": (np.full((40, 50, 3), np.nan), ("float64",)),
    "16 bits": (BGR.astype(np.uint16) * 200, ("uint16", "8 bits a channel")),
    "booleans": (BGR > 100, ("bool", "* 255")),
    "objects": (np.array([None, 1], object), ("object", "NoneType")),
    "batch": (np.stack([BGR, BGR]), ("(2, 40, 50, 3)", "recognize_batch")),
    "batch of one": (BGR[None], ("(1, 40, 50, 3)", "frame[0]")),
    "batch, channels first": (np.zeros((2, 3, 40, 50), np.uint8), ("transpose(0, 2, 3, 1)", "recognize_batch")),
    "with transparency": (np.zeros((40, 50, 4), np.uint8), ("(40, 50, 4)", "COLOR_BGRA2BGR")),
    "YUYV": (np.zeros((40, 50, 2), np.uint8), ("YUYV",)),
    "one channel": (np.zeros((40, 50, 1), np.uint8), ("frame[:, :, 0]",)),
    "a row": (np.zeros(6000, np.uint8), ("(6000,)", "reshape")),
    "number": (3, ("int",)),
}


@pytest.mark.parametrize(("frame", "data"), FAULTS.values(), ids=FAULTS)
def test_faults(frame: object, data: tuple[str, ...]) -> None:
    with pytest.raises(FrameError, match="expected") as caught:
        check_frame(frame, SPEC)
    for datum in data:
        assert datum in str(caught.value)
    assert "(height, width, 3)" in str(caught.value)


REMEDIES: dict[str, tuple[object, PreprocessSpec, Callable[[Any], object]]] = {
    "PIL image": (Image.fromarray(BGR[..., ::-1].copy()), SPEC, lambda f: np.array(f.convert("RGB"))[..., ::-1].copy()),
    "PIL image, grey": (Image.fromarray(BGR), MONO, lambda f: np.array(f.convert("L"))),
    "bytes": (ENCODED.tobytes(), SPEC, lambda f: cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR)),
    "channels first": (BGR.transpose(2, 0, 1).copy(), SPEC, lambda f: np.ascontiguousarray(f.transpose(1, 2, 0))),
    "floats": (BGR / 255, SPEC, lambda f: (f * 255).round().astype(np.uint8)),
    "transparency": (np.dstack([BGR, BGR[..., 0]]), SPEC, lambda f: cv2.cvtColor(f, cv2.COLOR_BGRA2BGR)),
    "one channel": (np.zeros((40, 50, 1), np.uint8), MONO, lambda f: f[:, :, 0]),
}


@pytest.mark.parametrize(("frame", "spec", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_remedies_help(frame: object, spec: PreprocessSpec, remedy: Callable[[Any], object]) -> None:
    with pytest.raises(FrameError):
        check_frame(frame, spec)
    repaired = check_frame(remedy(frame), spec)
    if spec is SPEC and not isinstance(frame, bytes):
        np.testing.assert_array_equal(repaired, BGR)


BATCHES: dict[str, tuple[object, tuple[str, ...]]] = {
    "one frame": (BGR, ("one frame", "(40, 50, 3)", "recognize(frame)", "[frame]")),
    "one grey frame": (BGR[..., 0], ("one frame", "(40, 50)", "recognize(frame)")),
    "one frame, channels first": (BGR.transpose(2, 0, 1), ("one frame", "(3, 40, 50)")),
    "a row": (BGR.ravel(), ("(6000,)",)),
    "generator": ((frame for frame in [BGR]), ("generator", "list(frames)")),
    "map": (map(np.copy, [BGR]), ("map", "list(frames)")),
    "dictionary": ({"left": BGR}, ("dict", "list(frames.values())")),
    "values": ({"left": BGR}.values(), ("list(frames)",)),
    "deque": (deque([BGR]), ("deque", "list(frames)")),
    "name of a file": ("part.png", ("'part.png'", "read_image")),
    "none": (None, ("None",)),
    "PIL image": (Image.fromarray(BGR), ("PIL", "recognize(frame)")),
    "camera's frame": (Frame(BGR, "usb:0", 0, 0.0), ("`image`",)),
    "answer of VideoCapture": ((True, BGR), ("capture.read()",)),
    "tensor": (of_library("torch", (4, 40, 50, 3)), ("(4, 40, 50, 3)", ".cpu().numpy()")),
    "number": (3, ("int",)),
}


@pytest.mark.parametrize(("frames", "data"), BATCHES.values(), ids=BATCHES)
def test_no_batches(frames: object, data: tuple[str, ...]) -> None:
    with pytest.raises(FrameError, match="expected") as caught:
        check_batch(frames, "bgr")
    for datum in data:
        assert datum in str(caught.value)


def test_one_colour_frame_for_grey_parts() -> None:
    """Its rows have the shape of grey frames."""
    with pytest.raises(FrameError, match=re.escape("(40, 50, 3)")):
        check_batch(BGR, "mono")
    check_batch(np.zeros((7, 40, 50), np.uint8), "mono")


def test_grey_packages_expect_two_dimensions() -> None:
    assert "shape (height, width):" in describe_fault(BGR.transpose(2, 0, 1), "mono")


def test_every_way_in(tiny_package: Path) -> None:
    frame = solid("blue")
    with Recognizer(tiny_package) as recognizer, MicroBatcher(recognizer) as batcher:
        for call in (recognizer.recognize_batch, recognizer.start_batch, recognizer.infer):
            with pytest.raises(FrameError, match=re.escape("recognize(frame)")):
                call(frame)
            with pytest.raises(FrameError, match=r"frame 1 of 2: .*part.png"):
                call([frame, "part.png"])  # type: ignore[list-item]
        for one in (recognizer.recognize, batcher.submit):
            with pytest.raises(FrameError, match="recognize_batch"):
                one([frame])  # type: ignore[arg-type]
        assert [part.label for part in recognizer.recognize_batch(np.stack([frame, frame]))] == ["blue"] * 2
        assert [part.label for part in recognizer.recognize_batch((frame,))] == ["blue"]
