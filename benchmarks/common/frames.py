"""Frames for the benchmarks: image files of the line."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from partsight.runtime import read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import Pixels


def line_paths(data: Path, count: int) -> list[Path]:
    """Return `count` image files of DATA/line/PART, spread over all parts."""
    paths = find_images(data / "line")
    return [paths[index] for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]


def line_frames(data: Path, count: int, size: tuple[int, int] | None) -> list[Pixels]:
    """Return the frames in `line_paths`, enlarged to `size`, (width, height) in pixels; None keeps their size."""
    frames = [read_image(path) for path in line_paths(data, count)]
    if size is None:
        return frames
    return [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8) for frame in frames]


def batches(frames: Sequence[Pixels], size: int) -> Iterator[list[Pixels]]:
    """Yield batches without end; each continues after the last frame of the previous batch."""
    endless = itertools.cycle(frames)
    return (list(itertools.islice(endless, size)) for _ in itertools.count())


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) of text such as 1280x1024, for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 1280x1024")
    return int(width), int(height)


def size_text(size: tuple[int, int] | None) -> str:
    """Return the name of a frame size."""
    return "as taken" if size is None else f"{size[0]}×{size[1]}"
