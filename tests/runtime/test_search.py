from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from partsight.runtime.search import EXACT, PrototypeSearch, principal_directions
from partsight.runtime.selection import best_first

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
    """Nothing is left outside the directions."""
    return unit(rng.standard_normal((count, 5)) @ rng.standard_normal((5, SIZE)))


MAKERS = [random, clustered, like_real, duplicates, in_few_directions]


def seen(rng: np.random.Generator, prototypes: np.ndarray, frames: int) -> np.ndarray:
    """Embeddings of frames: near prototypes, some a good way off."""
    own = prototypes[rng.integers(0, len(prototypes), frames)]
    return unit(own + rng.uniform(0, 0.5, (frames, 1)) * unit(rng.standard_normal((frames, SIZE))))


def check(prototypes: np.ndarray, embedding: np.ndarray, dimensions: int) -> None:
    """The best two must be those of the plain product, computed in double precision."""
    found = PrototypeSearch(prototypes, dimensions).score(embedding)
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
def test_the_best_two_are_those_of_the_plain_product(make: Maker, classes: int, seed: int) -> None:
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
    found = PrototypeSearch(prototypes, 16).score(np.zeros((2, SIZE), np.float32))
    np.testing.assert_allclose(np.sort(found, axis=1)[:, -2:], 0, atol=1e-6)


@pytest.mark.parametrize("copies", [2, 50, 601])
def test_of_equal_prototypes_the_first_wins(copies: int) -> None:
    rng = np.random.default_rng(copies)
    prototypes = like_real(rng, 5000)
    places = np.sort(rng.choice(5000, copies, replace=False))
    prototypes[places] = prototypes[places[0]]
    embedding = unit(prototypes[places[:1]] + 0.02 * unit(rng.standard_normal((20, SIZE))))
    for row in PrototypeSearch(prototypes, 16).score(embedding):
        order = best_first(row, copies)
        assert order[:2].tolist() == places[:2].tolist()
        assert order.tolist() == places.tolist()
        assert len(set(row[places].tolist())) == 1


def test_the_shortlist_is_that_of_the_plain_product() -> None:
    rng = np.random.default_rng(5)
    prototypes = like_real(rng, 6000)
    embedding = seen(rng, prototypes, 50)
    found, plain = PrototypeSearch(prototypes, 32).score(embedding), embedding @ prototypes.T
    pairs = zip(found, plain, strict=True)
    same = [set(best_first(row, 32)) == set(best_first(expected, 32)) for row, expected in pairs]
    assert np.mean(same) >= 0.95


def test_estimates_stay_below_the_second_best() -> None:
    rng = np.random.default_rng(6)
    prototypes = like_real(rng, 6000)
    embedding = seen(rng, prototypes, 50)
    found, plain = PrototypeSearch(prototypes, 8).score(embedding), embedding @ prototypes.T
    is_estimate = np.abs(found - plain) > 1e-5
    assert is_estimate.any()
    second = np.sort(plain, axis=1)[:, -2:-1]
    assert (found[is_estimate] < np.broadcast_to(second, found.shape)[is_estimate]).all()


def count_exact(search: PrototypeSearch, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of scores that are gathered and computed exactly."""
    counts: list[int] = []
    exact = search._exact

    def count(classes: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        counts.append(len(classes))
        return exact(classes, embedding)

    monkeypatch.setattr(search, "_exact", count)
    return counts


def test_few_scores_are_computed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the search is for."""
    rng = np.random.default_rng(7)
    prototypes = like_real(rng, 20_000)
    search = PrototypeSearch(prototypes, 32)
    counts = count_exact(search, monkeypatch)
    search.score(seen(rng, prototypes, 10))
    assert 10 * EXACT <= sum(counts) < 10 * 2 * EXACT


def test_many_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a frame that is like no part: it would take longer than the plain product."""
    rng = np.random.default_rng(13)
    search = PrototypeSearch(random(rng, 6000), 4)
    counts = count_exact(search, monkeypatch)
    search.score(random(rng, 10))
    assert sum(counts) < 10 * 2 * EXACT


def test_a_frame_is_answered_alike_in_any_batch() -> None:
    rng = np.random.default_rng(8)
    prototypes = like_real(rng, 3000)
    embedding = seen(rng, prototypes, 17)
    search = PrototypeSearch(prototypes, 16)
    together = search.score(embedding)
    alone = np.concatenate([search.score(embedding[place : place + 1]) for place in range(17)])
    for first, second in zip(together, alone, strict=True):
        order = best_first(first, 33)
        assert order.tolist() == best_first(second, 33).tolist()
        assert (first[order] == second[order]).all()


def test_no_frames() -> None:
    prototypes = like_real(np.random.default_rng(9), 1000)
    for dimensions in (16, SIZE):
        found = PrototypeSearch(prototypes, dimensions).score(np.empty((0, SIZE), np.float32))
        assert (found.shape, found.dtype) == ((0, 1000), np.dtype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_no_number_fits_nothing(value: float) -> None:
    """And leaves the frames beside it alone."""
    rng = np.random.default_rng(10)
    prototypes = like_real(rng, 1000)
    embedding = seen(rng, prototypes, 3)
    expected = PrototypeSearch(prototypes, 16).score(embedding)
    embedding[1, 5] = value
    with np.errstate(invalid="ignore"):
        found = PrototypeSearch(prototypes, 16).score(embedding)
    assert not np.isfinite(found[1]).any()
    for place in (0, 2):
        assert best_first(found[place], 33).tolist() == best_first(expected[place], 33).tolist()


def test_prototypes_are_not_written_to() -> None:
    rng = np.random.default_rng(11)
    prototypes = like_real(rng, 1000)
    prototypes.flags.writeable = False
    PrototypeSearch(prototypes, 16).score(seen(rng, prototypes, 3))


def test_several_threads() -> None:
    rng = np.random.default_rng(12)
    prototypes = like_real(rng, 3000)
    search = PrototypeSearch(prototypes, 16)
    batches = [seen(rng, prototypes, 8) for _ in range(20)]
    expected = [search.score(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(search.score, batches), expected, strict=True):
            np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("classes", [3, 90, 5000])
def test_directions_are_orthonormal_and_the_best(classes: int) -> None:
    prototypes = like_real(np.random.default_rng(classes), classes)
    directions = principal_directions(prototypes, 16)
    np.testing.assert_allclose(directions.T @ directions, np.eye(16), atol=1e-5)
    kept = ((prototypes @ directions) ** 2).sum()
    values = np.linalg.svd(prototypes, compute_uv=False)
    assert kept >= 0.98 * (values[:16] ** 2).sum()
