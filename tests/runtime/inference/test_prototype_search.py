from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from partsight.export.search import principal_directions
from partsight.runtime.core.topk import best_first
from partsight.runtime.inference.prototype_search import EXACT, PrototypeSearch, bound_matrix

SIZE = 99
Maker = Callable[[np.random.Generator, int], np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def random(rng: np.random.Generator, count: int) -> np.ndarray:
    """No directions are better than others: the bound leaves many."""
    return unit(rng.standard_normal((count, SIZE)))


def clustered(rng: np.random.Generator, count: int) -> np.ndarray:
    """Families of parts that are much alike."""
    families = rng.standard_normal((max(1, count // 20), SIZE))
    return unit(families[rng.integers(0, len(families), count)] + 0.1 * rng.standard_normal((count, SIZE)))


def like_real(rng: np.random.Generator, count: int) -> np.ndarray:
    """Directions of falling strength about a common mean, in families."""
    strength = np.arange(1, SIZE + 1) ** -0.7
    families = rng.standard_normal((max(1, count // 8), SIZE)) * strength
    own = rng.standard_normal((count, SIZE)) * strength * 0.3
    return unit(0.3 + families[rng.integers(0, len(families), count)] + own)


def duplicates(rng: np.random.Generator, count: int) -> np.ndarray:
    """Parts that look the same to the last bit."""
    return like_real(rng, max(1, count // 7))[rng.integers(0, max(1, count // 7), count)]


def in_few_directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """The rest outside the directions is zero."""
    return unit(rng.standard_normal((count, 5)) @ rng.standard_normal((5, SIZE)))


MAKERS = [random, clustered, like_real, duplicates, in_few_directions]


def seen(rng: np.random.Generator, prototypes: np.ndarray, frames: int) -> np.ndarray:
    """Embeddings of frames: near prototypes, some far off."""
    own = prototypes[rng.integers(0, len(prototypes), frames)]
    return unit(own + rng.uniform(0, 0.5, (frames, 1)) * unit(rng.standard_normal((frames, SIZE))))


class Searching:
    """A search, with the bounds that the network would give."""

    def __init__(self, prototypes: np.ndarray, dimensions: int) -> None:
        self.directions = principal_directions(prototypes, dimensions)
        self.matrix = bound_matrix(prototypes, self.directions)
        self.search = PrototypeSearch(prototypes)

    def bound(self, embedding: np.ndarray) -> np.ndarray:
        near = embedding @ self.directions
        rest = np.sqrt(np.maximum((embedding**2).sum(axis=1) - (near**2).sum(axis=1), 0) + np.float32(1e-6))
        return np.concatenate([near, rest[:, None]], axis=1) @ self.matrix

    def score(self, embedding: np.ndarray) -> np.ndarray:
        return self.search.score(self.bound(embedding), embedding)


def check(prototypes: np.ndarray, embedding: np.ndarray, dimensions: int) -> None:
    """Compare the best two with the plain product, computed in double precision."""
    found = Searching(prototypes, dimensions).score(embedding)
    plain = embedding.astype(np.float64) @ prototypes.T.astype(np.float64)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), plain.shape)
    for row, expected in zip(found, plain, strict=True):
        best = best_first(row, 2)
        np.testing.assert_allclose(row[best], np.sort(expected)[::-1][:2], atol=2e-6)
        np.testing.assert_allclose(row[best], expected[best], atol=2e-6)
        assert (np.abs(row - expected) < 1).all()  # estimates are not wild


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("classes", [1, 2, 5, 40, EXACT, EXACT + 1, 1000, 6000])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_best_two_are_the_same_as_of_the_plain_product(make: Maker, classes: int, seed: int) -> None:
    rng = np.random.default_rng([seed, classes])
    prototypes = make(rng, classes)
    check(prototypes, seen(rng, prototypes, 25), dimensions=16)


@pytest.mark.parametrize("dimensions", [1, 8, SIZE - 1, SIZE, 1000])
def test_dimensions(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    prototypes = like_real(rng, 2000)
    check(prototypes, seen(rng, prototypes, 25), dimensions)


@pytest.mark.parametrize("make", [random, like_real])
def test_frames_that_are_like_no_part(make: Maker) -> None:
    """The bound leaves so many that all are computed."""
    rng = np.random.default_rng(3)
    check(make(rng, 6000), random(rng, 25), dimensions=4)


def test_frames_of_length_nought() -> None:
    prototypes = like_real(np.random.default_rng(4), 1000)
    found = Searching(prototypes, 16).score(np.zeros((2, SIZE), np.float32))
    np.testing.assert_allclose(np.sort(found, axis=1)[:, -2:], 0, atol=1e-6)


@pytest.mark.parametrize("copies", [2, 50, 601])
def test_of_equal_prototypes_the_first_wins(copies: int) -> None:
    rng = np.random.default_rng(copies)
    prototypes = like_real(rng, 5000)
    indices = np.sort(rng.choice(5000, copies, replace=False))
    prototypes[indices] = prototypes[indices[0]]
    embedding = unit(prototypes[indices[:1]] + 0.02 * unit(rng.standard_normal((20, SIZE))))
    for row in Searching(prototypes, 16).score(embedding):
        order = best_first(row, copies)
        assert order[:2].tolist() == indices[:2].tolist()
        assert order.tolist() == indices.tolist()
        assert len(set(row[indices].tolist())) == 1


def test_the_shortlist_is_nearly_always_the_same_as_of_the_plain_product() -> None:
    rng = np.random.default_rng(5)
    prototypes = like_real(rng, 6000)
    embedding = seen(rng, prototypes, 50)
    found, plain = Searching(prototypes, 32).score(embedding), embedding @ prototypes.T
    pairs = zip(found, plain, strict=True)
    same = [set(best_first(row, 32)) == set(best_first(expected, 32)) for row, expected in pairs]
    assert np.mean(same) >= 0.95


def test_scores_that_are_not_computed_are_lower() -> None:
    rng = np.random.default_rng(6)
    prototypes = like_real(rng, 6000)
    embedding = seen(rng, prototypes, 50)
    found, plain = Searching(prototypes, 8).score(embedding), embedding @ prototypes.T
    left_out = 0
    for row, expected in zip(found, plain, strict=True):
        is_computed = np.abs(row - expected) < 1e-6
        left_out += int((~is_computed).sum())
        assert is_computed.sum() >= EXACT
        assert row[~is_computed].max(initial=-1) <= np.sort(row[is_computed])[-EXACT] + 1e-6
    assert left_out > 50 * 3000


def test_bounds_are_bounds_and_tight_where_nothing_is_left() -> None:
    rng = np.random.default_rng(14)
    for make in MAKERS:
        prototypes = make(rng, 500)
        searching, embedding = Searching(prototypes, 16), seen(rng, prototypes, 20)
        excess = searching.bound(embedding) - embedding @ prototypes.T
        assert excess.min() > -1e-6
        if make is in_few_directions:
            assert excess.max() < 2e-3


def test_a_rounded_bound_is_allowed_for() -> None:
    """The second class has a bound that is a little below its score, and so many others have larger ones."""
    angles = np.full(600, 1.2)
    angles[[7, 8]] = 0, 0.1
    prototypes = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    embedding = np.array([[1, 0]], np.float32)
    bound = np.full((1, 600), np.cos(0.1), np.float32)
    bound[0, [7, 8]] = 1, np.cos(0.1) - 0.005
    prototypes[10] = np.cos(0.11), np.sin(0.11)
    found = PrototypeSearch(prototypes).score(bound, embedding, slack=0.01)
    assert best_first(found[0], 3).tolist() == [7, 8, 10]


def test_plain_scores_are_all_computed() -> None:
    rng = np.random.default_rng(15)
    prototypes = random(rng, 1000)
    embedding = random(rng, 5)
    found = PrototypeSearch(prototypes, is_plain=True).score(np.zeros((5, 1000), np.float32), embedding)
    np.testing.assert_allclose(found, embedding @ prototypes.T, atol=1e-6)


class Gathered(np.ndarray):
    """Prototypes that note how many of them are gathered."""

    counts: list[int]

    def __getitem__(self, classes: Any) -> Any:
        if isinstance(classes, np.ndarray):
            self.counts.append(len(classes))
        return np.asarray(super().__getitem__(classes))


def gathered(prototypes: np.ndarray) -> Gathered:
    noting = prototypes.view(Gathered)
    noting.counts = []
    return noting


def test_few_scores_are_computed_exactly() -> None:
    rng = np.random.default_rng(7)
    prototypes = like_real(rng, 20_000)
    searching, noting, embedding = Searching(prototypes, 32), gathered(prototypes), seen(rng, prototypes, 10)
    PrototypeSearch(noting).score(searching.bound(embedding), embedding)
    assert 10 * EXACT <= sum(noting.counts) < 10 * 2 * EXACT


def test_for_a_frame_that_is_like_no_part_few_are_gathered() -> None:
    """To gather many would take longer than the plain product."""
    rng = np.random.default_rng(13)
    prototypes, embedding = random(rng, 6000), random(rng, 10)
    searching, noting = Searching(prototypes, 4), gathered(prototypes)
    PrototypeSearch(noting).score(searching.bound(embedding), embedding)
    assert sum(noting.counts) < 10 * 2 * EXACT


def test_a_frame_is_answered_alike_in_any_batch() -> None:
    rng = np.random.default_rng(8)
    prototypes = like_real(rng, 3000)
    embedding = seen(rng, prototypes, 17)
    search = Searching(prototypes, 16)
    together = search.score(embedding)
    alone = np.concatenate([search.score(embedding[index : index + 1]) for index in range(17)])
    for first, second in zip(together, alone, strict=True):
        order = best_first(first, 33)
        assert order.tolist() == best_first(second, 33).tolist()
        assert (first[order] == second[order]).all()


def test_no_frames() -> None:
    prototypes = like_real(np.random.default_rng(9), 1000)
    for dimensions in (16, SIZE):
        found = Searching(prototypes, dimensions).score(np.empty((0, SIZE), np.float32))
        assert (found.shape, found.dtype) == ((0, 1000), np.dtype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_no_number_fits_nothing(value: float) -> None:
    """The other frames of the batch get their scores."""
    rng = np.random.default_rng(10)
    prototypes = like_real(rng, 1000)
    embedding = seen(rng, prototypes, 3)
    expected = Searching(prototypes, 16).score(embedding)
    embedding[1, 5] = value
    with np.errstate(invalid="ignore"):
        found = Searching(prototypes, 16).score(embedding)
    assert not np.isfinite(found[1]).any()
    for index in (0, 2):
        assert best_first(found[index], 33).tolist() == best_first(expected[index], 33).tolist()


def test_prototypes_are_not_written_to() -> None:
    rng = np.random.default_rng(11)
    prototypes = like_real(rng, 1000)
    prototypes.flags.writeable = False
    Searching(prototypes, 16).score(seen(rng, prototypes, 3))


def test_several_threads() -> None:
    rng = np.random.default_rng(12)
    prototypes = like_real(rng, 3000)
    search = Searching(prototypes, 16)
    batches = [seen(rng, prototypes, 8) for _ in range(20)]
    expected = [search.score(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(search.score, batches), expected, strict=True):
            np.testing.assert_array_equal(found, alone)
