import numpy as np
import pytest

from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.matching.layout import Grid, Layout

SIZES = [(192, 192), (36, 36), (36, 192), (192, 36), (120, 192)]


@pytest.mark.parametrize("size_hw", SIZES)
def test_points_lie_inside_at_equal_steps(size_hw: tuple[int, int]) -> None:
    layout = Layout.of(size_hw)
    for grid, is_inner in ((layout.middle, True), (layout.judged, True), (layout.fine, False)):
        # What a shifted frame does not show is not compared.
        border = max(1, round(max(grid.size_hw) / 32)) if is_inner else 0
        for pixels, size in ((grid.rows, grid.size_hw[0]), (grid.columns, grid.size_hw[1])):
            steps = set(np.diff(pixels).round(4).tolist())
            assert len(steps) == 1 and min(steps) >= 1.5
            assert pixels[0] >= border and pixels[-1] <= size - border - 0.5
            assert pixels[0] < border + 2 * max(steps) and pixels[-1] > size - border - 1 - 2 * max(steps)
    assert layout.middle.size_hw == (size_hw[0] // 3, size_hw[1] // 3)
    rows, columns = layout.judged.shape
    assert 1 <= layout.spot <= min(rows, columns) // 2  # at least one window lies inside


def test_shares_are_from_the_centre_in_the_longest_side() -> None:
    grid = Grid((36, 72), np.array([0, 17.5, 35], np.float32), np.array([0, 35.5, 71], np.float32))
    np.testing.assert_allclose(grid.down, [-17.5 / 72, 0, 17.5 / 72])
    np.testing.assert_allclose(grid.right, [-35.5 / 72, 0, 35.5 / 72])


def test_preprocessing_differs_from_the_networks_in_size_alone() -> None:
    network = PreprocessSpec(224, 224, "mono", Region(1, 2, 30, 40), via=(224, 230))
    spec = MatchingSpec(height=192, width=144)
    assert spec.preprocess(network) == PreprocessSpec(192, 144, "mono", Region(1, 2, 30, 40), via=(224, 230))
    assert spec.size_hw == (192, 144)
