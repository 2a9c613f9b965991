"""A smooth field of shifts follows the relief of a part, and covers no missing pin."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from partsight.runtime.core.arrays import FloatArray, Pixels
from partsight.runtime.matching import Bank, Matcher, Matches, MatchingSpec, prepare_all
from partsight.runtime.matching.agreement import agree
from partsight.runtime.matching.graph_matcher import OUTPUTS
from partsight.runtime.matching.graph_nodes import FRAMES_TRACED, Trace
from partsight.runtime.matching.graph_operations import GraphOperations
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.parallax import STIFFNESS, Mesh, Parallax, fit_parallax, parallax_inverse
from partsight.runtime.matching.poses import Places, Poses
from partsight.runtime.matching.trace import matching_graph
from tests.laid import as_compared, laid
from tests.runtime.matching.case import Case, by_arrays, feeds, session
from tests.runtime.matching.headers import HEADER_12, HEADERS, frame_of, images_of, matcher_of, tied

OPS = ArrayOperations()
SIZES_HW = [(192, 192), (96, 192), (192, 96), (36, 36)]
MAX_COVERED = 0.04
"""The most that the field may add to the agreement with another part; 0.026 with these headers."""


def part_of(size_hw: tuple[int, int], seed: int = 1) -> Pixels:
    """Return a part with features everywhere: squares and circles on a plate, on a light tray."""
    rng, (height, width) = np.random.default_rng(seed), size_hw
    image = np.full((height, width, 3), 200, np.uint8)
    cv2.rectangle(image, (width // 10, height // 10), (width - width // 10, height - height // 10), (90, 80, 70), -1)
    for _ in range(height * width // 200):
        x, y = int(rng.uniform(0.15, 0.85) * width), int(rng.uniform(0.15, 0.85) * height)
        colour = tuple(int(value) for value in rng.integers(30, 230, 3))
        cv2.circle(image, (x, y), int(rng.integers(2, 6)), colour, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.uint8)


@dataclass(frozen=True)
class Dome:
    """Shifts of a part that is highest in the middle: up to `most_px` to the right, half as much up."""

    size_hw: tuple[int, int]
    most_px: float = 2.0
    sigma_px: float = 48.0

    def shift(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return the shifts of points in pixels, (2, …): right and down."""
        height, width = self.size_hw
        square = np.square(x - (width - 1) / 2) + np.square(y - (height - 1) / 2)
        lift = self.most_px * np.exp(-0.5 * square / self.sigma_px**2)
        return np.stack([lift, -0.5 * lift])

    def move(self, image: Pixels) -> Pixels:
        """Return an image whose point p lies at p + shift(p)."""
        y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        place = np.stack([x, y])
        for _ in range(20):  # p = q - shift(p)
            place = np.stack([x, y]) - self.shift(*place)
        maps = place.astype(np.float32)
        return np.asarray(cv2.remap(image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def matcher_alone(image: Pixels) -> Matcher:
    return Matcher(Bank.of(prepare_all([image], [0])), MatchingSpec(height=image.shape[0], width=image.shape[1]))


def match_alone(frame: Pixels, matcher: Matcher) -> Matches:
    return matcher.match(frame[None], tied(matcher, 1))


def agreement_by(parallax: Parallax, frames: Pixels, found: Matches, matcher: Matcher) -> FloatArray:
    """Return the agreements of the same finalists at the same poses with another parallax."""
    colour = levels_of(frames, OPS).colour
    return np.asarray(agree(colour, found.references, found.poses, parallax, matcher.bank, matcher.spec, OPS))


def agreement_of_poses(frames: Pixels, found: Matches, matcher: Matcher) -> FloatArray:
    """Return the agreements of the same finalists without parallax."""
    none = Parallax(found.parallax.right * 0, found.parallax.down * 0)
    return agreement_by(none, frames, found, matcher)


def points_of(places: Places, grid: Grid) -> FloatArray:
    """Return the places of the first candidate in the first frame, (2, rows, columns): x and y in pixels."""
    x = places.x_of_column[:, :, None] + places.x_of_row[..., None] + places.shift_x
    y = places.y_of_column[:, :, None] + places.y_of_row[..., None] + places.shift_y
    assert x.shape[2:] == y.shape[2:] == grid.shape
    return np.stack([x[0, 0], y[0, 0]])


def farthest_px(places: Places, grid: Grid, dome: Dome) -> float:
    """Return the largest distance from the true places within the middle two thirds, where the part has features."""
    height, width = grid.size_hw
    x, y = np.meshgrid(grid.columns, grid.rows)
    distance = np.hypot(*(points_of(places, grid) - np.stack([x, y]) - dome.shift(x, y)))
    return float(distance[(abs(grid.down_px) < height / 3)[:, None] & (abs(grid.right_px) < width / 3)].max())


@pytest.mark.parametrize("size_hw", SIZES_HW[:3])
def test_relief_is_followed(size_hw: tuple[int, int]) -> None:
    image, dome, grid = part_of(size_hw), Dome(size_hw), Layout.of(size_hw).judged
    matcher, frame = matcher_alone(image), dome.move(image)
    found = match_alone(frame, matcher)
    assert found.agreement[0, 0] > agreement_of_poses(frame[None], found, matcher)[0, 0] + 0.2
    assert farthest_px(found.places(grid, OPS), grid, dome) < 0.5
    assert farthest_px(found.poses.places(grid, OPS), grid, dome) > 0.9


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_a_part_without_relief_gets_no_shifts(size_hw: tuple[int, int]) -> None:
    image = part_of(size_hw)
    found = match_alone(image, matcher_alone(image))
    assert found.agreement[0, 0] > 0.9
    for shift in (found.parallax.right, found.parallax.down):
        assert shift.shape == (1, 1, *Mesh.of(size_hw).shape)
        assert np.abs(shift).max() < 0.1


def test_the_agreement_is_that_at_the_places() -> None:
    """The same parallax in agreement and in `Matches.places`."""
    image = part_of((192, 192))
    matcher, frame = matcher_alone(image), Dome((192, 192)).move(image)
    found = match_alone(frame, matcher)
    again = agreement_by(found.parallax, frame[None], found, matcher)
    np.testing.assert_allclose(again, found.agreement, atol=1e-5)
    mirrored = Parallax(-found.parallax.right, -found.parallax.down)
    assert agreement_by(mirrored, frame[None], found, matcher)[0, 0] < found.agreement[0, 0] - 0.3


def test_the_pose_turns_the_shifts() -> None:
    """A turn by 90° takes a shift to the right into one down the picture, and a shift down into one to the left."""
    size_hw = (96, 192)
    grid, one = Layout.of(size_hw).judged, np.ones((1, 1, *Mesh.of(size_hw).shape), np.float32)
    zero = np.zeros((1, 1), np.float32)
    for angle in (0.0, 0.1, np.pi / 2):
        poses = Poses(zero, zero, zero + np.float32(angle), zero, zero)
        shifted = points_of(Parallax(2 * one, 1 * one).places(poses, grid, OPS), grid)
        found = shifted - points_of(poses.places(grid, OPS), grid)
        expected = np.cos(angle) * np.array([2, 1]) + np.sin(angle) * np.array([-1, 2])
        np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape), atol=1e-4)


@pytest.fixture(scope="module")
def headers(example_parts: Path) -> list[Pixels]:
    return images_of(example_parts)


@pytest.mark.parametrize(("turn_deg", "x", "y"), [(0, 0, 0), (2, 0.02, -0.01), (-3, -0.03, 0.03)])
def test_one_pin_more_or_less_is_not_covered(headers: list[Pixels], turn_deg: float, x: float, y: float) -> None:
    matcher = matcher_of(headers)
    frames = np.stack([frame_of(image, turn_deg=turn_deg, x=x, y=y) for image in headers])
    found = matcher.match(frames, tied(matcher, len(frames)))
    assert found.classes[:, 0].tolist() == list(range(len(HEADERS)))
    assert (found.margin > 0.6).all()
    # Each finalist keeps its own parallax, although matching puts the finalists in order after it.
    np.testing.assert_allclose(agreement_by(found.parallax, frames, found, matcher), found.agreement, atol=1e-4)
    added = found.agreement - agreement_of_poses(frames, found, matcher)
    assert added[:, 1:].max() < MAX_COVERED
    assert np.abs(added[:, 0]).max() < MAX_COVERED  # here the part itself needs no shifts


@pytest.mark.parametrize("pose", [{}, {"turn_deg": -2, "x": 0.01, "y": 0.03}])
def test_a_missing_pin_is_not_covered(headers: list[Pixels], pose: dict[str, float]) -> None:
    image = headers[HEADER_12]
    covered, pin = image.copy(), np.array([[176, 62], [205, 72], [205, 88], [172, 72]])  # the pin at the upper right
    cv2.fillPoly(covered, [pin], image[40:60, 200:230].mean(axis=(0, 1)))
    matcher, frames = matcher_of([image]), np.stack([as_compared(laid(each, **pose)) for each in (image, covered)])
    found = matcher.match(frames, tied(matcher, 2))
    whole, missing = found.agreement[:, 0]
    assert missing < whole / 2
    assert missing - agreement_of_poses(frames, found, matcher)[1, 0] < MAX_COVERED


def test_a_missing_feature_shows_on_a_part_with_relief() -> None:
    size_hw = (192, 192)
    image, dome = part_of(size_hw), Dome(size_hw)
    broken = cv2.circle(image.copy(), (96, 96), 8, (90, 80, 70), -1)
    matcher = matcher_alone(image)
    whole, missing = (match_alone(dome.move(each), matcher).agreement[0, 0] for each in (image, broken))
    assert whole > 0.6
    assert missing < whole / 2


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize(("golden_level", "frame_level"), [(128, 128), (128, 140), (0, 0), (0, 255), (255, 0)])
def test_even_pictures_have_no_shifts(size_hw: tuple[int, int], golden_level: int, frame_level: int) -> None:
    matcher = matcher_alone(np.full((*size_hw, 3), golden_level, np.uint8))
    found = match_alone(np.full((*size_hw, 3), frame_level, np.uint8), matcher)
    assert np.isfinite(found.agreement).all()
    assert not found.parallax.right.any() and not found.parallax.down.any()


def waves(length_px: float, height_levels: float, x: float = 0, y: float = 0) -> Pixels:
    """Return waves in both directions, (192, 192, 3), that lie x px to the right and y px down."""
    down, right = np.mgrid[:192, :192]
    levels = np.sin((right - x) / length_px) + np.cos((down - y) / length_px)
    return np.rint(np.repeat((120 + height_levels * levels)[:, :, None], 3, 2)).astype(np.uint8)


def shifts_at_the_nominal_pose(frame: Pixels, golden: Pixels) -> tuple[Parallax, Bank]:
    bank, fine = Bank.of(prepare_all([golden], [0])), levels_of(frame[None], OPS).fine
    nominal, layout = Poses(*[np.zeros((1, 1), np.float32)] * 5), Layout.of((192, 192))
    return fit_parallax(fine, np.zeros((1, 1), int), nominal, bank, layout, OPS), bank


def test_shifts_are_limited() -> None:
    """A frame that lies 8 px from its pose, of waves so long that one step finds them."""
    found, _ = shifts_at_the_nominal_pose(waves(20, 50, x=8, y=-8), waves(20, 50))
    assert found.right.shape == (1, 1, *Mesh.of((192, 192)).shape)
    assert found.right.max() == 3
    assert found.down.min() == -3


@pytest.mark.parametrize("height_levels", [3, 10, 40])
def test_faint_structure_holds_the_shift_back(height_levels: float) -> None:
    """The sum of all steps: to the share of the structure in structure and stiffness, not nearer with each step."""
    found, bank = shifts_at_the_nominal_pose(waves(3, height_levels, x=0.5, y=-0.25), waves(3, height_levels))
    xx, _, yy = bank.parallax_inverse[0].reshape(3, *Mesh.of((192, 192)).shape)[:, 2:-2, 2:-2]
    np.testing.assert_allclose(found.right[0, 0, 2:-2, 2:-2], 0.5 * (1 - STIFFNESS * xx), atol=0.04)
    np.testing.assert_allclose(found.down[0, 0, 2:-2, 2:-2], -0.25 * (1 - STIFFNESS * yy), atol=0.04)


def test_shifts_of_a_frame_of_noise_are_numbers() -> None:
    image = part_of((96, 192))
    shown = np.random.default_rng(4).integers(0, 256, image.shape, np.uint8)
    found = match_alone(shown, matcher_alone(image))
    for shift in (found.parallax.right, found.parallax.down):
        assert np.isfinite(shift).all()
        assert np.abs(shift).max() <= 3


@pytest.mark.parametrize("size_hw", [*SIZES_HW, (36, 192)])
def test_inverse_of_the_structure_in_each_window(size_hw: tuple[int, int]) -> None:
    grid, mesh = Layout.of(size_hw).fine, Mesh.of(size_hw)
    rng = np.random.default_rng(6)
    by_x, by_y = rng.normal(0, 9, (2, *grid.shape)) + 3
    found = parallax_inverse(by_x.ravel().astype(np.float32), by_y.ravel().astype(np.float32), grid)
    assert found.shape == (3, len(mesh.rows) * len(mesh.columns))
    assert found.dtype == np.float32
    for cell in range(0, found.shape[1], 5):
        xx, xy, yy = found[:, cell]
        down, right = mesh.rows[cell // len(mesh.columns)], mesh.columns[cell % len(mesh.columns)]
        tensor, weights = np.zeros((2, 2)), 0.0
        for row, column in np.ndindex(*grid.shape):
            distance = (grid.rows[row] - down) ** 2 + (grid.columns[column] - right) ** 2
            slope = np.array([by_x[row, column], by_y[row, column]])
            weight = np.exp(-distance / (2 * 12.0**2))
            tensor, weights = tensor + weight * np.outer(slope, slope), weights + weight
        expected = np.linalg.inv(tensor / weights + STIFFNESS * np.eye(2))
        np.testing.assert_allclose([[xx, xy], [xy, yy]], expected, rtol=1e-3, atol=1e-6)


def test_the_bank_holds_the_inverse_of_its_slopes() -> None:
    image = part_of((96, 192))
    (row,) = prepare_all([image], [0])
    by_x, by_y = row["fine_slopes"] * row["fine_slope_scale"][:, None]  # rounded to 1/127 of the steepest
    expected = parallax_inverse(by_x, by_y, Layout.of((96, 192)).fine)
    np.testing.assert_allclose(row["parallax_inverse"], expected, rtol=0.02, atol=1e-4)
    assert np.abs(by_x).max() > 10  # grey levels a pixel


@pytest.mark.parametrize("size_hw", [*SIZES_HW, (36, 192)])
def test_cells(size_hw: tuple[int, int]) -> None:
    """They divide each side evenly; at least two a side."""
    mesh = Mesh.of(size_hw)
    for side, centres in zip(size_hw, (mesh.rows, mesh.columns), strict=True):
        assert len(centres) >= 2
        np.testing.assert_allclose(np.diff(centres), side / len(centres), rtol=1e-4)
        assert centres[0] + centres[-1] == pytest.approx(side - 1, abs=1e-3)


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("name", ["fine", "judged"])
def test_spread_of_a_linear_function_is_that_function(size_hw: tuple[int, int], name: str) -> None:
    """Up to the outer centres; from there to the border it stays as it is."""
    mesh, grid = Mesh.of(size_hw), getattr(Layout.of(size_hw), name)
    values = 3 + 0.5 * mesh.rows[:, None] - 0.25 * mesh.columns
    found = mesh.spread(np.stack([values, -values]).astype(np.float32)[None], grid)
    rows, columns = (
        np.clip(points, centres[0], centres[-1])
        for points, centres in ((grid.rows, mesh.rows), (grid.columns, mesh.columns))
    )
    expected = 3 + 0.5 * rows[:, None] - 0.25 * columns
    assert found.shape == (1, 2, *grid.shape)
    np.testing.assert_allclose(found[0], [expected, -expected], atol=1e-3)


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_weights_of_a_window_sum_to_1(size_hw: tuple[int, int]) -> None:
    mesh, grid = Mesh.of(size_hw), Layout.of(size_hw).fine
    even = np.full((2, 3, grid.rows.size * grid.columns.size), 7, np.float32)
    found = mesh.means(even, grid)
    assert found.shape == (2, 3, *mesh.shape)
    np.testing.assert_allclose(found, 7, rtol=1e-5)
    spot = np.zeros((1, 1, *grid.shape), np.float32)
    spot[0, 0, 0, 0] = 1
    weights = mesh.means(spot.reshape(1, 1, -1), grid)[0, 0]
    assert weights.argmax() == 0 and weights.min() >= 0


def case_of(size_hw: tuple[int, int]) -> Case:
    """Five parts, and a frame with relief of each."""
    images = np.stack([part_of(size_hw, seed) for seed in range(5)])
    frames = np.stack([Dome(size_hw).move(image) for image in images])
    score = np.random.default_rng(2).random((5, 5), np.float32)
    return Case(images, frames, score, np.arange(5), Bank.of(prepare_all(images, range(5))))


def assert_graph_is_alike(outputs: list[np.ndarray], expected: Matches) -> None:
    """Compare the best finalist of each frame: the others may stand in any order."""
    parallax = outputs[OUTPUTS.index("parallax")][:, 0]
    shifts = np.stack([expected.parallax.right, expected.parallax.down], 2)[:, 0]
    assert parallax.shape == shifts.shape
    np.testing.assert_allclose(parallax, shifts, atol=2e-3)
    np.testing.assert_allclose(outputs[OUTPUTS.index("agreement")][:, 0], expected.agreement[:, 0], atol=1e-3)
    np.testing.assert_allclose(outputs[OUTPUTS.index("lead")], expected.lead, atol=1e-5)


@pytest.mark.parametrize("size_hw", [(192, 192), (96, 192), (36, 36)])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_graph_gives_the_same_shifts(size_hw: tuple[int, int], engine: str) -> None:
    case, spec = case_of(size_hw), MatchingSpec(height=size_hw[0], width=size_hw[1])
    expected = by_arrays(case, 5, spec)
    assert expected.classes[:, 0].tolist() == list(range(5))
    assert size_hw == (36, 36) or np.abs(expected.parallax.right[:, 0]).max() > 0.5
    graph = matching_graph(spec, case.bank)
    assert [output.name for output in graph.graph.output] == list(OUTPUTS)
    outputs = session(graph).run(None, feeds(case, 5)) if engine == "onnxruntime" else run_openvino(graph, case)
    assert_graph_is_alike(outputs, expected)


def run_openvino(graph: onnx.ModelProto, case: Case) -> list[np.ndarray]:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    # Without the hint it computes in bfloat16 where the processor can.
    model = core.compile_model(core.read_model(graph.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(model(feeds(case, 5)).values())


def test_a_graph_that_leaves_out_the_shifts_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    case, spec = case_of((96, 192)), MatchingSpec(height=96, width=192)
    sample = GraphOperations.sample
    monkeypatch.setattr(
        GraphOperations,
        "sample",
        staticmethod(lambda images, places: sample(images, replace(places, shift_x=0.0, shift_y=0.0))),
    )
    outputs = session(matching_graph(spec, case.bank)).run(None, feeds(case, 5))
    with pytest.raises(AssertionError):
        assert_graph_is_alike(outputs, by_arrays(case, 5, spec))


def test_blocks_are_picked_frame_by_frame() -> None:
    rng = np.random.default_rng(3)
    values, index = rng.random((3, 5, 2, 4), np.float32), rng.integers(0, 5, (3, 2))
    expected = np.stack([values[frame][chosen] for frame, chosen in enumerate(index)])
    np.testing.assert_array_equal(OPS.pick_blocks(values, index), expected)
    written = Trace()
    nodes = (
        written.input("values", np.float32, (FRAMES_TRACED, 5, 2, 4), {0: "batch"}),
        written.input("index", np.int64, (FRAMES_TRACED, 2), {0: "batch"}),
    )
    written.output("picked", GraphOperations.pick_blocks(*nodes))
    assert "GatherND" in {node.op_type for node in written.model.graph.node}
    (found,) = session(written.model).run(None, {"values": values, "index": index})
    np.testing.assert_array_equal(found, expected)
