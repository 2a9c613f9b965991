"""The picture of an explanation: verdict, golden image, frame and difference, as a person sees them at a glance."""

import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.matching import Overlay, PartPose
from partsight.runtime.recognition.canvas import (
    GREY,
    RING,
    WHITE,
    Canvas,
    Colour,
    Style,
    fitted,
    heat,
    legend,
    ring,
    write,
    zoomed,
)
from partsight.runtime.recognition.explanation import Explanation, against, describe_pair

_TILE_PX = 288  # longest side of an image
_MARGIN_PX, _GAP_PX = 16, 12
_ZOOM_PX = (_TILE_PX - _GAP_PX) // 2  # side of the enlarged spots
_MIN_ZOOM_PX = 90  # next to the image of a flat part
_ZOOMED = 4.0  # sides of the spot that they show
_WIDTH_PX = 3 * _TILE_PX + _ZOOM_PX + 3 * _GAP_PX + 2 * _MARGIN_PX

_VERDICT, _TEXT, _LABEL, _SMALL = Style(30, 700, WHITE), Style(18), Style(20, 700), Style(15, 400, GREY)
_CAPTION, _ALARM = Style(16), Style(15, 700, RING)
_COLOURS: dict[str, Colour] = {
    "recognised": (50, 125, 46),
    "agrees_with_none": (40, 40, 198),
    "two_parts_fit": (0, 108, 200),
}
_REASONS = {"agrees_with_none": "UNKNOWN: agrees with no golden image", "two_parts_fit": "UNKNOWN: two parts fit"}


def draw_explanation(explanation: Explanation) -> Pixels:
    """Return an explanation as a picture, (height, 1070, 3) uint8 BGR, to look at in its own size."""
    answer, canvas = explanation.answer, Canvas(_WIDTH_PX)
    back = _COLOURS[answer.reason]
    canvas.add(
        canvas.space(10, back),
        canvas.text(_REASONS.get(answer.reason, f"RECOGNISED: {explanation.best_label}"), _VERDICT, _MARGIN_PX, back),
        canvas.space(8, back),
        canvas.space(10),
        canvas.text(_capital(explanation.sentence), _TEXT, _MARGIN_PX),
    )
    if explanation.best is None:
        canvas.add(canvas.space(10), _row(canvas, [_frame_tile(explanation.frame)], ["this frame"]))
    else:
        title, needed = f"Best: {explanation.best_label}", f"agreement {against(answer.score, answer.threshold)}"
        _add_row(canvas, title, needed, explanation.best, is_odd=explanation.is_refused_by_pose)
    if explanation.runner_up is not None:
        behind = f"agreement {explanation.runner_up.agreement:.2f}, {answer.margin:.2f} behind the best"
        _add_row(canvas, f"Next: {explanation.runner_up_label}", behind, explanation.runner_up)
    if explanation.pair is not None:
        _add_pair(canvas, explanation.pair, explanation.best_label, explanation.runner_up_label or "")
    canvas.add(canvas.space(10))
    return canvas.picture()


def draw_overlay(overlay: Overlay, label: str, other_label: str) -> Pixels:
    """Return the golden images of two parts and their difference as a picture, (height, 1070, 3) uint8 BGR.

    Args:
        overlay: The pair, by `compare_golden_images`.
        label: Label of the golden image.
        other_label: Label of the part that is laid over it.
    """
    canvas = Canvas(_WIDTH_PX)
    _add_pair(canvas, overlay, label, other_label)
    canvas.add(canvas.space(10))
    return canvas.picture()


def _add_pair(canvas: Canvas, overlay: Overlay, label: str, other_label: str) -> None:
    canvas.add(
        canvas.space(12),
        canvas.text(f"Golden images of {label} and {other_label}", _LABEL, _MARGIN_PX),
        canvas.text(f"agreement {overlay.agreement:.2f}; they {describe_pair(overlay)}", _SMALL, _MARGIN_PX),
        canvas.space(6),
        _tiles(canvas, overlay, ("first part", "second part, laid over it")),
    )


def _frame_tile(image: Pixels) -> Pixels:
    return fitted(image, _TILE_PX / max(image.shape[:2]))


def _add_row(canvas: Canvas, title: str, agreement: str, overlay: Overlay, *, is_odd: bool = False) -> None:
    """Add title, pose and images of a part; `is_odd` says that its pose is the reason of a refusal."""
    canvas.add(
        canvas.space(12),
        canvas.text(title, _LABEL, _MARGIN_PX),
        canvas.text(f"{agreement} · {_in_words(overlay.pose)}", _SMALL, _MARGIN_PX),
    )
    if is_odd:
        text = "the difference alone would pass; with this shear and stretch it is too much"
        canvas.add(canvas.text(text, _ALARM, _MARGIN_PX))
    image = f"further reference {overlay.reference}" if overlay.reference else "golden image"
    canvas.add(canvas.space(6), _tiles(canvas, overlay, (image, "this frame, laid over it")))


def _tiles(canvas: Canvas, overlay: Overlay, captions: tuple[str, str]) -> Pixels:
    """Return a band: both images, their difference, and the spot of each image enlarged, the golden image's above."""
    scale, spot = _TILE_PX / max(overlay.golden.shape[:2]), overlay.spot
    images = overlay.golden, overlay.laid
    tiles = [*(fitted(image, scale) for image in images), heat(overlay.difference, overlay.golden, scale)]
    for tile, text in zip(tiles, ("", "", f"{spot.tolerances:.1f}×"), strict=True):
        ring(tile, ((spot.x + 0.5) * scale, (spot.y + 0.5) * scale), spot.side * scale, text)
    side = max(_MIN_ZOOM_PX, min(_ZOOM_PX, (tiles[0].shape[0] - _GAP_PX) // 2))
    gap = np.full((_GAP_PX, side, 3), WHITE, np.uint8)
    above, below = (zoomed(image, (spot.x, spot.y), _ZOOMED * spot.side, side) for image in images)
    band = _row(canvas, [*tiles, np.concatenate([above, gap, below])], [*captions, "difference", "spot in both"])
    key = legend(_CAPTION.size_px)
    right = _MARGIN_PX + 3 * _TILE_PX + 2 * _GAP_PX
    band[: key.shape[0], right - key.shape[1] : right] = key
    return band


def _row(canvas: Canvas, tiles: list[Pixels], captions: list[str]) -> Pixels:
    """Return a band with images next to each other, and a caption above each."""
    top = _CAPTION.line_px + 2
    band = canvas.space(top + max(tile.shape[0] for tile in tiles))
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = _MARGIN_PX + number * (_TILE_PX + _GAP_PX)
        write(band, caption, (left, _CAPTION.size_px), _CAPTION)
        band[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return band


def _in_words(pose: PartPose) -> str:
    """Return a pose in words; shifts in shares of the longest side."""
    across, down = pose.shift_x * 100, pose.shift_y * 100
    turn = "clockwise" if pose.turn_deg >= 0 else "anticlockwise"
    return (
        f"shifted {abs(across):.1f} % {'right' if across >= 0 else 'left'}, {abs(down):.1f} % "
        f"{'down' if down >= 0 else 'up'} · turned {abs(pose.turn_deg):.1f}° {turn} · "
        f"sheared or stretched {100 * pose.distortion:.1f} %"
    )


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
