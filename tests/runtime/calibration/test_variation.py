import cv2
import numpy as np
import pytest

from partsight.runtime.calibration.variation import Variation, vary
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.image_file import read_image

NOTHING = {
    "rotation_deg": 0.0,
    "shift_percent": 0.0,
    "scale_percent": 0.0,
    "tilt_deg": 0.0,
    "parallax_percent": 0.0,
    "key_light_percent": 0.0,
    "exposure_percent": 0.0,
    "white_balance_percent": 0.0,
    "blur_px": 0.0,
    "noise_levels": 0.0,
    "jpeg_quality": 100,
}
SIDE = 200


def only(**limits: float) -> Variation:
    """Return a variation with these limits alone."""
    return Variation(**{**NOTHING, **limits})  # type: ignore[arg-type]


def varied(image: Pixels, variation: Variation, times: int = 60) -> list[Pixels]:
    rng = np.random.default_rng(8)
    return [vary(image, variation, rng) for _ in range(times)]


def dots() -> Pixels:
    """Two soft dots on black, left and right of the middle."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    for x in (50, 150):
        cv2.circle(image, (x, 100), 8, 255, -1)
    return cv2.GaussianBlur(image, (0, 0), 2).astype(np.uint8)


def places(image: Pixels) -> np.ndarray:
    """Where the two dots are: x and y of the left one, then of the right one."""
    weights = np.where(image > 30, image, 0).astype(np.float64)
    found = []
    for start in (0, SIDE // 2):
        half = weights[:, start : start + SIDE // 2]
        ys, xs = np.mgrid[: half.shape[0], : half.shape[1]]
        found.append([(half * xs).sum() / half.sum() + start, (half * ys).sum() / half.sum()])
    return np.array(found)


def used(values: list[float], limit: float, tolerance: float) -> None:
    """The limit holds on both sides, and most of the range is drawn from."""
    assert max(np.abs(values)) <= limit + tolerance
    assert max(values) > 0.7 * limit
    assert min(values) < -0.7 * limit


@pytest.mark.parametrize("shape", [(70, 90, 3), (70, 90), (33, 32, 3)])
def test_shape_and_kind_stay(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    found = vary(image, Variation(), np.random.default_rng(2))
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(image, before)
    assert (found != image).any()


def test_the_same_state_gives_the_same_picture(example_parts) -> None:
    image = read_image(min((example_parts / "golden").glob("*/golden.jpg")))
    first, again = (vary(image, Variation(), np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng(4)
    vary(image, Variation(), rng)
    assert (vary(image, Variation(), rng) != first).any()


def test_a_real_part_stays_itself(example_parts) -> None:
    image = read_image(min((example_parts / "golden").glob("*/golden.jpg")))
    for found in varied(image, Variation(), 10):
        difference = np.abs(found.astype(int) - image).mean()
        assert 0.3 < difference < 30


@pytest.mark.parametrize("channels", [(), (3,)])
def test_nothing_varied_is_the_image(channels: tuple[int, ...]) -> None:
    image = np.full((70, 90, *channels), 120, np.uint8)
    cv2.circle(image, (40, 30), 20, (200,) * 3, -1)
    for found in varied(image, only(), 5):
        assert np.abs(found.astype(int) - image).max() <= 3  # of JPEG at its best


def test_rotation() -> None:
    angles = []
    for found in varied(dots(), only(rotation_deg=9)):
        (left_x, left_y), (right_x, right_y) = places(found)
        angles.append(float(np.rad2deg(np.arctan2(right_y - left_y, right_x - left_x))))
        assert np.hypot(right_x - left_x, right_y - left_y) == pytest.approx(100, abs=0.5)
        np.testing.assert_allclose(places(found).mean(axis=0), [100, 100], atol=0.7)  # about the middle
    used(angles, 9, 0.3)


@pytest.mark.parametrize("axis", [0, 1])
def test_shift(axis: int) -> None:
    moved = [places(found) - places(dots()) for found in varied(dots(), only(shift_percent=10))]
    used([float(shift[0, axis]) for shift in moved], 0.10 * SIDE, 0.3)
    for shift in moved:
        np.testing.assert_allclose(shift[0], shift[1], atol=0.3)


def test_shift_is_of_the_width_and_of_the_height() -> None:
    wide = np.repeat(dots(), 2, axis=1)
    shifts = []
    for found in varied(wide, only(shift_percent=10), 40):
        weights = np.where(found > 30, found, 0).astype(np.float64)
        ys, xs = np.mgrid[: found.shape[0], : found.shape[1]]
        shifts.append([(weights * xs).sum() / weights.sum() - 200.5, (weights * ys).sum() / weights.sum() - 100])
    largest = np.abs(shifts).max(axis=0)
    assert 28 < largest[0] <= 41
    assert 14 < largest[1] <= 21


def test_scale() -> None:
    lengths = [float(np.diff(places(found), axis=0)[0, 0]) for found in varied(dots(), only(scale_percent=20))]
    used([length - 100 for length in lengths], 20, 0.5)


def corners() -> Pixels:
    """Two soft dots on black, above and below the middle."""
    return np.ascontiguousarray(dots().T)


def test_tilt_stretches_and_shears_what_is_seen_at_an_angle() -> None:
    found = [places(np.ascontiguousarray(image.T)) for image in varied(corners(), only(tilt_deg=3, view_deg=45))]
    used([float(np.diff(place, axis=0)[0, 0]) - 100 for place in found], 100 * np.tan(np.deg2rad(3)), 0.5)
    used([float(np.diff(place, axis=0)[0, 1]) for place in found], 100 * np.tan(np.deg2rad(3)), 0.5)
    across = [places(image) for image in varied(dots(), only(tilt_deg=3, view_deg=45))]
    assert max(abs(float(np.diff(place, axis=0)[0, 0]) - 100) for place in across) < 0.5


def test_tilt_hardly_shows_from_straight_above() -> None:
    found = [places(image) for image in varied(dots(), only(tilt_deg=3, view_deg=0))]
    assert max(np.abs(place - [[50, 100], [150, 100]]).max() for place in found) < 0.5


def grid(height: int = 160, width: int = 240) -> Pixels:
    """Soft dots on black, 40 px apart."""
    image = np.zeros((height, width), np.uint8)
    for x in range(20, width, 40):
        for y in range(20, height, 40):
            cv2.circle(image, (x, y), 5, 255, -1)
    return cv2.GaussianBlur(image, (0, 0), 1.5).astype(np.uint8)


def shifts(image: Pixels) -> np.ndarray:
    """By how much each dot of the grid was moved, (rows, columns, 2): right, then down."""
    rows, columns = image.shape[0] // 40, image.shape[1] // 40
    ys, xs = np.mgrid[:40, :40]
    found = np.empty((rows, columns, 2))
    for row, column in np.ndindex(rows, columns):
        cell = np.where(image > 30, image, 0)[40 * row : 40 * row + 40, 40 * column : 40 * column + 40].astype(
            np.float64
        )
        found[row, column] = (cell * xs).sum() / cell.sum() - 20, (cell * ys).sum() / cell.sum() - 20
    return found


def test_parallax_moves_places_differently_within_its_reach() -> None:
    moved = np.array([shifts(found) for found in varied(grid(), only(parallax_percent=3.0))])
    reach = 0.03 * 240  # of the longest side
    # Between the heights that are drawn, the smooth field overshoots a little.
    assert np.abs(moved).max() < 1.35 * reach
    assert np.abs(moved).max() > 0.5 * reach
    within = moved.max(axis=(1, 2)) - moved.min(axis=(1, 2))  # of one picture: a shift of all would be 0
    assert np.median(within) > 0.2 * reach
    assert np.abs(moved.mean(axis=0)).max() < 0.25 * reach  # to either side


def test_parallax_is_smooth() -> None:
    """Neighbouring dots move alike, or straight edges would break."""
    moved = np.array([shifts(found) for found in varied(grid(320, 320), only(parallax_percent=3.0), 20)])
    reach = 0.03 * 320
    for axis in (1, 2):
        assert np.abs(np.diff(moved, axis=axis)).max() < 1.2 * reach
        assert np.abs(np.diff(moved, axis=axis)).mean() < 0.3 * reach


def test_parallax_across_and_along_are_drawn_apart() -> None:
    moved = np.array([shifts(found) for found in varied(grid(), only(parallax_percent=3.0))])
    correlation = np.corrcoef(moved[..., 0].ravel(), moved[..., 1].ravel())[0, 1]
    assert abs(correlation) < 0.5


def test_parallax_differs_from_picture_to_picture() -> None:
    amounts = [float(np.abs(shifts(found)).max()) for found in varied(grid(), only(parallax_percent=3.0))]
    assert max(amounts) > 3 * min(amounts)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_parallax_leaves_an_even_picture(channels: tuple[int, ...]) -> None:
    image = np.full((33, 70, *channels), 120, np.uint8)
    for found in varied(image, only(parallax_percent=5.0), 5):
        assert np.abs(found.astype(int) - 120).max() <= 1


def test_key_light_changes_what_is_dark_and_leaves_the_tray() -> None:
    image = np.full((SIDE, SIDE, 3), 200, np.uint8)
    image[80:120, 80:120] = 50
    found = varied(image, only(key_light_percent=10))
    assert all(abs(int(frame[10, 10, 1]) - 200) <= 1 for frame in found)
    used([float(frame[100, 100, 1]) / 50 - 1 for frame in found], 0.1 * 0.75, 0.03)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_exposure(channels: tuple[int, ...]) -> None:
    image = np.full((40, 40, *channels), 100, np.uint8)
    found = varied(image, only(exposure_percent=30))
    used([float(one.mean()) - 100 for one in found], 30, 1)
    assert max(int(np.ptp(one)) for one in found) <= 1


def test_white_balance() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    means = np.array([found.mean(axis=(0, 1)) for found in varied(image, only(white_balance_percent=20))])
    used(list(means[:, 0] - 100), 20, 2)
    used(list(means[:, 2] - 100), 20, 2)
    assert np.abs(means[:, 1] - 100).max() <= 2  # green stays
    assert np.abs(np.corrcoef(means[:, 0], means[:, 2])[0, 1]) < 0.5  # each for itself


def test_grey_has_no_white_balance() -> None:
    image = np.full((40, 40), 100, np.uint8)
    assert {int(found.mean()) for found in varied(image, only(white_balance_percent=20), 5)} == {100}


def test_noise_grows_with_the_light() -> None:
    spread = {}
    for level in (32, 128):
        image = np.full((64, 64), level, np.uint8)
        spread[level] = [float(found.std()) for found in varied(image, only(noise_levels=10))]
    assert max(spread[128]) <= 10.5
    assert max(spread[128]) > 7
    assert min(spread[128]) < 3
    assert max(spread[32]) == pytest.approx(max(spread[128]) / 2, rel=0.15)


def edge_width(image: Pixels) -> float:
    """The standard deviation of the slope of an edge that stands upright, in pixels."""
    slope = np.abs(np.diff(image[32].astype(np.float64)))
    x = np.arange(len(slope))
    middle = (slope * x).sum() / slope.sum()
    return float(np.sqrt((slope * (x - middle) ** 2).sum() / slope.sum()))


def test_blur_is_at_a_width_of_256_px() -> None:
    for width in (256, 512):
        image = np.zeros((64, width), np.uint8)
        image[:, width // 2 :] = 200
        widths = [edge_width(found) for found in varied(image, only(blur_px=2.0))]
        largest = 2.0 * width / 256
        assert 0.7 * largest < max(widths) <= 1.15 * largest
        assert min(widths) < 0.4 * largest


def test_jpeg_quality() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    errors = {
        quality: max(
            np.abs(found.astype(int) - image).mean() for found in varied(image, only(jpeg_quality=quality), 30)
        )
        for quality in (100, 90, 20)
    }
    assert errors[100] < errors[90] < errors[20]


@pytest.mark.parametrize("channels", [(), (3,)])
def test_borders_are_not_black(channels: tuple[int, ...]) -> None:
    """The new border shows the tray, not black."""
    image = np.full((60, 80, *channels), 250, np.uint8)
    variation = only(rotation_deg=20, shift_percent=20, scale_percent=20, tilt_deg=10)
    assert min(int(found.min()) for found in varied(image, variation, 20)) >= 247


def test_black_and_white_stay_within_8_bits() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 255
    for found in varied(image, only(exposure_percent=50, noise_levels=20), 20):
        assert found[:, :12].max() < 60
        assert found[:, 28:].min() > 60
