"""The second table of `preprocess.py`: effect of preprocessing on labels, and its share of an answer's time."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.common.frames import size_text
from benchmarks.common.results import markdown_table
from benchmarks.common.rounds import Turn, interleave, median_of, timed
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels
from partsight.runtime.images import preprocess

MAX_SHARE, MAX_SHARE_SIZE = 0.05, (1280, 1024)
"""Largest promised share of preprocessing in an answer's time, in FP32 and at this size of frame."""


@dataclass(frozen=True)
class Agreement:
    """The labels of a package's network for frames of one size.

    Attributes:
        frame: Size of the frames.
        frames: Number of frames.
        same_label: Share of frames with the same label, prepared by INTER_AREA and by partsight.
        right_by_area, right_by_ours: Share of frames with the right label, by each preparation.
        preprocessing_ms, label_ms: Time of a single frame: preprocessing alone, and from frame to label.
        share: Share of preprocessing in the latter.
    """

    frame: str
    frames: int
    same_label: float
    right_by_area: float
    right_by_ours: float
    preprocessing_ms: float
    label_ms: float
    share: float


def each(frames: list[Pixels], prepare: Callable[[Pixels], Pixels]) -> Turn:
    """Return a turn that prepares single frames, one after the other."""
    source = itertools.cycle(frames)
    return lambda: timed(lambda: prepare(next(source)))


def measure_agreement(recognizer: Recognizer, frames: list[Pixels], shown: list[str], rounds: int) -> Agreement:
    """Compare the labels of both preparations, and measure the share of preprocessing."""
    height, width = frames[0].shape[:2]
    size = size_text((width, height))
    spec = recognizer.manifest.preprocess
    ready = [cv2.resize(frame, (spec.width, spec.height), interpolation=cv2.INTER_AREA) for frame in frames]
    labels = np.array(recognizer.labels)
    area, ours = (labels[recognizer.infer(pictures).score.argmax(axis=1)] for pictures in (ready, frames))
    turns = {
        "preprocessing": each(frames, lambda frame: preprocess([frame], spec)),
        "label": each(frames, recognizer.recognize),
    }
    found = interleave(turns, rounds, f"{size} share")
    preparing, label = found["preprocessing"], found["label"]
    return Agreement(
        size,
        len(frames),
        *(float((one == other).mean()) for one, other in ((area, ours), (area, shown), (ours, shown))),
        median_of(preparing) * 1000,
        median_of(label) * 1000,
        median_of(preparing, label),
    )


def to_agreement_table(agreements: list[Agreement]) -> str:
    """Return the figures as a Markdown table, with a line on the promise."""
    head = (
        "frame",
        "frames",
        "same label as INTER_AREA",
        "right label, INTER_AREA",
        "right label",
        "preprocessing",
        "frame to label, cpu fp32",
        "share",
    )
    lines = [
        (
            found.frame,
            str(found.frames),
            f"{found.same_label:.2%}",
            f"{found.right_by_area:.2%}",
            f"{found.right_by_ours:.2%}",
            f"{found.preprocessing_ms:.2f} ms",
            f"{found.label_ms:.2f} ms",
            f"{found.share:.1%}",
        )
        for found in agreements
    ]
    promised = [found for found in agreements if found.frame == size_text(MAX_SHARE_SIZE)]
    notes = [
        f"Promised at {found.frame}: at most {MAX_SHARE:.0%}; {'kept' if found.share <= MAX_SHARE else 'NOT KEPT'}."
        for found in promised
    ]
    return "\n\n".join([markdown_table(head, lines), *notes])
