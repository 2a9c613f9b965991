"""Number of candidates: calibration chooses it, and enrolment raises it."""

import msgspec
import numpy as np
import pytest

from partsight.runtime.calibration import Ranks, with_candidates, with_more_candidates
from partsight.runtime.calibration.candidates import MAX_SCREENED_PARTS
from partsight.runtime.matching import MatchingSpec


def few(**counts: int) -> MatchingSpec:
    return MatchingSpec(height=48, width=66, **counts)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ([], (16, 4)),
        ([(15, 99)], (16, 4)),
        ([(99, 3)], (16, 4)),
        ([(16, 4)], (17, 4)),
        ([(30, 5)], (16, 6)),
        ([(17, 30), (40, 5)], (18, 6)),
        ([(30, 30)], (31, 4)),
        ([(900, 30)], (16, 31)),
        ([(63, 63)], (64, 4)),
        ([(62, 19), (65, 4)], (16, 20)),
        ([(64, 60)], (16, 61)),
        ([(900, 64)], (64, 64)),
    ],
)
def test_as_few_candidates_as_hold_the_right_part(missed: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    """`missed`: ranks by thumbnails and by the network, of frames that are not first with both."""
    ranks = np.array([*missed, *[(0, 0)] * (1000 - len(missed))])
    spec = MatchingSpec(height=192, width=192, least_margin=0.07)
    found = with_candidates(spec, Ranks(ranks[:, 0], ranks[:, 1]), 500)
    assert (found.by_thumbnail, found.by_network) == expected
    assert msgspec.structs.replace(found, by_thumbnail=16, by_network=4) == spec


def test_one_frame_of_two_thousand_may_be_missed() -> None:
    spec, ranks = MatchingSpec(height=192, width=192), np.zeros((2000, 2), np.intp)
    ranks[7] = 50
    assert with_candidates(spec, Ranks(*ranks.T), 500) == spec
    assert with_candidates(spec, Ranks(*ranks[:1999].T), 500).by_thumbnail == 51


def test_very_many_parts_have_no_thumbnails() -> None:
    spec, ranks = MatchingSpec(height=192, width=192), np.zeros((1000, 2), np.intp)
    assert with_candidates(spec, Ranks(*ranks.T), MAX_SCREENED_PARTS) == spec
    many = with_candidates(spec, Ranks(*ranks.T), MAX_SCREENED_PARTS + 1)
    assert (many.by_thumbnail, many.by_network) == (0, 64)


def ranks(*pairs: tuple[int, int]) -> Ranks:
    by_thumbnail, by_network = np.array(pairs, np.intp).reshape(-1, 2).T
    return Ranks(by_thumbnail, by_network)


@pytest.mark.parametrize(
    ("now", "found", "expected"),
    [
        ((16, 4), [], (16, 4)),
        ((16, 4), [(0, 0), (15, 100), (100, 3)], (16, 4)),
        ((16, 4), [(16, 30), (900, 0)], (17, 4)),
        ((16, 4), [(40, 6), (900, 0)], (16, 7)),
        ((16, 4), [(40, 6), (20, 50)], (21, 7)),
        ((16, 4), [(63, 900), (900, 63)], (64, 64)),
        ((16, 4), [(64, 64), (900, 900)], (16, 4)),
        ((100, 80), [(0, 0), (99, 79)], (100, 80)),
        ((100, 80), [(100, 80)], (100, 80)),
        ((0, 8), [(0, 7), (3, 5)], (0, 8)),
        ((0, 8), [(0, 11), (0, 64)], (0, 12)),
    ],
)
def test_fewest_more_candidates(now: tuple[int, int], found: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    spec = few(by_thumbnail=now[0], by_network=now[1])
    grown = with_more_candidates(spec, ranks(*found))
    assert grown == few(by_thumbnail=expected[0], by_network=expected[1])


def test_more_candidates_miss_one_frame_of_two_thousand() -> None:
    often = [(0, 0)] * 2100
    spec = few(by_thumbnail=16, by_network=4)
    assert with_more_candidates(spec, ranks((30, 30), *often[1000:])).by_thumbnail == 31
    assert with_more_candidates(spec, ranks((30, 30), *often)) == spec
