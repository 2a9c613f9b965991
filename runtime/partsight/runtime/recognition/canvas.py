"""A canvas for pictures that explain: text in any script that OpenCV's fonts draw, and images with a ring.

OpenCV 5 brings its fonts along: Latin, Greek, Cyrillic, Arabic, Chinese, Japanese and Korean. A character that they
lack is written as its escape, such as `\\u0e44`, so that no two labels look alike.
"""

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from partsight.runtime.core import FloatArray, Pixels

Colour = tuple[int, int, int]
"""Blue, green and red, 0 to 255."""

BLACK, GREY, WHITE = (33, 33, 33), (97, 97, 97), (255, 255, 255)
RING = (200, 0, 200)

_FONT = "sans"
_LINE = 1.35  # height of a line, of the height of its text
_HEAT = (
    (1.0, (120, 235, 255)),
    (2.0, (0, 160, 255)),
    (4.0, (0, 30, 230)),
    (8.0, (0, 0, 110)),
)  # multiples of the tolerance
_MIN_RING_PX = 18.0


@dataclass(frozen=True)
class Style:
    """Height of text in pixels, its weight (400 regular, 700 bold) and its colour."""

    size_px: int
    weight: int = 400
    colour: Colour = BLACK

    @property
    def line_px(self) -> int:
        """Height of a line in pixels."""
        return round(self.size_px * _LINE)


_NUMBER = Style(20, 700, RING)  # next to a ring


class Canvas:
    """A white picture of fixed width that grows downwards.

    Attributes:
        width: Width in pixels.
    """

    def __init__(self, width: int) -> None:
        """Start with no height."""
        self.width = width
        self._bands: list[Pixels] = []

    def add(self, *bands: Pixels) -> None:
        """Add bands, each (height, width, 3) uint8 BGR, one below the other."""
        self._bands += bands

    def space(self, height: int, colour: Colour = WHITE) -> Pixels:
        """Return a band of one colour."""
        return np.full((height, self.width, 3), colour, np.uint8)

    def text(self, text: str, style: Style, margin: int, back: Colour = WHITE) -> Pixels:
        """Return a band with a text in lines that fit between the margins, in pixels."""
        lines = wrapped(text, style, self.width - 2 * margin)
        band = self.space(style.line_px * len(lines), back)
        for number, line in enumerate(lines):
            write(band, line, (margin, style.line_px * number + style.size_px), style)
        return band

    def picture(self) -> Pixels:
        """Return all bands as one picture, (height, width, 3) uint8 BGR."""
        return np.concatenate(self._bands)


def write(image: Pixels, text: str, at: tuple[int, int], style: Style) -> None:
    """Write one line into an image; `at` is the left end of its baseline, (x, y) in pixels."""
    cv2.putText(image, drawable(text), at, style.colour, cv2.FontFace(_FONT), style.size_px, style.weight)


def width_of(text: str, style: Style) -> int:
    """Return the width of one drawable line in pixels."""
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace(_FONT), style.size_px, style.weight)
    return int(width)


def wrapped(text: str, style: Style, width: int) -> list[str]:
    """Return a text as lines that are at most `width` pixels wide; a longer word is broken."""
    lines = [""]
    for word in drawable(text).split(" "):
        joined = f"{lines[-1]} {word}".lstrip()
        if width_of(joined, style) <= width:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for character in word:
            if lines[-1] and width_of(lines[-1] + character, style) > width:
                lines.append("")
            lines[-1] += character
    return lines


def drawable(text: str) -> str:
    """Return a text in which escapes replace the characters that the font lacks."""
    return "".join(
        character if (character.isascii() and character.isprintable()) or _is_in_font(character) else _escape(character)
        for character in text
    )


def fitted(image: Pixels, scale: float) -> Pixels:
    """Return an image in another size, smooth."""
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)


def heat(difference: FloatArray, below: Pixels, scale: float) -> Pixels:
    """Return differences as colours on a pale grey image, from yellow at the tolerance to dark red at 8 times.

    Args:
        difference: Differences in multiples of the tolerance, (height, width) float32.
        below: Image, (height, width, 3) uint8 BGR.
        scale: Size of the result, in sizes of the image.
    """
    places, colours = [place for place, _ in _HEAT], np.array([colour for _, colour in _HEAT])
    hot = np.stack([np.interp(difference, places, colours[:, channel]) for channel in range(3)], axis=-1)
    share = np.clip((difference - 0.6) / 0.6, 0, 1)[..., None]  # nothing to see below the tolerance
    pale = 150 + 0.4 * cv2.cvtColor(below, cv2.COLOR_BGR2GRAY)[..., None]
    return fitted(np.rint(share * hot + (1 - share) * pale).astype(np.uint8), scale)


def legend(size_px: int) -> Pixels:
    """Return the colours of `heat` with their multiples, (height, width, 3) uint8 BGR."""
    style, step = Style(size_px - 2, 400, GREY), 3 * size_px
    band = np.full((style.line_px, step * len(_HEAT), 3), WHITE, np.uint8)
    for number, (multiple, colour) in enumerate(_HEAT):
        left = step * number
        band[2:-4, left : left + size_px] = colour
        write(band, f"{multiple:g}×", (left + size_px + 4, size_px), style)
    return band


def zoomed(image: Pixels, centre: tuple[float, float], width: float, side_px: int) -> Pixels:
    """Return the square around a place, enlarged, in a frame of the ring's colour; at the border it stays inside.

    Args:
        image: Image, (height, width, 3) uint8 BGR.
        centre: Place (x, y) in pixels of the image.
        width: Side of the square, in pixels of the image.
        side_px: Side of the result, in pixels.
    """
    width = min(width, *image.shape[:2])
    x, y = (
        min(max(place + 0.5, width / 2), size - width / 2)
        for place, size in zip(centre, image.shape[1::-1], strict=True)
    )
    scale = side_px / width
    # A pixel's centre lies half a pixel from its edge, in both pictures.
    right, down = ((width / 2 + 0.5 - place) * scale - 0.5 for place in (x, y))
    matrix = np.array([[scale, 0, right], [0, scale, down]])
    square = cv2.warpAffine(image, matrix, (side_px, side_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    cv2.rectangle(square, (0, 0), (side_px - 1, side_px - 1), RING, 3)
    return np.asarray(square, np.uint8)


@dataclass(frozen=True)
class _Box:
    """A rectangle in an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def inside(self, image: Pixels) -> "_Box":
        """Return the box moved into an image."""
        left, top = min(self.left, image.shape[1] - self.width), min(self.top, image.shape[0] - self.height)
        return replace(self, left=max(left, 0), top=max(top, 0))

    def colour(self, image: Pixels) -> float:
        """Return how much colour of an image it covers."""
        covered = image[self.top : self.top + self.height, self.left : self.left + self.width]
        return float(np.ptp(covered, axis=2).sum())


def ring(image: Pixels, centre: tuple[float, float], radius: float, text: str = "") -> None:
    """Draw a ring, and a text next to it, into an image; centre (x, y) and radius in pixels.

    The text stands on the side where it covers the least colour: the differences next to the ring stay visible.
    """
    x, y, radius = *(round(place) for place in centre), round(max(radius, _MIN_RING_PX))
    box = _box_next_to(image, (x, y), radius + 4, text)
    for colour, thickness in ((WHITE, 6), (RING, 3)):
        cv2.circle(image, (x, y), radius, colour, thickness, cv2.LINE_AA)
    if text:
        cv2.rectangle(image, (box.left, box.top), (box.left + box.width, box.top + box.height), WHITE, -1)
        write(image, text, (box.left + 4, box.top + _NUMBER.size_px), _NUMBER)


def _box_next_to(image: Pixels, centre: tuple[int, int], distance: int, text: str) -> _Box:
    """Return the best of the boxes for a text left, right, above and below a place."""
    (x, y), width, height = centre, width_of(text, _NUMBER) + 8, _NUMBER.line_px
    sides = [(x + side, y - height // 2) for side in (-distance - width, distance)]
    sides += [(x - width // 2, y + side) for side in (-distance - height, distance)]
    boxes = [_Box(left, top, width, height) for left, top in sides]
    # One that the image's border moves over the ring is the last choice.
    moved = [abs(box.inside(image).left - box.left) + abs(box.inside(image).top - box.top) for box in boxes]
    order = sorted(range(len(boxes)), key=lambda side: (moved[side] > height, boxes[side].inside(image).colour(image)))
    return boxes[order[0]].inside(image)


@functools.lru_cache(4096)
def _is_in_font(character: str) -> bool:
    """Whether the font draws a character; OpenCV draws a question mark for one that it lacks."""
    return character.isprintable() and not np.array_equal(_drawn(character), _drawn("?"))


def _drawn(character: str) -> Pixels:
    image = np.zeros((32, 48), np.uint8)
    cv2.putText(image, character, (4, 24), (255,), cv2.FontFace(_FONT), 20, 400)
    return image


def _escape(character: str) -> str:
    return (
        character.encode("ascii", "backslashreplace").decode()
        if not character.isascii()
        else f"\\x{ord(character):02x}"
    )
