"""Faults of an object that was passed as a frame, with the expression that makes a frame of it."""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from partsight.runtime.core import FrameError

Color = Literal["bgr", "mono"]

_ENCODED = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"RIFF")
_DECODE = "cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)"
_FROM_OPENCV = {
    "GpuMat": "pass frame.download()",
    "UMat": "pass frame.get()",
    "VideoCapture": "pass the second value of read(): came, frame = capture.read()",
}
_TO_PROCESSOR = {
    "torch": "frame.detach().cpu().numpy()",
    "tensorflow": "frame.numpy()",
    "cupy": "cupy.asnumpy(frame)",
    "jaxlib": "numpy.array(frame)",
    "jax": "numpy.array(frame)",
    "onnxruntime": "frame.numpy()",
    "openvino": "frame.data",
}
"""By library, the expression that copies a tensor into a NumPy array."""

_LIBRARIES = frozenset({"PIL", "cv2", *_TO_PROCESSOR})


def has_shape(frame: np.ndarray, color: Color) -> bool:
    """Return whether an array has the shape of a frame of a colour or grey package."""
    return frame.ndim == 2 if color == "mono" else frame.ndim == 3 and frame.shape[2] == 3


def describe_fault(frame: object, color: Color) -> str:
    """Return a sentence with the object received, the frame expected, and the remedy.

    Args:
        frame: Object that is not a contiguous, non-empty uint8 array with `has_shape`.
        color: Colour of the golden images.
    """
    shapes = "(height, width, 3)" if color == "bgr" else "(height, width)"
    expected = f"expected a contiguous uint8 NumPy array of shape {shapes}"
    if not isinstance(frame, np.ndarray):
        name, fix = _fault_of_object(frame, color)
        return f"received {name}; {expected}{f': {fix}' if fix else ''}"
    if frame.size == 0:
        return f"received an empty frame of shape {frame.shape}; {expected}: the camera sent nothing"
    shape, shape_fix = _fault_of_shape(frame, color)
    dtype, dtype_fix = _fault_of_dtype(frame)
    if shape or dtype:
        fixes = "; then ".join(fix for fix in (dtype_fix, shape_fix) if fix)
        return f"received {' and '.join(fault for fault in (dtype, shape) if fault)}; {expected}: {fixes}"
    return (
        f"received a view with strides {frame.strides}; {expected}: pass numpy.ascontiguousarray(frame), or crop with "
        "the package's region"
    )


def check_batch(frames: object, color: Color) -> None:
    """Refuse an object that is not a sequence of frames, without looking at the frames.

    Raises:
        FrameError: the object is one frame, or not a sequence.
    """
    if isinstance(frames, np.ndarray):
        _check_array(frames, color)
        return
    if isinstance(frames, list | tuple) and not _is_capture(frames):
        return
    expected = "expected a sequence of frames, such as a list"
    if _is_one_frame(frames):
        name, fix = _fault_of_object(frames, color)
        raise FrameError(f"received {name}; {expected}; for one frame use recognize(frame): {fix}")
    is_indexed = hasattr(frames, "__getitem__") and hasattr(frames, "__len__")
    if not is_indexed or isinstance(frames, Mapping | deque):
        fix = "list(frames.values())" if isinstance(frames, Mapping) else "list(frames)"
        raise FrameError(f"received {type(frames).__name__}; {expected}: pass {fix}, a few hundred at a time")


def _is_capture(frames: Sequence[object]) -> bool:
    """Return whether the sequence is the pair that `cv2.VideoCapture.read` returns."""
    return len(frames) == 2 and isinstance(frames[0], bool | np.bool_)


def _is_one_frame(frames: object) -> bool:
    """Return whether the object is meant as one frame: None, a path, bytes, a camera's frame or a tensor."""
    is_one = frames is None or isinstance(frames, str | os.PathLike | bytes | bytearray | memoryview | tuple)
    return is_one or hasattr(frames, "image") or hasattr(frames, "__dlpack_device__") or _library(frames) in _LIBRARIES


def _library(frame: object) -> str:
    return type(frame).__module__.partition(".")[0]


def _check_array(frames: np.ndarray, color: Color) -> None:
    shapes = "(frames, height, width, 3)" if color == "bgr" else "(frames, height, width)"
    expected = f"expected a sequence of frames, or an array of shape {shapes}"
    is_stack = frames.ndim == 4 or (frames.ndim == 3 and color == "mono" and frames.shape[2] not in (3, 4))
    if frames.ndim in (2, 3) and not is_stack:
        raise FrameError(f"received one frame of shape {frames.shape}; {expected}: use recognize(frame), or [frame]")
    if not is_stack:
        raise FrameError(f"received an array of shape {frames.shape}; {expected}")


def _fault_of_object(frame: object, color: Color) -> tuple[str, str]:  # noqa: PLR0911 (one for each kind)
    """Return the name of an object that is not an array, and the remedy; an empty remedy if none is known."""
    library, name = _library(frame), (frame if isinstance(frame, type) else type(frame)).__name__
    if frame is None:
        return "None", "check the source: cv2.imread returns None if it cannot read a file, and a camera after its end"
    if isinstance(frame, str | os.PathLike):
        return f"the path {os.fspath(frame)!r}", "pass partsight.runtime.read_image(path)"
    if isinstance(frame, bytes | bytearray | memoryview):
        return name, f"decode it: {_DECODE.replace('data', 'frame')}"
    if isinstance(frame, type):
        return f"the class {name}", ""
    if hasattr(frame, "image"):  # of partsight's cameras
        return name, "pass its `image`"
    if library == "PIL":
        fix = (
            'numpy.array(frame.convert("RGB"))[..., ::-1].copy()'
            if color == "bgr"
            else 'numpy.array(frame.convert("L"))'
        )
        return f"a PIL image ({name})", f"pass {fix}"
    if library == "cv2":
        return f"cv2.{name}", _FROM_OPENCV.get(name, "")
    if library in _TO_PROCESSOR or hasattr(frame, "__dlpack_device__"):
        return _fault_of_tensor(frame, library)
    if isinstance(frame, list | tuple) and frame:
        return _fault_of_list(frame)
    return name, "pass numpy.asarray(frame)" if hasattr(frame, "__array__") else ""


def _fault_of_list(frames: Sequence[object]) -> tuple[str, str]:
    name = type(frames).__name__
    if _is_capture(frames):
        return f"a {name} of {len(frames)}", "pass the second value of read(): came, frame = capture.read()"
    if isinstance(frames[0], np.ndarray | list):
        hint = "pass several frames to recognize_batch, and numbers as numpy.array(frame, numpy.uint8)"
        return name, hint
    return name, ""


def _fault_of_tensor(frame: object, library: str) -> tuple[str, str]:
    device, shape = getattr(frame, "device", None), tuple(getattr(frame, "shape", ()))
    where = f" on {device}" if device is not None else ""
    fix = _TO_PROCESSOR.get(library, "numpy.from_dlpack(frame), after a copy into main memory if it is elsewhere")
    transposed = "; transpose (channels, height, width) first" if _has_channels_first(shape) else ""
    name = f"{library}.{type(frame).__name__} of shape {shape}{where}"
    return name, f"pass {fix}, (height, width, 3) in the order BGR{transposed}"


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 3 and shape[-3] in (1, 3, 4) and shape[-1] not in (1, 3, 4)


def _fault_of_dtype(frame: np.ndarray) -> tuple[str, str]:
    if frame.dtype == np.uint8:
        return "", ""
    fix = "set the camera to 8 bits a channel"
    if frame.dtype == np.bool_:
        fix = "pass frame.astype(numpy.uint8) * 255"
    elif frame.dtype == object:
        fix = f"it holds {type(frame.flat[0]).__name__}: pass each frame as a separate array"
    elif frame.dtype.kind in "SU":
        fix = "it holds text: pass partsight.runtime.read_image(path) for each path"
    elif np.issubdtype(frame.dtype, np.floating) or np.issubdtype(frame.dtype, np.integer):
        least, largest = float(np.nan_to_num(frame).min()), float(np.nan_to_num(frame).max())
        if least < 0:
            fix = f"it holds {least:.3g} to {largest:.3g}: pass the camera's pixels, 0 to 255, without normalisation"
        elif np.issubdtype(frame.dtype, np.floating) and largest <= 1:
            fix = f"{fix}, or pass (frame * 255).round().astype(numpy.uint8)"
        elif largest <= 255:
            fix = "pass frame.round().astype(numpy.uint8)"
    return f"dtype {frame.dtype}", fix


def _fault_of_shape(frame: np.ndarray, color: Color) -> tuple[str, str]:
    shape = frame.shape
    if has_shape(frame, color):
        return "", ""
    if frame.ndim <= 2 and frame.ravel()[:4].tobytes().startswith(_ENCODED):
        return f"an encoded image of shape {shape}", f"decode it: {_DECODE.replace('data', 'frame')}"
    if frame.ndim == 2 and min(shape) > 1:
        return f"a mono frame of shape {shape}, but the golden images are in colour", (
            "set the camera's pixel format to BGR8, or train again on grey golden images"
        )
    if frame.ndim == 3 and shape[2] == 3:
        return f"a colour frame of shape {shape}, but the golden images are grey", (
            "set the camera's pixel format to Mono8, or train again on colour golden images"
        )
    return f"shape {shape}", _shape_fix(shape)


def _shape_fix(shape: tuple[int, ...]) -> str:
    """Return the expression that turns an array of another shape into one frame."""
    if len(shape) == 4:
        first = "first transpose(0, 2, 3, 1), then " if _has_channels_first(shape) else ""
        return f"{first}pass {'frame[0]' if shape[0] == 1 else 'the batch to recognize_batch'}"
    if _has_channels_first(shape) and len(shape) == 3:
        if shape[0] == 1:
            return "pass frame[0], which is a mono frame"
        return "pass numpy.ascontiguousarray(frame.transpose(1, 2, 0)), in the order BGR: its channels come first"
    fixes = {
        1: "pass frame[:, :, 0], which is a mono frame",
        2: "pass cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_YUYV) if the camera sends YUYV",
        4: "pass cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR), or cv2.COLOR_RGBA2BGR if red comes first",
    }
    if len(shape) == 3 and shape[2] in fixes:
        return fixes[shape[2]]
    return "pass one picture; if the array holds its rows in order, pass frame.reshape(height, width, 3)"
