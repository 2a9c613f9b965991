"""Frames of a request: prepared frames, whole camera frames, or image files."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.cluster.serve.protocol import InferRequest
from partsight.runtime.cluster.serve.tensor_data import RequestError
from partsight.runtime.core import FrameError, ImageError, Pixels
from partsight.runtime.images import MAX_PIXELS, PreprocessSpec, check_frame, decode_image

PREPARED, WHOLE, FILES = INPUTS = ("image_bgr", "frame_bgr", "frame_file")
"""Inputs, of which a request has one: prepared frames, whole camera frames, image files."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class FrameReader:
    """Reads the frames of requests for one package.

    Attributes:
        spec: Preprocessing of the package, with its region.
        via_hw: Height and width of prepared frames, in pixels.
        max_frames: Most frames of a request.
    """

    spec: PreprocessSpec
    via_hw: tuple[int, int]
    max_frames: int

    def read(self, request: InferRequest) -> list[Pixels]:
        """Return the frames of a request, cropped to the package's region.

        Returns:
            Frames for a recogniser of cropped frames: (height, width, 3) uint8 BGR each, or (height, width) uint8 if
            the package has grey golden images.

        Raises:
            RequestError: The request has no frames that the package can answer.
        """
        if len(request.inputs) != 1 or not set(request.inputs) <= set(INPUTS):
            received = ", ".join(name[:40] for name in request.inputs)
            raise RequestError(f"received the inputs {received}; expected one of {', '.join(INPUTS)}")
        ((name, values),) = request.inputs.items()
        expected = 1 if name == FILES else 4
        if values.dtype != (np.object_ if name == FILES else np.uint8) or values.ndim != expected:
            shapes = {PREPARED: self._prepared_shape(), WHOLE: "UINT8 (n, height, width, 3)", FILES: "BYTES (n)"}
            raise RequestError(f"{name}: received {values.dtype} of shape {values.shape}; expected {shapes[name]}")
        if not 0 < len(values) <= self.max_frames:
            raise RequestError(f"{name}: received {len(values)} frames; expected 1 to {self.max_frames} in a request")
        if name == PREPARED:
            return self._prepared(values)
        return self._cropped(self._decoded(values) if name == FILES else list(values), name)

    def _prepared(self, values: np.ndarray) -> list[Pixels]:
        if values.shape[1:] != (*self.via_hw, 3):
            raise RequestError(f"{PREPARED}: received the shape {values.shape}; expected {self._prepared_shape()}")
        return [self._in_colour(frame, f"{PREPARED} {index}") for index, frame in enumerate(values)]

    def _cropped(self, frames: Sequence[np.ndarray], name: str) -> list[Pixels]:
        cropped = []
        for index, frame in enumerate(frames):
            where = f"{name} {index}"
            try:
                checked = check_frame(self._in_colour(frame, where), self.spec)
            except FrameError as error:
                raise RequestError(f"{where}: {error}") from error
            region = self.spec.region
            if region is not None:
                rows, columns = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
                checked = np.ascontiguousarray(checked[rows, columns])
            cropped.append(checked)
        return cropped

    def _in_colour(self, frame: np.ndarray, where: str) -> np.ndarray:
        """Return a frame as the package needs it: clients send a grey one in three equal channels, or in one."""
        if self.spec.color == "bgr" or frame.ndim == 2 or frame.shape[2] not in (1, 3):
            return frame
        if (frame != frame[:, :, :1]).any():
            raise RequestError(f"{where}: is in colour, but the golden images are grey; set the camera to Mono8")
        return np.ascontiguousarray(frame[:, :, 0])

    def _decoded(self, files: np.ndarray) -> list[Pixels]:
        frames: list[Pixels] = []
        pixels = 0
        for index, data in enumerate(files.tolist()):
            try:
                frames.append(decode_image(_bytes_of(data), f"{FILES} {index}"))
            except ImageError as error:
                raise RequestError(str(error)) from error
            pixels += frames[-1].shape[0] * frames[-1].shape[1]
            if pixels > MAX_PIXELS:
                raise RequestError(
                    f"{FILES}: the first {index + 1} files have {pixels} pixels; expected at most {MAX_PIXELS} in a "
                    "request: send fewer files, or crop them"
                )
        return frames

    def _prepared_shape(self) -> str:
        return f"UINT8 (n, {self.via_hw[0]}, {self.via_hw[1]}, 3)"


def _bytes_of(data: bytes) -> bytes:
    """Return a file's bytes: JSON cannot hold them, so clients that send JSON write them in base64."""
    if not _BASE64.fullmatch(data):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return data
