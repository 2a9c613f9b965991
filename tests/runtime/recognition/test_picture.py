"""The picture of an explanation: its contents and their places."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.recognition import Explanation, draw_explanation, draw_overlay
from partsight.runtime.recognition.canvas import RING, Style, drawable, heat, ring, width_of, wrapped, zoomed
from tests.runtime.recognition.samples import ORANGE
from tests.tiny import solid

TEXT = Style(16)


@pytest.fixture(scope="module")
def refused(matching_package: Path) -> Explanation:
    with Recognizer(matching_package) as recognizer:
        return recognizer.explain(solid(ORANGE))


def colours_of(picture: Pixels) -> set[tuple[int, ...]]:
    packed = np.unique(picture.astype(int) @ [2**16, 2**8, 1])
    return {(value >> 16, value >> 8 & 255, value & 255) for value in packed.tolist()}


def test_the_verdict_has_a_colour(matching_package: Path, refused: Explanation) -> None:
    with Recognizer(matching_package) as recognizer:
        known = recognizer.explain(solid("red"))
    corners = [tuple(draw_explanation(why)[2, 2].tolist()) for why in (refused, known)]
    assert corners[0] != corners[1]
    two = replace(refused, answer=replace(refused.answer, reason="two_parts_fit"))
    assert tuple(draw_explanation(two)[2, 2].tolist()) not in corners


def test_rows_for_the_best_and_the_next(refused: Explanation) -> None:
    whole = draw_explanation(refused)
    alone = draw_explanation(replace(refused, runner_up=None, runner_up_label=None))
    assert whole.dtype == np.uint8 and whole.shape[1:] == alone.shape[1:]
    assert whole.shape[0] > 1.5 * alone.shape[0]
    assert RING in colours_of(whole)
    assert refused.best is not None
    assert {tuple(image[18, 18].tolist()) for image in (refused.best.golden, refused.best.laid)} <= colours_of(whole)


def test_a_package_without_golden_images_shows_the_frame(tiny_package: Path) -> None:
    with Recognizer(tiny_package) as recognizer:
        picture = draw_explanation(recognizer.explain(solid(ORANGE)))
    assert ORANGE in colours_of(picture)
    assert RING not in colours_of(picture)


def test_a_pair_of_golden_images(refused: Explanation) -> None:
    assert refused.best is not None
    picture = draw_overlay(refused.best, "M8x40", "M8x45")
    assert RING in colours_of(picture)


@pytest.mark.parametrize("label", ["x" * 300, "Gehäuse Größe 4×10", "螺栓 M8", "\n\x00", "🔩", ""])
def test_any_label_is_drawn(refused: Explanation, label: str) -> None:
    plain = draw_explanation(refused)
    named = draw_explanation(replace(refused, best_label=label))
    assert named.shape[1] == plain.shape[1]


def test_what_the_font_lacks_is_written_as_an_escape() -> None:
    assert drawable("M8x40 Größe 螺栓?") == "M8x40 Größe 螺栓?"
    assert drawable("bolt 🔩") == "bolt \\U0001f529"
    assert drawable("a\nb") == "a\\x0ab"


def test_lines_fit() -> None:
    text = "a sentence of several words and a_very_long_label_without_any_space_in_it_that_does_not_fit"
    lines = wrapped(text, TEXT, 200)
    assert max(width_of(line, TEXT) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrapped("short", TEXT, 200) == ["short"]


def test_heat_is_grey_below_the_tolerance_and_red_above() -> None:
    difference = np.repeat(np.array([[0, 0.5, 4, 30]], np.float32), 4, 0)
    cold, cool, hot, hottest = heat(difference, np.full((4, 4, 3), 120, np.uint8), 1.0)[0].astype(int)
    assert np.ptp(cold) == np.ptp(cool) == 0
    assert hot[2] - hot[0] > 150
    assert hottest[2] < hot[2] and hottest[2] > hottest[0]


@pytest.mark.parametrize("centre", [(50, 50), (0, 0), (99, 99), (0, 99)])
def test_ring_and_number_stay_inside(centre: tuple[int, int]) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    ring(image, centre, 5, "12.3×")
    assert (image == RING).all(axis=2).any()
    assert (image == 255).all(axis=2).sum() > 100  # the number's ground


def test_the_zoom_shows_the_place() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[20:24, 70:74] = 200
    shown = zoomed(image, (71.5, 21.5), 16, 96)
    assert shown.shape == (96, 96, 3)
    rows, columns = np.nonzero((shown[4:-4, 4:-4] > 100).all(axis=2))
    assert rows.mean() + 4 == pytest.approx(47.5, abs=2) and columns.mean() + 4 == pytest.approx(47.5, abs=2)
    assert np.ptp(rows) == pytest.approx(24, abs=4)
    at_corner = zoomed(image, (89, 0), 16, 96)
    assert not at_corner[4:-4, 4:-4].any()
