"""Pictures of the report: why frames fail, and how the line differs from the range that the package expects."""

from collections.abc import Sequence

import cv2
import numpy as np

from partsight.runtime.calibration.commissioning.failures import FailedFrame
from partsight.runtime.calibration.commissioning.line_answers import SeenFrames
from partsight.runtime.calibration.commissioning.measured_line import Spread
from partsight.runtime.core import Picture, Pixels
from partsight.runtime.matching import Bank, Matcher
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognition import MatchingStage, draw_explanation, explain, load_bank

MAX_PICTURES = 12
"""Most failed frames that the report shows."""

_TOP = 5  # candidates of an answer
_WIDTH_PX, _ROW_PX, _LEFT_PX, _RIGHT_PX = 1720, 56, 360, 560  # twice the size on the page
_SIZE_PX, _REGULAR = 26, 400  # of text
_REACH = 2.5  # of the axis, in halves of the expected range
_INK, _FAINT, _BOX = (42, 23, 15), (139, 116, 100), (240, 232, 226)
_GOOD, _BAD = (110, 118, 15), (38, 38, 220)


def why_pictures(package: ModelPackage, seen: SeenFrames, failed: Sequence[FailedFrame]) -> tuple[Picture, ...]:
    """Return pictures of the first failed frames: golden image, frame, difference and the worst spot.

    Args:
        package: Package that answers.
        seen: Frames, in the order that `FailedFrame.index` counts.
        failed: Frames that it fails on.
    """
    matching = package.manifest.matching
    assert matching is not None  # `commission` refuses a package without
    matcher = Matcher(Bank.of(load_bank(package).records), matching.spec)
    stage, labels = MatchingStage(matching, matcher, package), package.manifest.labels
    pictures = []
    for frame in chosen(failed):
        pixels, score = seen.pixels[frame.index], seen.score[frame.index : frame.index + 1]
        explanation = explain(pixels, score, labels, stage, matching.decision.rule, _TOP)
        shows = f"shows {frame.label}" if frame.label else "shows a part that is not taught"
        text = f"{frame.path.parent.name}/{frame.path.name}: {shows}"
        pictures.append(Picture.encoded(text, draw_explanation(explanation)))
    return tuple(pictures)


def chosen(failed: Sequence[FailedFrame]) -> list[FailedFrame]:
    """Return failed frames to show: those of each kind in turn, at most `MAX_PICTURES`."""
    kinds: dict[tuple[bool, bool], list[FailedFrame]] = {}
    for frame in failed:
        kinds.setdefault((frame.label is None, frame.is_accepted), []).append(frame)
    ranked = sorted((rank, kind) for kind, frames in kinds.items() for rank in range(len(frames)))
    return [kinds[kind][rank] for rank, kind in sorted(ranked[:MAX_PICTURES], key=lambda pair: (pair[1], pair[0]))]


def spread_picture(spreads: Sequence[Spread]) -> Pixels:
    """Return bars from the 1st to the 99th percentile next to the expected ranges, (height, width, 3) uint8 BGR.

    Args:
        spreads: Spreads; those without an expected range are left out.
    """
    shown = [spread for spread in spreads if spread.expected_low is not None]
    image = np.full((_ROW_PX * len(shown) + _ROW_PX // 2, _WIDTH_PX, 3), 255, np.uint8)
    for number, spread in enumerate(shown):
        _draw_row(image, _ROW_PX * number + _ROW_PX // 4, spread)
    return image


def _draw_row(image: Pixels, top: int, spread: Spread) -> None:
    assert spread.expected_low is not None and spread.expected_high is not None
    centre, half = (spread.expected_high + spread.expected_low) / 2, (spread.expected_high - spread.expected_low) / 2
    axis = (_LEFT_PX, _WIDTH_PX - _RIGHT_PX)

    def place(value: float) -> int:
        share = float(np.clip((value - centre) / half, -_REACH, _REACH)) / (2 * _REACH) + 0.5
        return round(axis[0] + share * (axis[1] - axis[0]))

    colour, bottom = _GOOD if spread.is_expected else _BAD, top + _ROW_PX
    cv2.rectangle(image, (place(centre - half), top + 4), (place(centre + half), bottom - 5), _BOX, -1)
    cv2.line(image, (place(centre), top + 4), (place(centre), bottom - 5), _FAINT, 1)
    middle = top + _ROW_PX // 2
    cv2.rectangle(image, (place(spread.low), middle - 8), (place(spread.high), middle + 8), colour, -1)
    cv2.line(image, (place(spread.middle), middle - 16), (place(spread.middle), middle + 16), _INK, 4)
    for text, left, ink in ((spread.name, 8, _INK), (spread.describe(), axis[1] + 24, colour)):
        cv2.putText(image, text, (left, middle + 9), ink, cv2.FontFace("sans"), _SIZE_PX, _REGULAR)
