"""Archives of frames that the tiny package knows, and the rows that a batch of them must have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet

from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels
from partsight.runtime.images import list_images, read_image
from tests.tiny import COLOURS_BGR, solid

GREY = (128, 128, 128)
COLOURS = (*COLOURS_BGR, GREY)
"""Taught colours, and one that no package knows."""


def frame(number: int) -> Pixels:
    """Return a frame of the archive: a solid colour with a little noise, of its own for each number."""
    noise = np.random.default_rng(number).integers(-6, 7, (48, 64, 3))
    return np.clip(solid(COLOURS[number % len(COLOURS)]) + noise, 0, 255).astype(np.uint8)


def png(image: Pixels) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def write_folder(folder: Path, count: int) -> Path:
    """Write frames into inner folders, with an unreadable image and notes among them."""
    for number in range(count):
        path = folder / f"shift{number % 3}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(frame(number)))
    (folder / "shift1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "notes.txt").write_text("a night shift")
    return folder


def plain_labels(package: Path, folder: Path) -> list[str | None]:
    """Return the labels of a plain loop over a folder's images, one at a time; `failed` where one cannot be read."""
    labels: list[str | None] = []
    with Recognizer(package) as recognizer:
        for path in list_images(folder).entries:
            labels.append("failed" if path.name == "broken.png" else recognizer.recognize(read_image(path)).label)
    return labels


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(pyarrow.parquet.read_table(path).to_pylist())


def labels_of(rows: Sequence[dict[str, Any]]) -> list[str | None]:
    return ["failed" if row["outcome"] == "failed" else row["label"] for row in rows]
