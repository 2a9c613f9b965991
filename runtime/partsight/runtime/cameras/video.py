"""A video file as a camera: `video:PATH`."""

import threading
import time
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from partsight.runtime.cameras.camera import CameraOptions, Frame
from partsight.runtime.cameras.ffmpeg import open_capture
from partsight.runtime.cameras.pace import FilePace
from partsight.runtime.core import CameraError, CameraLostError, ProcessBound

EXACT_SUFFIXES = frozenset({".avi", ".m4v", ".mov", ".mp4"})
"""Containers that count their frames; for others OpenCV estimates the number from duration and rate."""

ESTIMATE_SHARE = 0.95
"""Share of an estimated number below which frames count as missing."""


def check_address(path: str, options: CameraOptions) -> None:
    """Refuse options other than `fps`.

    Raises:
        CameraError: one is set.
    """
    options.check_supported(f"video:{path}", frozenset({"fps"}))


def open_address(path: str, options: CameraOptions) -> "VideoCamera":
    """Open a video file.

    Raises:
        CameraError: there is no such file, it is no video, or an option other than `fps` is set.
    """
    check_address(path, options)
    return VideoCamera(path, options.fps)


class VideoCamera(ProcessBound, unusable=CameraLostError):
    """Delivers the frames of a video file in order, as fast as they are asked for or at a rate."""

    ends = True

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        """Open the file.

        Args:
            path: Path of the file.
            fps: Frames a second, in place of the file's own rate; None for as fast as the line reads them.

        Raises:
            CameraError: there is no such file, or OpenCV cannot read it.
        """
        self.path = Path(path)
        self.source = str(path)
        if not self.path.is_file():
            raise CameraError(f"{self.path}: there is no such file")
        self._capture = open_capture(str(self.path), options={}, bounds={})
        if not self._capture.isOpened():
            raise CameraError(
                f"{self.path}: not a video, damaged, or in a codec that OpenCV lacks; "
                "copy it again from its source, or convert it to MP4 (H.264)"
            )
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._pace = FilePace(fps)
        self._lock = threading.Lock()
        self._delivered = 0
        self._ended = self._closed = False

    def read(self) -> Frame | None:
        """Return the next frame, or None after the last.

        Raises:
            CameraError: the file is damaged and frames are missing; raised once, at the end.
            CameraLostError: the camera is closed.
        """
        self._pace.wait()
        with self._lock:
            if self._closed:
                raise CameraLostError(f"{self.path}: was closed; open it again")
            if self._ended:
                return None
            came, image = self._capture.read()
            if not came:
                self._ended = True
                self._check_complete()
                return None
            sequence, self._delivered = self._delivered, self._delivered + 1
        return Frame(np.ascontiguousarray(image, np.uint8), self.source, sequence, time.time())

    def close(self) -> None:
        """Close the file; a second call does nothing. Safe from any thread."""
        self._pace.end()
        with self._lock:
            self._closed = True
            self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_complete(self) -> None:
        is_exact = self.path.suffix.lower() in EXACT_SUFFIXES
        needed = self._expected if is_exact else ESTIMATE_SHARE * self._expected
        if self._delivered < needed:
            lost = self._expected - self._delivered
            raise CameraError(
                f"{self.path}: damaged: {lost} of {self._expected} frames could not be read, "
                f"{self._delivered} could; copy it again from its source"
            )
