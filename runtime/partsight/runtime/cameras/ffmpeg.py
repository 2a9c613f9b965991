"""Captures by OpenCV and FFmpeg, and FFmpeg's options for each."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import cv2

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

_variable_lock = threading.Lock()


def open_capture(
    place: str, params: Sequence[int] = (), *, options: Mapping[str, str], bounds: Mapping[str, str]
) -> cv2.VideoCapture:
    """Return a capture of a file or an address; `isOpened` says whether OpenCV could open it.

    OpenCV takes FFmpeg's options only from an environment variable. This function sets it while it opens the capture,
    and holds a lock meanwhile, so that no other capture gets these options.

    Args:
        place: Path or address.
        params: Properties of OpenCV: property, value, property, value and so on.
        options: Options of FFmpeg. If the user has set the variable, its options replace these.
        bounds: Further options, which hold unless the user's variable names the same.
    """
    with _ffmpeg_options(options, bounds):
        return cv2.VideoCapture(place, cv2.CAP_FFMPEG, params)


@contextmanager
def _ffmpeg_options(options: Mapping[str, str], bounds: Mapping[str, str]) -> Iterator[None]:
    with _variable_lock:
        before = os.environ.get(VARIABLE)
        text = _written(options) if before is None else before
        named = _names(text)
        text = "|".join(filter(None, (text, _written({name: bounds[name] for name in bounds if name not in named}))))
        if text:
            os.environ[VARIABLE] = text
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = before


def users_options() -> frozenset[str]:
    """Return the names of the options that the user has set for FFmpeg."""
    return _names(os.environ.get(VARIABLE, ""))


def _names(text: str) -> frozenset[str]:
    return frozenset(pair.partition(";")[0] for pair in text.split("|") if pair)


def _written(options: Mapping[str, str]) -> str:
    return "|".join(f"{name};{value}" for name, value in options.items())
