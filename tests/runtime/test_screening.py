"""Golden images laid elsewhere by matrices of the tests' own (see `tests.laid`), and what of them is not explained."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.alignment import Update, align_coarse, align_middle, pyramid, warp
from partsight.runtime.images import Pixels
from partsight.runtime.screening import span, unexplained
from partsight.runtime.session import FloatArray
from tests.laid import as_compared, golden, laid, updates


def middle(image: Pixels) -> FloatArray:
    return pyramid(as_compared(image))[1]


@pytest.fixture(scope="module")
def catalog(example_parts: Path) -> list[Pixels]:
    names = sorted(path.name for path in (example_parts / "golden").iterdir())[:60]
    return [golden(example_parts, name) for name in names]


def test_nothing_is_left_of_the_part_itself(catalog: list[Pixels]) -> None:
    goldens = np.stack([middle(image) for image in catalog])
    for place in (0, 7, len(catalog) - 1):
        left = unexplained(goldens[place], goldens)
        assert left.shape == (len(catalog),)
        assert left[place] == pytest.approx(0, abs=0.05)
        assert left.argmin() == place


@pytest.mark.parametrize(
    "pose", [{"x": 0.01}, {"y": -0.01}, {"turn_deg": 1.0}, {"x": -0.006, "y": 0.008, "turn_deg": -0.7}]
)
def test_a_small_move_is_explained(catalog: list[Pixels], pose: dict[str, float]) -> None:
    """By far the most of the difference that the move makes; a difference of content is not."""
    image = catalog[3]
    level, itself = middle(laid(image, **pose)), middle(image)
    moved = float(np.square(level - itself)[2:-2, 2:-2].mean())
    left = unexplained(level, np.stack([itself, middle(catalog[20])]))
    assert left[0] < 0.25 * moved
    assert left[1] > 4 * left[0]


def test_a_gain_is_explained_and_an_offset_is_not(catalog: list[Pixels]) -> None:
    level = middle(catalog[3])
    assert unexplained(1.2 * level, level[None])[0] == pytest.approx(0, abs=0.05)
    assert unexplained(level + 20, level[None])[0] > 1


def test_moved_to_where_the_part_lies(catalog: list[Pixels]) -> None:
    """What is too far for one linear step is explained once the frame was moved there."""
    image = catalog[3]
    frame, (coarse, middle, _) = (
        pyramid(as_compared(laid(image, x=0.04, y=-0.03, turn_deg=2))),
        updates(as_compared(image)),
    )
    there = unexplained(warp(frame[1], align_coarse(frame, coarse, middle)), middle.golden[None])[0]
    assert there < 0.2 * unexplained(frame[1], middle.golden[None])[0]


def test_the_order_is_nearly_that_of_aligning_each(catalog: list[Pixels]) -> None:
    """What it is for: the candidate that would differ least when each is aligned is among the first."""
    goldens = np.stack([middle(image) for image in catalog])
    ranks = []
    for place in range(0, len(catalog), 3):
        frame = pyramid(as_compared(laid(catalog[place], x=0.02, y=-0.01, turn_deg=1.5)))
        start = align_coarse(frame, *updates(as_compared(catalog[place]))[:2])
        left = unexplained(warp(frame[1], start), goldens)
        differences = []
        for level in goldens:
            pose = align_middle(frame, Update.of(level, with_tilt=False), start)
            rest = (warp(frame[1], pose) - level)[2:-2, 2:-2]
            differences.append(float(np.vdot(rest, rest)))
        ranks.append(int((left < left[int(np.argmin(differences))]).sum()))
    assert max(ranks) < 5
    assert np.mean(np.array(ranks) == 0) > 0.8


def test_a_span_is_orthonormal(catalog: list[Pixels]) -> None:
    for level in (middle(catalog[3]), np.full((64, 64), 128, np.float32), np.zeros((24, 64), np.float32)):
        basis = span(level)
        height, width = level.shape
        assert basis.shape == ((height - 4) * (width - 4), 4)
        np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-5)  # where there is no structure, too


def test_wide_and_high_pictures() -> None:
    rng = np.random.default_rng(2)
    for shape in ((24, 64), (64, 24), (5, 32), (32, 5)):
        goldens = np.stack(
            [cv2.GaussianBlur(rng.uniform(0, 255, shape).astype(np.float32), (0, 0), 1) for _ in range(5)]
        )
        assert unexplained(goldens[2], goldens).argmin() == 2
