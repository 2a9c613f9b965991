"""Poses against matrices of the tests' own (see `tests.laid`)."""

import numpy as np
import pytest

from partsight.runtime.matching.layout import Grid
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Places, Poses
from tests.laid import matrix_at

OPS = ArrayOperations()
SHAPES = [(192, 192), (120, 192), (192, 66), (36, 36)]


def random_poses(seed: int, most: float = 0.3) -> Poses:
    """Of 3 frames with 4 candidates."""
    rng = np.random.default_rng(seed)
    return Poses(*(rng.uniform(-most, most, (3, 4)).astype(np.float32) for _ in range(5)))


def nominal() -> Poses:
    return Poses(*[np.zeros((3, 4), np.float32)] * 5)


def whole(where: Places) -> tuple[np.ndarray, np.ndarray]:
    """x and y of all points, (frames, candidates, rows, columns) each."""
    x = where.x_of_column[:, :, None, :] + where.x_of_row[..., None]
    y = where.y_of_column[:, :, None, :] + where.y_of_row[..., None]
    return x, y


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pose_is_its_matrix(shape: tuple[int, int]) -> None:
    grid, poses = Grid.inner(shape, 1.5), random_poses(1)
    x, y = whole(poses.places(grid, OPS))
    points = np.stack([*np.meshgrid(grid.columns, grid.rows), np.ones(grid.shape)])
    for frame in range(3):
        for candidate in range(4):
            expected = np.einsum("ij,jrc->irc", matrix_at(shape, poses, frame, candidate), points)
            np.testing.assert_allclose(x[frame, candidate], expected[0], atol=1e-3)
            np.testing.assert_allclose(y[frame, candidate], expected[1], atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_the_nominal_pose_every_point_stays(shape: tuple[int, int]) -> None:
    grid = Grid.inner(shape, 2)
    x, y = whole(nominal().places(grid, OPS))
    np.testing.assert_allclose(x[1, 2], np.broadcast_to(grid.columns, grid.shape), atol=1e-4)
    np.testing.assert_allclose(y[1, 2], np.broadcast_to(grid.rows[:, None], grid.shape), atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_after_the_inverse_of_a_step_as_matrices_do_it(shape: tuple[int, int]) -> None:
    """Up to the change of size along the picture's horizontal, which no pose has."""
    for seed in range(8):
        poses, steps = random_poses(seed), random_poses(100 + seed, 0.05)
        found = poses.after_inverse_of(steps, OPS)
        for frame in range(3):
            for candidate in range(4):
                place = frame, candidate
                expected = matrix_at(shape, poses, *place) @ np.linalg.inv(matrix_at(shape, steps, *place))
                matrix = matrix_at(shape, found, *place)
                middle = [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1]
                np.testing.assert_allclose(matrix @ middle, expected @ middle, atol=1e-3)
                length = np.linalg.norm(expected[:2, 0])
                np.testing.assert_allclose(matrix[:2, 0], expected[:2, 0] / length, atol=1e-5)
                np.testing.assert_allclose(matrix[:2, 1], expected[:2, 1], atol=1e-5)


def test_a_step_after_itself_is_the_nominal_pose() -> None:
    steps = random_poses(5)
    for found, expected in (
        (steps.after_inverse_of(steps, OPS), nominal()),
        (steps.after_inverse_of(nominal(), OPS), steps),
    ):
        np.testing.assert_allclose(np.array(found.values), np.array(expected.values), atol=1e-6)


def test_some_candidates() -> None:
    poses, index = random_poses(2), np.array([[3, 0], [1, 1], [2, 3]])
    for values, picked in zip(poses.values, poses.pick(index, OPS).values, strict=True):
        np.testing.assert_array_equal(picked, np.take_along_axis(values, index, axis=1))
