"""Golden images laid elsewhere by matrices of the tests' own (see `tests.laid`): who could fit, and about where."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.image_file import read_image
from partsight.runtime.matching import Bank, Matcher, MatchingSpec
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.screening import orthonormal, points_of, screen, span
from tests.laid import as_compared, farthest_px, golden, laid, matrix_at, matrix_of
from tests.runtime.matching.headers import bank_of

OPS = ArrayOperations()
SPEC = MatchingSpec(height=192, width=192)


@pytest.fixture(scope="module")
def catalog(example_parts: Path) -> list[Pixels]:
    names = sorted(path.name for path in (example_parts / "golden").iterdir())[:60]
    return [golden(example_parts, name) for name in names]


@pytest.fixture(scope="module")
def bank(catalog: list[Pixels]) -> Bank:
    return bank_of(catalog)


def coarse(images: Sequence[Pixels]):
    return levels_of(np.stack([as_compared(image) for image in images]), OPS).coarse


def left_of(level: object, bank: Bank) -> np.ndarray:
    """Return the rest of golden images that no small move explains: mean square grey levels, (frames, references)."""
    basis, _ = orthonormal(span(level, OPS), OPS)
    left = bank.thumbnail_squares - OPS.explained(bank.thumbnails, OPS.stack(basis))
    return np.asarray(left / bank.thumbnails.shape[1])


def named(
    frames: Sequence[Pixels], score: np.ndarray, bank: Bank, spec: MatchingSpec, excluded: np.ndarray | None = None
) -> tuple[list[list[int]], Poses]:
    candidates, poses = screen(coarse(frames), score, bank, spec, OPS, excluded)
    return candidates.tolist(), poses


def scores(classes: int, *best: int) -> np.ndarray:
    """Scores of one frame: these are the best, in order."""
    score = np.zeros((1, classes), np.float32)
    score[0, list(best)] = np.linspace(0.9, 0.5, len(best))
    return score


def test_nothing_is_left_of_the_part_itself(catalog: list[Pixels], bank: Bank) -> None:
    indices = [0, 7, len(catalog) - 1]
    left = left_of(coarse([catalog[index] for index in indices]), bank)
    assert left.shape == (3, len(catalog))
    assert left.argmin(axis=1).tolist() == indices
    assert left[range(3), indices].max() < 0.5  # the reference is a JPEG


@pytest.mark.parametrize(
    "pose", [{"x": 0.01}, {"y": -0.01}, {"turn_deg": 1.0}, {"x": -0.006, "y": 0.008, "turn_deg": -0.7}]
)
def test_a_small_move_is_explained(catalog: list[Pixels], bank: Bank, pose: dict[str, float]) -> None:
    """By far the most of the difference that the move makes; a difference of content is not."""
    moved, itself = (OPS.pixels(coarse([image]))[0, 1:-1, 1:-1] for image in (laid(catalog[3], **pose), catalog[3]))
    left = left_of(coarse([laid(catalog[3], **pose)]), bank)[0]
    assert left[3] < 0.25 * np.square(moved - itself).mean()
    assert left[20] > 4 * left[3]


def test_a_gain_is_explained_and_an_offset_is_not(catalog: list[Pixels], bank: Bank) -> None:
    level = coarse([catalog[3]])
    brighter, other = replace(level, values=level.values * 1.2), replace(level, values=level.values + 20)
    assert left_of(brighter, bank)[0, 3] == pytest.approx(left_of(level, bank)[0, 3], abs=0.01)
    assert left_of(other, bank)[0, 3] > 1


def test_the_order_is_nearly_that_of_laying_over_each(catalog: list[Pixels], bank: Bank) -> None:
    """The part is among the first candidates, though the frame is moved further than one linear step reaches."""
    indices = list(range(0, len(catalog), 3))
    left = left_of(coarse([laid(catalog[index], x=0.02, y=-0.01, turn_deg=1.5) for index in indices]), bank)
    ranks = (left < left[range(len(indices)), indices][:, None]).sum(axis=1)
    assert ranks.max() < 5
    assert (ranks == 0).mean() > 0.8


def test_a_basis_is_orthonormal_and_makes_up_the_span(catalog: list[Pixels]) -> None:
    level = coarse([catalog[3], catalog[30]])
    vectors = span(level, OPS)
    basis, upper = orthonormal(vectors, OPS)
    stacked = np.stack(basis, axis=-1)
    np.testing.assert_allclose(stacked.transpose(0, 2, 1) @ stacked, [np.eye(4)] * 2, atol=1e-4)
    for vector, parts in zip(vectors, upper, strict=True):
        again = sum(axis * part for axis, part in zip(basis, parts, strict=False))
        np.testing.assert_allclose(again, vector, atol=1e-2)


def test_derivatives_are_those_of_the_frame(catalog: list[Pixels]) -> None:
    """By shares of the longest side and by radians, in the sense of `Poses`."""
    step = 0.01
    itself, *slopes = (vector[0] for vector in span(coarse([catalog[20]]), OPS))
    turned = {"turn_deg": float(np.rad2deg(step))}
    for slope, pose in zip(slopes, ({"x": step}, {"y": step}, turned), strict=True):
        moved = span(coarse([laid(catalog[20], **pose)]), OPS)[0][0]
        found = (itself - moved) / step  # a shift to the right shows each pixel's left neighbour
        assert np.corrcoef(found, slope)[0, 1] > 0.95
        assert np.vdot(found, slope) / np.vdot(slope, slope) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_without_structure_has_numbers(bank: Bank, level: int) -> None:
    even = [np.full((192, 192, 3), level, np.uint8)]
    assert np.isfinite(left_of(coarse(even), bank)).all()
    _, poses = named(even, scores(60, 3), bank, SPEC)
    values = np.array(poses.values)
    assert np.isfinite(values).all() and np.abs(values).max() <= 0.12 + 1e-6


@pytest.mark.parametrize("size_hw", [(48, 192), (192, 36), (36, 36), (96, 192)])
def test_wide_and_high_pictures(size_hw: tuple[int, int]) -> None:
    from partsight.runtime.matching import prepare_all

    rng = np.random.default_rng(2)
    images = [cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), size_hw[::-1]) for _ in range(5)]
    bank = Bank.of(prepare_all(images, range(5)))
    frames = np.stack([np.roll(image, 1, axis=1) for image in images])
    assert left_of(levels_of(frames, OPS).coarse, bank).argmin(axis=1).tolist() == list(range(5))


def test_a_chessboard_of_points() -> None:
    level = np.arange(2 * 5 * 6).reshape(2, 5, 6)
    expected = [sorted(frame[row, column] for row in range(5) for column in range(6) if row % 2 == column % 2)
                for frame in level]  # fmt: skip
    np.testing.assert_array_equal(np.sort(points_of(level, OPS), axis=1), expected)


def test_the_first_pose_is_about_the_true_one(catalog: list[Pixels], bank: Bank) -> None:
    """Alignment does the rest."""
    pose = {"x": 0.02, "y": -0.015, "turn_deg": 1.5}
    missed = []
    for index in range(0, 60, 4):
        candidates, poses = named([laid(catalog[index], **pose)], scores(60, index), bank, SPEC)
        found = matrix_at((192, 192), poses, 0, candidates[0].index(index))
        missed.append(farthest_px((192, 192), found, matrix_of((192, 192), **pose)))
    nominal = farthest_px((192, 192), np.eye(3), matrix_of((192, 192), **pose))
    assert np.median(missed) < 0.35 * nominal
    assert max(missed) < nominal


def test_thumbnails_and_the_network_name_candidates(catalog: list[Pixels], bank: Bank) -> None:
    spec = msgspec.structs.replace(SPEC, by_thumbnail=5, by_network=3)
    frame = laid(catalog[10], x=0.01)
    (candidates,), poses = named([frame], scores(60, 50, 40, 10), bank, spec)
    assert len(candidates) == 8 == poses.x.shape[1]
    assert candidates[0] == 10
    assert candidates[:5] == np.argsort(left_of(coarse([frame]), bank)[0])[:5].tolist()
    assert candidates[5:] == [50, 40, 10]  # one may stand there twice


def test_each_frame_has_its_own_candidates(catalog: list[Pixels], bank: Bank) -> None:
    spec = msgspec.structs.replace(SPEC, by_thumbnail=2, by_network=1)
    score = np.concatenate([scores(60, 5), scores(60, 6)])
    candidates, _ = named([catalog[10], catalog[20]], score, bank, spec)
    assert [row[0] for row in candidates] == [10, 20]
    assert [row[2] for row in candidates] == [5, 6]


def test_of_very_many_parts_the_network_names_all(catalog: list[Pixels], bank: Bank) -> None:
    spec = msgspec.structs.replace(SPEC, by_thumbnail=0, by_network=4)
    candidates, _ = named([catalog[10]], scores(60, 50, 40, 30, 20), bank, spec)
    assert candidates == [[50, 40, 30, 20]]


@pytest.mark.parametrize("by_thumbnail", [0, 4, 70])
def test_an_excluded_class_is_named_by_nobody(catalog: list[Pixels], bank: Bank, by_thumbnail: int) -> None:
    spec = msgspec.structs.replace(SPEC, by_thumbnail=by_thumbnail, by_network=2)
    excluded = np.zeros((1, 60), bool)
    excluded[0, [10, 50]] = True
    (candidates,), _ = named([catalog[10]], scores(60, 10, 50, 40, 30), bank, spec, excluded)
    assert candidates[-2:] == [40, 30]
    if by_thumbnail < 60:
        assert not {10, 50} & set(candidates)
    else:  # where every reference is named they come last, and `match` leaves them out
        assert set(candidates[58:60]) == {10, 50}


def test_no_more_than_there_are(catalog: list[Pixels]) -> None:
    few = bank_of(catalog[:3], [0, 0, 1])
    candidates, _ = named([catalog[0]], scores(2, 1), few, msgspec.structs.replace(SPEC, by_network=9))
    assert len(candidates[0]) == 3 + 2
    assert set(candidates[0][:3]) == {0, 1, 2}


def test_of_a_class_the_reference_that_fits_best_is_named(catalog: list[Pixels]) -> None:
    several = bank_of(catalog[:5], [0, 1, 1, 1, 2])
    for by_thumbnail in (0, 1):  # of very many parts, too
        spec = msgspec.structs.replace(SPEC, by_thumbnail=by_thumbnail, by_network=1)
        for index in (1, 2, 3):
            candidates, _ = named([laid(catalog[index], x=0.01)], scores(3, 1), several, spec)
            assert candidates == [[index] * (by_thumbnail + 1)]


def test_ranks(catalog: list[Pixels], bank: Bank) -> None:
    """How many other classes come before a frame's own: what `by_thumbnail` is chosen by."""
    matcher = Matcher(bank, SPEC)
    frames = np.stack([as_compared(laid(catalog[index], x=0.01)) for index in (3, 20)])
    left = left_of(levels_of(frames, OPS).coarse, bank)
    assert matcher.rank(frames, np.array([3, 20])).tolist() == [0, 0]
    expected = [(left[0] < left[0, 20]).sum(), (left[1] < left[1, 3]).sum()]
    assert matcher.rank(frames, np.array([20, 3])).tolist() == expected
    assert min(expected) > 0


def test_ranks_count_a_class_once_by_its_best_reference(catalog: list[Pixels]) -> None:
    several = Matcher(bank_of(catalog[:5], [0, 1, 1, 1, 2]), SPEC)
    frames = np.stack([as_compared(laid(catalog[2], x=0.01))] * 3)
    ranks = several.rank(frames, np.array([0, 1, 2]))
    assert ranks[1] == 0 and sorted(ranks.tolist()) == [0, 1, 2]


def test_real_line_frames_are_among_the_first(example_parts: Path) -> None:
    names = sorted(path.name for path in (example_parts / "line").iterdir())
    matcher = Matcher(bank_of([golden(example_parts, name) for name in names]), SPEC)
    paths = sorted((example_parts / "line").rglob("*.jpg"))
    assert len(paths) > 20
    frames = np.stack([as_compared(read_image(path)) for path in paths])
    ranks = matcher.rank(frames, np.array([names.index(path.parent.name) for path in paths]))
    assert (ranks == 0).mean() > 0.8
    assert ranks.max() < SPEC.by_thumbnail
