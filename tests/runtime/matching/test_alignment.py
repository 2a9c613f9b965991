"""Golden images laid elsewhere by matrices of the tests' own (see `tests.laid`), and found again."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.matching import Bank, Matcher, MatchingSpec, prepare_all
from partsight.runtime.matching.alignment import NEVER, align_fine, align_middle, choose, gain_of
from partsight.runtime.matching.layout import Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.screening import screen
from tests.laid import as_compared, farthest_px, golden, laid, matrix_at, matrix_of

OPS = ArrayOperations()
SOLID = [
    "7SEGMENT-LED__HDSM531_HDSM533_SMD",
    "Crystal_HC52-6mm_Horizontal_1EP_style1",
    "DSUB-37_Female_Horizontal_P2.77x2.84mm_EdgePinOffset4.94mm_Housed_MountingHolesOffset7.48mm",
    "LED_Rectangular_W7.62mm_H4.55mm_P5.08mm_R3",
    "RV_Disc_D15.5mm_W4.3mm_P7.5mm",
    "ST_SDIP-25L",
    "TO-8-2",
]
"""Parts with edges all over the picture."""
THIN = ["PinHeader_1x12_P2.00mm_Horizontal", "PinHeader_1x31_P1.27mm_Vertical", "PinSocket_2x25_P1.27mm_Horizontal"]
"""Parts that fill a narrow band of it, with a pattern finer than the pixels of the finest level."""


def matcher_with(image: Pixels) -> Matcher:
    """Return a matcher that knows one golden image, as it is compared."""
    height, width = image.shape[:2]
    return Matcher(Bank.of(prepare_all([image], [0])), MatchingSpec(height=height, width=width))


def find(frame: Pixels, image: Pixels) -> Poses:
    return matcher_with(image).match(frame[None], np.zeros((1, 1), np.float32)).poses


def missed_px(image: Pixels, **pose: float) -> float:
    """By how many pixels of a reference the pose of a laid image is missed."""
    reference, frame = as_compared(image), as_compared(laid(image, **pose))
    shape = reference.shape
    return farthest_px(shape, matrix_at(shape, find(frame, reference)), matrix_of(shape, **pose))


def after_the_middle(frame: Pixels, image: Pixels) -> tuple[Poses, float]:
    """Return the pose before full size, and the mean square difference there."""
    matcher, levels = matcher_with(image), levels_of(frame[None], OPS)
    score = np.zeros((1, 1), np.float32)
    candidates, poses = screen(levels.coarse, score, matcher.bank, matcher.spec, OPS)
    layout = Layout.of(matcher.spec.size_hw)
    poses, difference = align_middle(levels.middle, candidates, poses, matcher.bank, layout, OPS)
    return poses, float(difference[0, 0])


@pytest.mark.parametrize("turn_deg", [-3, 3])
@pytest.mark.parametrize(("x", "y"), [(0.03, -0.03), (-0.03, 0.03), (0.03, 0.03), (0.0, 0.0)])
def test_turn_and_shift_are_found(example_parts: Path, turn_deg: float, x: float, y: float) -> None:
    missed = {part: missed_px(golden(example_parts, part), turn_deg=turn_deg, x=x, y=y) for part in SOLID}
    assert max(missed.values()) < 0.15, missed


def test_turn_and_shift_of_thin_parts_are_found(example_parts: Path) -> None:
    for part in THIN:
        for turn_deg, x, y in ((3, 0.03, -0.03), (-3, -0.02, 0.03)):
            assert missed_px(golden(example_parts, part), turn_deg=turn_deg, x=x, y=y) < 0.3, part


def test_the_levels_before_the_finest_find_turn_and_shift(example_parts: Path) -> None:
    """Finalists are chosen by what these leave."""
    for part in SOLID + THIN:
        image, pose = golden(example_parts, part), {"turn_deg": 2.5, "x": 0.025, "y": -0.02}
        reference, frame = as_compared(image), as_compared(laid(image, **pose))
        found, difference = after_the_middle(frame, reference)
        np.testing.assert_allclose([found.shear, found.stretch], 0, atol=1e-6)
        true = matrix_of(reference.shape, **pose)
        assert farthest_px(reference.shape, matrix_at(reference.shape, found), true) < 1, part
        assert difference < 20, part


@pytest.mark.parametrize("tilt", [{"shear": 0.015}, {"shear": -0.015}, {"stretch": 0.015}, {"stretch": -0.015}])
def test_shear_and_stretch_are_found(example_parts: Path, tilt: dict[str, float]) -> None:
    missed = {part: missed_px(golden(example_parts, part), **tilt) for part in SOLID}
    assert max(missed.values()) < 0.3, missed
    assert np.median(list(missed.values())) < 0.15, missed


def test_a_turned_shifted_and_tilted_part_is_found(example_parts: Path) -> None:
    pose = {"turn_deg": 2, "x": 0.02, "y": -0.01, "shear": -0.015, "stretch": 0.015}
    missed = {part: missed_px(golden(example_parts, part), **pose) for part in SOLID}
    assert max(missed.values()) < 0.3, missed


def test_a_prior_holds_shear_and_stretch_back(example_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the picture says little of them, so that noise would decide."""
    rng = np.random.default_rng(3)
    pale = as_compared((golden(example_parts, THIN[0]) * 0.05 + 100).astype(np.uint8))
    frames = np.clip(pale + rng.normal(0, 6, (8, *pale.shape)), 0, 255).astype(np.uint8)
    drawn = []
    for stiffness in (180.0, 1e-9):
        monkeypatch.setattr("partsight.runtime.matching.preparation.STIFFNESS", stiffness)
        poses = matcher_with(pale).match(frames, np.zeros((8, 1), np.float32)).poses
        drawn.append(float(np.hypot(poses.shear, poses.stretch).mean()))
    assert drawn[0] < 0.3 * drawn[1]
    assert drawn[0] < 0.005


def test_a_prior_limits_unknowns_that_the_picture_leaves_open() -> None:
    """An even picture, from a shear and a stretch that an earlier step took."""
    matcher = matcher_with(np.full((192, 192, 3), 128, np.uint8))
    levels, nothing = levels_of(np.full((1, 192, 192, 3), 128, np.uint8), OPS), np.zeros((1, 1), np.float32)
    start = Poses(nothing, nothing, nothing, nothing + 0.02, nothing - 0.01)
    found = align_fine(levels.fine, np.array([[0]]), start, matcher.bank, Layout.of((192, 192)), OPS)
    np.testing.assert_allclose(np.array(found.values), 0, atol=1e-3)


def test_a_step_is_as_long_in_any_light(example_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.matching.alignment._MIDDLE_STEPS", 1)
    image = as_compared(golden(example_parts, "RV_Disc_D15.5mm_W4.3mm_P7.5mm"))
    matcher, layout, candidates = matcher_with(image), Layout.of((192, 192)), np.array([[0]])
    nothing = np.zeros((1, 1), np.float32)
    moved = laid(image, x=0.01, y=-0.01, turn_deg=0.5)
    steps = []
    for gain in (1.0, 0.7):
        middle = levels_of((moved * gain).round().astype(np.uint8)[None], OPS).middle
        poses, _ = align_middle(middle, candidates, Poses(*[nothing] * 5), matcher.bank, layout, OPS)
        steps.append(np.array(poses.values)[:3, 0, 0])
    assert np.linalg.norm(steps[0]) > 0.01
    np.testing.assert_allclose(steps[1], steps[0], rtol=0.18)


def test_a_strong_prior_draws_back_to_none(example_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.matching.preparation.STIFFNESS", 1e9)
    image = golden(example_parts, SOLID[2])
    found = find(as_compared(laid(image, stretch=0.015)), as_compared(image))
    assert abs(float(found.stretch[0, 0])) < 1e-3


@pytest.mark.parametrize("size", [1.025, 0.975])
def test_another_size_stays_another_size(example_parts: Path, size: float) -> None:
    """Stretched at most: the picture's horizontal keeps its length, so the part's ends do not meet."""
    for part in SOLID:
        image = golden(example_parts, part)
        reference, frame = as_compared(image), as_compared(laid(image, size=size))
        matrix = matrix_at(reference.shape, find(frame, reference))
        assert np.linalg.norm(matrix[:2, 0]) == pytest.approx(1, abs=1e-5)
        assert farthest_px(reference.shape, matrix, matrix_of(reference.shape, size=size)) > 1.2


def test_the_golden_image_itself_lies_in_the_nominal_pose(example_parts: Path) -> None:
    for part in SOLID + THIN:
        image = as_compared(golden(example_parts, part))
        np.testing.assert_allclose(np.array(find(image, image).values), 0, atol=6e-4)


@pytest.mark.parametrize("gain", [0.75, 1.25])
def test_brightness_does_not_matter(example_parts: Path, gain: float) -> None:
    image = golden(example_parts, "RV_Disc_D15.5mm_W4.3mm_P7.5mm")
    pose = {"turn_deg": 3, "x": 0.03, "y": 0.02}
    frame = np.clip(laid(image, **pose) * gain, 0, 255).astype(np.uint8)
    found = matrix_at((192, 192), find(as_compared(frame), as_compared(image)))
    assert farthest_px((192, 192), found, matrix_of((192, 192), **pose)) < 0.2
    _, difference = after_the_middle(as_compared(frame), as_compared(image))
    assert difference < 20


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_an_even_golden_image_leaves_the_pose_open(example_parts: Path, level: int) -> None:
    """It is not led away by the frame: what moves is what screening takes from the frame alone."""
    even, part = np.full((192, 192, 3), level, np.uint8), as_compared(golden(example_parts, SOLID[0]))
    for frame in (even, part, 255 - part):
        values = np.array(find(frame, even).values)
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 0.2
        assert np.abs(values[3:]).max() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_noise_gives_numbers(example_parts: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    stripes = np.broadcast_to(rng.integers(0, 256, (192, 1, 1), dtype=np.uint8), (192, 192, 3)).copy()
    part = as_compared(golden(example_parts, SOLID[seed]))
    images = [noise, stripes, part, np.zeros_like(part)]
    matcher = Matcher(Bank.of(prepare_all(images, range(4))), MatchingSpec(height=192, width=192))
    found = matcher.match(np.stack(images), np.zeros((4, 4), np.float32))
    assert np.isfinite(np.array(found.poses.values)).all()
    assert np.isfinite(found.agreement).all()
    assert found.classes[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("more", [(0, 60), (0, 128), (60, 0), (128, 0)])
def test_frames_need_not_be_square(example_parts: Path, more: tuple[int, int]) -> None:
    """More of the tray above and below, or left and right."""
    for part in SOLID:
        image = golden(example_parts, part)
        image = cv2.copyMakeBorder(image, more[0], more[0], more[1], more[1], cv2.BORDER_REPLICATE)
        assert missed_px(image, turn_deg=3, x=0.02, y=-0.02) < 0.25, part


def test_a_part_far_away_is_not_followed(example_parts: Path) -> None:
    """No frame of a controlled line lies there."""
    image = golden(example_parts, "RV_Disc_D15.5mm_W4.3mm_P7.5mm")
    for x in (0.2, 0.25, -0.3):
        found = find(as_compared(laid(image, x=x)), as_compared(image))
        assert np.abs(np.array(found.values)[:3]).max() < 0.3


def test_a_gain_is_that_of_least_squares_within_what_light_does() -> None:
    rng = np.random.default_rng(0)
    golden_image = rng.uniform(50, 200, (1, 2, 100)).astype(np.float32)
    for factor, expected in ((1.2, 1.2), (0.8, 0.8), (3.0, 1.4), (0.2, 1 / 1.4), (0.0, 1 / 1.4)):
        gain = gain_of(OPS.dot(golden_image, golden_image * factor), OPS.dot(golden_image, golden_image), OPS)
        np.testing.assert_allclose(gain, expected, rtol=1e-5)
    assert np.isfinite(gain_of(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), OPS)).all()


def chosen(difference: list[float], classes: list[int], count: int) -> tuple[list[int], list[bool]]:
    found = choose(np.array([difference], np.float32), np.array([classes]), count, OPS)
    return found.index[0].tolist(), found.is_valid[0].tolist()


def test_finalists_differ_least() -> None:
    assert chosen([5, 1, 4, 2, 3], [0, 1, 2, 3, 4], 3) == ([1, 3, 4], [True] * 3)
    assert chosen([5, 1, 4], [0, 1, 2], 9) == ([1, 2, 0], [True] * 3)  # no more than there are


def test_of_a_class_only_the_best_is_a_finalist() -> None:
    assert chosen([5, 1, 4, 2, 3], [7, 8, 8, 8, 7], 2) == ([1, 4], [True] * 2)


def test_where_there_are_fewer_classes_the_rest_is_none() -> None:
    index, is_valid = chosen([5, 1, 4, 2, 3], [7, 8, 8, 8, 7], 4)
    assert index[:2] == [1, 4] and is_valid == [True, True, False, False]
    index, is_valid = chosen([NEVER, 1, NEVER], [0, 1, 2], 3)  # as those are that are left out
    assert index[0] == 1 and is_valid == [True, False, False]


def test_the_first_of_equal_ones_is_chosen() -> None:
    assert chosen([1, 1, 1, 1], [3, 3, 2, 1], 2)[0] == [0, 2]
