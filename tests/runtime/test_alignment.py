"""Golden images laid elsewhere by matrices of the tests' own (see `tests.laid`), and found again."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.alignment import (
    LEVELS_PX,
    Pose,
    align_coarse,
    align_fine,
    align_middle,
    level_size,
    pyramid,
    warp,
)
from partsight.runtime.images import Pixels
from tests.laid import as_compared, farthest_px, golden, laid, matrix_of, updates

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


def find(frame: Pixels, image: Pixels) -> Pose:
    levels, (coarse, middle, fine) = pyramid(frame), updates(image)
    return align_fine(levels, fine, align_middle(levels, middle, align_coarse(levels, coarse, middle)))


def missed_px(image: Pixels, **pose: float) -> float:
    """By how many pixels of a reference the pose of a laid image is missed."""
    reference, frame = as_compared(image), as_compared(laid(image, **pose))
    shape = reference.shape
    return farthest_px(shape, find(frame, reference).to_matrix(*shape[:2]), matrix_of(shape, **pose))


def numbers(pose: Pose) -> list[float]:
    return [pose.x, pose.y, pose.angle, pose.shear, pose.stretch]


def random_pose(rng: np.random.Generator, most: float = 0.3) -> Pose:
    return Pose(*map(float, rng.uniform(-most, most, 5)))


def whole(pose: Pose, height: int, width: int) -> np.ndarray:
    return np.vstack([pose.to_matrix(height, width).astype(np.float64), [0, 0, 1]])


@pytest.mark.parametrize("shape", [(192, 192), (120, 192), (64, 33)])
def test_a_pose_is_the_matrix_that_it_says(shape: tuple[int, int]) -> None:
    for seed in range(20):
        pose = random_pose(np.random.default_rng(seed))
        expected = matrix_of(
            shape, x=pose.x, y=pose.y, turn_deg=np.rad2deg(pose.angle), shear=pose.shear, stretch=pose.stretch
        )
        np.testing.assert_allclose(pose.to_matrix(*shape), expected[:2], atol=1e-4)


@pytest.mark.parametrize("shape", [(192, 192), (120, 192)])
def test_after_the_inverse_of_a_step_as_matrices_do_it(shape: tuple[int, int]) -> None:
    """Up to the change of size along the picture's horizontal, which no pose has."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        pose, step = random_pose(rng), random_pose(rng, 0.05)
        expected = whole(pose, *shape) @ np.linalg.inv(whole(step, *shape))
        found = whole(pose.after_inverse_of(step), *shape)
        middle = [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1]
        np.testing.assert_allclose(found @ middle, expected @ middle, atol=1e-3)
        length = np.linalg.norm(expected[:2, 0])
        np.testing.assert_allclose(found[:2, 0], expected[:2, 0] / length, atol=1e-5)
        np.testing.assert_allclose(found[:2, 1], expected[:2, 1], atol=1e-5)


def test_a_step_after_itself_is_the_nominal_pose() -> None:
    for seed in range(20):
        step = random_pose(np.random.default_rng(seed))
        np.testing.assert_allclose(numbers(step.after_inverse_of(step)), 0, atol=1e-6)
        np.testing.assert_allclose(numbers(step.after_inverse_of(Pose())), numbers(step), atol=1e-6)


@pytest.mark.parametrize("turn_deg", [-4, 4])
@pytest.mark.parametrize(("x", "y"), [(0.04, -0.04), (-0.04, 0.04), (0.0, 0.0)])
def test_turn_and_shift_are_found(example_parts: Path, turn_deg: float, x: float, y: float) -> None:
    missed = {part: missed_px(golden(example_parts, part), turn_deg=turn_deg, x=x, y=y) for part in SOLID}
    assert max(missed.values()) < 0.1, missed


def test_turn_and_shift_of_thin_parts_are_found(example_parts: Path) -> None:
    for part in THIN:
        for turn_deg, x, y in ((4, 0.04, -0.04), (-3, -0.02, 0.03)):
            assert missed_px(golden(example_parts, part), turn_deg=turn_deg, x=x, y=y) < 0.3, part


def test_the_levels_before_the_finest_find_turn_and_shift(example_parts: Path) -> None:
    """Finalists are chosen by what these leave."""
    for part in SOLID + THIN:
        image = golden(example_parts, part)
        pose = {"turn_deg": 3.5, "x": 0.035, "y": -0.03}
        reference, levels = as_compared(image), pyramid(as_compared(laid(image, **pose)))
        coarse, middle, _ = updates(reference)
        found = align_middle(levels, middle, align_coarse(levels, coarse, middle))
        assert found.deformation == pytest.approx(0, abs=1e-12)
        true = matrix_of(reference.shape, **pose)
        assert farthest_px(reference.shape, found.to_matrix(*reference.shape[:2]), true) < 0.2, part


@pytest.mark.parametrize("tilt", [{"shear": 0.015}, {"shear": -0.015}, {"stretch": 0.015}, {"stretch": -0.015}])
def test_shear_and_stretch_are_found(example_parts: Path, tilt: dict[str, float]) -> None:
    missed = {part: missed_px(golden(example_parts, part), **tilt) for part in SOLID}
    assert max(missed.values()) < 0.2, missed
    assert np.median(list(missed.values())) < 0.1, missed


def test_a_turned_shifted_and_tilted_part_is_found(example_parts: Path) -> None:
    pose = {"turn_deg": 2, "x": 0.02, "y": -0.01, "shear": -0.015, "stretch": 0.015}
    missed = {part: missed_px(golden(example_parts, part), **pose) for part in SOLID}
    assert max(missed.values()) < 0.25, missed


@pytest.mark.parametrize("size", [1.025, 0.975])
def test_another_size_stays_another_size(example_parts: Path, size: float) -> None:
    """Stretched at most: the picture's horizontal keeps its length, so the part's ends do not meet."""
    for part in SOLID:
        image = golden(example_parts, part)
        reference, frame = as_compared(image), as_compared(laid(image, size=size))
        found = find(frame, reference)
        matrix = found.to_matrix(*reference.shape[:2])
        assert np.linalg.norm(matrix[:, 0]) == pytest.approx(1, abs=1e-5)
        assert farthest_px(reference.shape, matrix, matrix_of(reference.shape, size=size)) > 1.2
        # What is left is many times what an aligned picture leaves.
        same = warp(pyramid(as_compared(laid(image, x=0.01)))[-1], Pose(x=0.01)) - pyramid(reference)[-1]
        other = warp(pyramid(frame)[-1], found) - pyramid(reference)[-1]
        assert np.abs(other[8:-8, 8:-8]).mean() > 3 * np.abs(same[8:-8, 8:-8]).mean(), part


def test_the_golden_image_itself_lies_in_the_nominal_pose(example_parts: Path) -> None:
    for part in SOLID + THIN:
        image = as_compared(golden(example_parts, part))
        assert numbers(find(image, image)) == [0] * 5


@pytest.mark.parametrize("gain", [0.75, 1.25])
def test_brightness_does_not_matter(example_parts: Path, gain: float) -> None:
    image = golden(example_parts, "RV_Disc_D15.5mm_W4.3mm_P7.5mm")
    pose = {"turn_deg": 3, "x": 0.03, "y": 0.02}
    frame = np.clip(laid(image, **pose) * gain, 0, 255).astype(np.uint8)
    found = find(as_compared(frame), as_compared(image))
    assert farthest_px((192, 192), found.to_matrix(192, 192), matrix_of((192, 192), **pose)) < 0.2


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_an_even_golden_image_says_nothing_of_the_pose(example_parts: Path, level: int) -> None:
    even, part = np.full((192, 192, 3), level, np.uint8), as_compared(golden(example_parts, SOLID[0]))
    for frame in (even, part, 255 - part):
        assert numbers(find(frame, even)) == [0] * 5


@pytest.mark.parametrize("seed", range(5))
def test_noise_gives_numbers(example_parts: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    stripes = np.broadcast_to(rng.integers(0, 256, (192, 1, 1), dtype=np.uint8), (192, 192, 3)).copy()
    part = as_compared(golden(example_parts, SOLID[seed]))
    images = (noise, stripes, part, np.zeros_like(part))
    for frame in images:
        for image in images:
            assert np.isfinite(numbers(find(frame, image))).all()


@pytest.mark.parametrize("more", [(0, 60), (0, 128), (60, 0), (128, 0)])
def test_frames_need_not_be_square(example_parts: Path, more: tuple[int, int]) -> None:
    """More of the tray above and below, or left and right."""
    for part in SOLID:
        image = golden(example_parts, part)
        image = cv2.copyMakeBorder(image, more[0], more[0], more[1], more[1], cv2.BORDER_REPLICATE)
        assert missed_px(image, turn_deg=3, x=0.02, y=-0.02) < 0.2, part


def test_levels_keep_the_shape() -> None:
    for shape in ((192, 192, 3), (96, 192, 3), (192, 70, 3)):
        image = np.full(shape, 50, np.uint8)
        levels = pyramid(image)
        assert [max(level.shape) for level in levels] == list(LEVELS_PX)
        for level, longest in zip(levels, LEVELS_PX, strict=True):
            assert level.shape == level_size(shape, longest)[::-1]
            assert level.shape[0] / level.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.05)
            np.testing.assert_allclose(level, 50, atol=1e-3)


def test_a_start_that_leads_nowhere_falls_back_to_the_nominal_pose(example_parts: Path) -> None:
    """On a ramp of grey the frame could lie anywhere along it."""
    ramp = np.empty((192, 192, 3), np.uint8)
    ramp[:] = np.linspace(0, 255, 192)[None, :, None]
    part = as_compared(golden(example_parts, SOLID[0]))
    assert align_coarse(pyramid(part), *updates(ramp)[:2]) == Pose()


def test_a_part_far_away_is_not_followed(example_parts: Path) -> None:
    """Beyond 15 % no frame of a controlled line lies: what is found is within, or nominal."""
    image = golden(example_parts, "RV_Disc_D15.5mm_W4.3mm_P7.5mm")
    for x in (0.2, 0.25, -0.3):
        frame = as_compared(laid(image, x=x))
        found = align_coarse(pyramid(frame), *updates(as_compared(image))[:2])
        assert max(abs(found.x), abs(found.y), abs(found.angle)) < 0.15


def test_warp_undoes_the_pose(example_parts: Path) -> None:
    image = as_compared(golden(example_parts, SOLID[0])).astype(np.float32)
    pose = Pose(0.03, -0.02, 0.05, 0.01, -0.01)
    frame = cv2.warpAffine(image, pose.to_matrix(192, 192), (192, 192), flags=cv2.INTER_CUBIC)
    np.testing.assert_allclose(warp(frame, pose)[30:-30, 30:-30].mean(), image[30:-30, 30:-30].mean(), rtol=0.01)
    assert np.abs(warp(frame, pose) - image)[30:-30, 30:-30].mean() < 0.2 * np.abs(frame - image)[30:-30, 30:-30].mean()


def test_what_is_out_of_view_repeats_the_border() -> None:
    moved = warp(np.full((40, 60), 200, np.float32), Pose(x=0.5, y=-0.3, angle=0.4))
    np.testing.assert_array_equal(moved, 200)
