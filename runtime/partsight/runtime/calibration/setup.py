"""The set-up of a camera: channel order, turn, mirror, scale and light, as differences from the golden images."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.core import Pixels


@dataclass(frozen=True)
class Setup:
    """How frames differ from the golden images.

    Attributes:
        is_rgb: whether red and blue are swapped.
        is_mirrored: whether left and right are swapped, before the turn.
        turn_deg: turn of the picture, clockwise: 0, 90, 180 or 270.
        scale: size at which frames show a part: 1 as in the golden images, more if the camera is nearer.
        light_ev: log2 of the ratio of grey levels: 0 as in the golden images, more for brighter frames.
    """

    is_rgb: bool = False
    is_mirrored: bool = False
    turn_deg: int = 0
    scale: float = 1.0
    light_ev: float = 0.0

    def undo(self, frame: Pixels, *, is_tall_for_wide: bool = False) -> Pixels:
        """Return the frame without the differences; its border fills the area that it does not show.

        Args:
            frame: (height, width, 3) uint8 BGR, or (height, width) uint8.
            is_tall_for_wide: Whether a turn by 90 or 270 degrees swaps height and width, since software turned the
                frame. False if a turned camera took it: the result is as large as the frame then.
        """
        if self.is_rgb and frame.ndim == 3:
            frame = frame[..., ::-1]
        if self.light_ev:
            levels = np.clip(np.rint(np.arange(256) * 2.0**-self.light_ev), 0, 255).astype(np.uint8)
            frame = np.asarray(cv2.LUT(np.ascontiguousarray(frame), levels), np.uint8)
        if self.turn_deg or self.is_mirrored or self.scale != 1:
            width, height = frame.shape[1::-1]
            size = (height, width) if is_tall_for_wide and self.turn_deg in (90, 270) else (width, height)
            frame = np.asarray(
                cv2.warpAffine(
                    np.ascontiguousarray(frame),
                    self._matrix((width, height), size),
                    size,
                    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_REPLICATE,
                ),
                np.uint8,
            )
        return np.ascontiguousarray(frame)

    def _matrix(self, size: tuple[int, int], size_after: tuple[int, int]) -> np.ndarray:
        """Return where a pixel without the differences lies in the frame, (2, 3)."""
        angle = math.radians(self.turn_deg)
        cosine, sine = round(math.cos(angle)), round(math.sin(angle))
        side = -1 if self.is_mirrored else 1
        linear = self.scale * np.array([[cosine * side, -sine], [sine * side, cosine]], np.float64)
        centre, centre_after = ((np.array(sides, np.float64) - 1) / 2 for sides in (size, size_after))
        return np.column_stack([linear, centre - linear @ centre_after])

    def describe(self) -> str:
        """Return the differences, their causes and what to do, for a sentence that begins with "frames fit"."""
        found = [*self._colour(), *self._mirror(), *self._turn(), *self._size(), *self._light()]
        return f"{' and '.join(difference for difference, _ in found)}: {'; '.join(cause for _, cause in found)}"

    def _colour(self) -> list[tuple[str, str]]:
        cause = (
            "the frames are RGB and the golden images BGR, so set the camera's pixel format to BGR8, or swap the "
            "channels with cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)"
        )
        return [("with red and blue swapped", cause)] if self.is_rgb else []

    def _mirror(self) -> list[tuple[str, str]]:
        if not self.is_mirrored:
            return []
        if self.turn_deg == 180:  # the two together
            return [("mirrored top to bottom", "switch off the camera's vertical flip (ReverseY)")]
        return [("mirrored left to right", "switch off the camera's mirror image (ReverseX)")]

    def _turn(self) -> list[tuple[str, str]]:
        if self.turn_deg == 180:
            return [] if self.is_mirrored else [("upside down", "turn the camera or the parts by 180°")]
        if not self.turn_deg:
            return []
        side, other = ("clockwise", "counter-clockwise") if self.turn_deg == 90 else ("counter-clockwise", "clockwise")
        cause = f"turn the camera by 90° {side}, or the parts {other} as the camera sees them"
        return [(f"turned by 90° {side}", cause)]

    def _size(self) -> list[tuple[str, str]]:
        if self.scale == 1:
            return []
        where, remedy = ("nearer", "back") if self.scale > 1 else ("farther away", "closer")
        cause = f"the camera is {where} than for the golden images, so move it {remedy} or set its lens"
        return [(f"at scale {self.scale:.2f}", cause)]

    def _light(self) -> list[tuple[str, str]]:
        if not self.light_ev:
            return []
        if self.light_ev < 0:
            cause = "the frames are darker than the golden images, so look at the lamp or lengthen the exposure"
        else:
            cause = "the frames are brighter than the golden images, so shorten the exposure or look at the light"
        return [(f"at {self.light_ev:+.1f} EV", cause)]
