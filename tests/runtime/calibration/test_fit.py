from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest

from partsight.runtime.calibration.fit import (
    TolerancePoint,
    Tolerances,
    ToleranceSeries,
    amount_text,
    fit_table,
    measure_fit,
)
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.recognition import Answer

SIDE = 96


def golden(index: int, channels: tuple[int, ...] = (3,)) -> Pixels:
    """A dark bar on a bright ground, left of the centre; its blue and its red differ."""
    image = np.full((SIDE, SIDE, *channels), 160, np.uint8)
    cv2.rectangle(image, (20, 30), (40, 60), (40, 80, 120) if channels else (40,), -1)
    image[:4, :4] = 200 + index
    return image


class Judge:
    """Gives the part that `judge` names for a frame, and keeps the frames."""

    def __init__(self, judge: Callable[[Pixels], str | None]) -> None:
        self.judge = judge
        self.frames: list[Pixels] = []

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Answer]:
        self.frames += frames
        labels = [self.judge(frame) for frame in frames]
        return [Answer(label, 1.0, 1.0, label is not None, (), "recognised", 0.5) for label in labels]


def brightness(frame: Pixels) -> float:
    return float(np.median(frame))


def series_of(found: Tolerances, name: str) -> ToleranceSeries:
    return next(series for series in found.series if series.name == name)


def measured(judge: Callable[[Pixels], str | None], parts: int = 1, **options: int) -> Tolerances:
    return measure_fit(Judge(judge), [golden(index) for index in range(parts)], ["bar"] * parts, **options)


def test_light_alone_changes_the_answers_of_a_recogniser_that_looks_at_the_light() -> None:
    found = measured(lambda frame: "bar" if 110 < brightness(frame) < 210 else None)
    assert series_of(found, "light").tolerated == (-0.25, 0.25)
    for name in ("turn", "shift", "scale", "blur", "colour order"):
        series = series_of(found, name)
        assert series.tolerated == (min(p.amount for p in series.points), max(p.amount for p in series.points))


def test_colour_order() -> None:
    found = measured(lambda frame: "bar" if frame[..., 0].min() < frame[..., 2].min() else None)
    assert series_of(found, "colour order").tolerated == (0, 0)
    assert series_of(found, "turn").tolerated == (0, 180)


def moved(frame: Pixels) -> tuple[float, float, float]:
    """Return centre (x, y) and area of the dark pixels."""
    rows, columns = np.nonzero(frame.min(axis=2) < 100)
    return float(columns.mean()), float(rows.mean()), float(len(rows))


@pytest.mark.parametrize(
    ("name", "sees", "limit"),
    [
        ("turn", lambda x, y, _: np.hypot(x - 30, y - 45) < 7, (0, 15)),  # a point 18 px from the centre
        ("shift", lambda x, y, _: np.hypot(x - 30, y - 45) < 7, (0, 4)),
        ("scale", lambda *found: found[2] > 0.92 * 651, (-3, 10)),
    ],
)
def test_geometry(name: str, sees: Callable[..., bool], limit: tuple[float, float]) -> None:
    found = measured(lambda frame: "bar" if sees(*moved(frame)) else None, parts=4)
    assert series_of(found, name).tolerated == limit


def test_shares_of_right_unknown_and_wrong() -> None:
    labels = ["bar", "bar", "bar", "nut"]
    judge = Judge(lambda frame: "bar" if brightness(frame) < 210 else None)
    found = measure_fit(judge, [golden(0)] * 4, labels)
    assert found.parts == 4
    assert found.right_unvaried == 0.75
    light = {p.amount: (p.right, p.unknown, p.wrong, p.kept) for p in series_of(found, "light").points}
    assert light[0] == light[-0.5] == (0.75, 0, 0.25, 1)
    assert light[1] == (0, 1, 0, 0)


def test_where_nothing_is_right_nothing_is_kept() -> None:
    found = measured(lambda _: None)
    assert all(point.kept == 0 for series in found.series for point in series.points)
    assert all(series.tolerated == (0, 0) for series in found.series)


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    frames = []
    for seed in (1, 1, 2):
        judge = Judge(lambda _: "bar")
        found = measure_fit(judge, [golden(index) for index in range(9)], ["bar"] * 9, sample=2, seed=seed)
        assert found.parts == 2
        frames.append(np.stack(judge.frames))
    assert (frames[0] == frames[1]).all()
    assert (frames[0] != frames[2]).any()


def test_grey_images_have_no_colour_order() -> None:
    found = measure_fit(Judge(lambda _: "bar"), [golden(0, ())], ["bar"])
    assert [series.name for series in found.series] == ["turn", "shift", "scale", "light", "blur"]


def test_the_tolerated_range_ends_at_the_first_amount_that_keeps_too_few() -> None:
    points = [(-2, 1.0), (-1, 0.94), (0, 1.0), (1, 0.95), (2, 0.2), (3, 1.0)]
    series = ToleranceSeries("scale", "%", tuple(TolerancePoint(amount, 1, 0, 0, kept) for amount, kept in points))
    assert series.tolerated == (0, 1)
    assert series.describe() == "0 % to 1 %"


def test_table() -> None:
    table = fit_table(measured(lambda _: "bar"))
    assert len(table.splitlines()) == 2 + 6
    assert "| turn | up to 180° | 0°: 100 / 0 / 0, 2°: 100 / 0 / 0" in table


@pytest.mark.parametrize(
    ("amount", "unit", "text"), [(12, "°", "12°"), (-0.5, "EV", "−0.5 EV"), (0.5, "EV", "+0.5 EV"), (0, "%", "0 %")]
)
def test_amounts_have_units(amount: float, unit: str, text: str) -> None:
    assert amount_text(amount, unit) == text
