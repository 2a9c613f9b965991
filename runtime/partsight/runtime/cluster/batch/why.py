"""Why answers changed: sampled frames, explained by both packages, and the pictures of the report."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from partsight.runtime.cluster.batch.comparison import ChangedFrame, Comparison
from partsight.runtime.cluster.batch.frames import Reference
from partsight.runtime.cluster.batch.rows import Change
from partsight.runtime.cluster.batch.sources import Chunk
from partsight.runtime.core import FrameError, ImageError, Pixels, progress
from partsight.runtime.inference import Arithmetic
from partsight.runtime.recognition import Explanation, Recognizer

_WIDTH_PX, _HEIGHT_PX, _TEXT_PX = 1760, 44, 26  # twice the size on the page
_MIN_PX = 6  # of a colour, so that one frame in a million shows
_COLOURS: dict[Change, tuple[str, tuple[int, int, int]]] = {
    "same": ("same answer", (225, 213, 203)),
    "label_gained": ("unknown > label", (212, 142, 56)),
    "label_lost": ("label > unknown", (9, 83, 180)),
    "other_label": ("another label", (28, 28, 185)),
}
"""Names and colours, BGR, of the bar, from left to right."""
_INK = (42, 23, 15)


@dataclass(frozen=True)
class ExplainedChange:
    """A changed frame, explained by both packages.

    Attributes:
        frame: The changed frame.
        old, new: Explanations by the old and by the new package.
    """

    frame: ChangedFrame
    old: Explanation
    new: Explanation

    @property
    def pictures(self) -> tuple[Pixels, ...]:
        """The old answer's golden image, the frame, and the new answer's golden image; the frame alone without."""
        goldens = [None if why.best is None else why.best.golden for why in (self.old, self.new)]
        return tuple(image for image in (goldens[0], self.new.frame, goldens[1]) if image is not None)


def explain_changes(
    sample: Sequence[ChangedFrame], chunks: Sequence[Chunk], old: Path, new: Path, precision: Arithmetic
) -> list[ExplainedChange]:
    """Explain changed frames on the processor of this machine.

    Args:
        sample: The frames.
        chunks: All chunks of the source.
        old, new: Folders of the packages.
        precision: Number format of the networks.

    Returns:
        The explanations, in order, without frames that cannot be read any more.
    """
    if not sample:
        return []
    explained = []
    with Recognizer(old, precision=precision) as before, Recognizer(new, precision=precision) as now:
        for frame in progress(sample, len(sample), "explaining changes", "frame"):
            try:
                pixels = reference_to(chunks, frame.index).read()
                explained.append(ExplainedChange(frame, before.explain(pixels), now.explain(pixels)))
            except (ImageError, FrameError):  # the file went away since; the list still has the frame
                continue
    return explained


def reference_to(chunks: Sequence[Chunk], index: int) -> Reference:
    """Return a reference to the frame with an index in the source."""
    chunk = chunks[bisect_right(chunks, index, key=lambda each: each.start) - 1]
    return next(islice(chunk.frames.references(), index - chunk.start, None))


def share_bar(done: Comparison) -> Pixels:
    """Return a bar with the shares of all kinds of answers and their names, (height, width, 3) uint8 BGR."""
    counts = {kind: done.counts[kind] for kind in _COLOURS}
    widths = _widths([counts[kind] for kind in _COLOURS])
    image = np.full((2 * _HEIGHT_PX + 16, _WIDTH_PX, 3), 255, np.uint8)
    left, text_left = 0, 0
    for (kind, (name, colour)), width in zip(_COLOURS.items(), widths, strict=True):
        image[:_HEIGHT_PX, left : left + width] = colour
        left += width
        if counts[kind]:
            text_left = _write(image, f"{name}: {counts[kind]:,}", colour, text_left)
    return image


def _widths(counts: Sequence[int]) -> list[int]:
    total = sum(counts)
    least = [_MIN_PX if count else 0 for count in counts]
    rest = _WIDTH_PX - sum(least)
    widths = [low + round(rest * count / total) for low, count in zip(least, counts, strict=True)]
    widths[int(np.argmax(counts))] += _WIDTH_PX - sum(widths)
    return widths


def _write(image: Pixels, text: str, colour: tuple[int, int, int], left: int) -> int:
    base, side = _HEIGHT_PX + 44, 22
    cv2.rectangle(image, (left, base - side), (left + side, base), colour, -1)
    font = cv2.FontFace("sans")
    end, _ = cv2.putText(image, text, (left + side + 12, base), _INK, font, _TEXT_PX, 400)
    return int(end[0]) + 48
