"""Matching tells real parts apart; an independent reference confirms each answer."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.image_file import read_image
from partsight.runtime.matching import Bank, Matcher, Matches, MatchingSpec, Rule, match, prepare_all
from partsight.runtime.matching import matcher as module
from partsight.runtime.matching.matcher import lead_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.parallax import Parallax
from partsight.runtime.matching.poses import Poses
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image
from tests.laid import as_compared, golden, laid, matrix_at
from tests.reference_matching import ReferenceMatcher
from tests.runtime.matching.headers import (
    HEADER_12,
    HEADERS,
    SPEC,
    agreement_with,
    bank_of,
    frame_of,
    images_of,
    match_one,
    matcher_of,
    tied,
)

THRESHOLD = 0.3
"""About that of packages of these parts."""

MAX_PARALLAX_PX = 2e-3
"""What rounding makes of the parallax of a golden image that fits a frame badly."""


@pytest.fixture(scope="module")
def images(example_parts: Path) -> list[Pixels]:
    return images_of(example_parts)


@pytest.fixture(scope="module")
def matcher(images: list[Pixels]) -> Matcher:
    return matcher_of(images)


def with_spec(matcher: Matcher, **changes: object) -> Matcher:
    return Matcher(matcher.bank, msgspec.structs.replace(matcher.spec, **changes))


def scores(**best: float) -> np.ndarray:
    """The network's scores of a frame: nothing but for some classes, `c3=0.5`."""
    score = np.zeros(len(HEADERS), np.float32)
    for name, value in best.items():
        score[int(name[1:])] = value
    return score


def assert_alike(found: Matches, expected: Matches, atol: float = 1e-5) -> None:
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.references, expected.references)
    np.testing.assert_allclose(found.agreement, expected.agreement, atol=atol)
    np.testing.assert_allclose(np.array(found.poses.values), np.array(expected.poses.values), atol=atol)
    np.testing.assert_allclose(found.lead, expected.lead, atol=atol)
    for name in ("right", "down"):  # in pixels
        found_px, expected_px = getattr(found.parallax, name), getattr(expected.parallax, name)
        np.testing.assert_allclose(found_px, expected_px, atol=MAX_PARALLAX_PX if atol else 0)


def some(matches: Matches, index: Sequence[int]) -> Matches:
    """The answers to some of the frames."""
    rows = list(index)
    poses = type(matches.poses)(*(values[rows] for values in matches.poses.values))
    parallax = Parallax(matches.parallax.right[rows], matches.parallax.down[rows])
    return Matches(
        matches.classes[rows], matches.agreement[rows], poses, matches.references[rows], parallax, matches.lead[rows]
    )


def test_the_right_sibling_wins_when_the_network_scores_all_alike(images: list[Pixels], matcher: Matcher) -> None:
    frames = np.stack([frame_of(image) for image in images])
    found = matcher.match(frames, tied(matcher, len(images)))
    assert found.classes[:, 0].tolist() == list(range(len(images)))
    assert found.is_accepted(Rule(0.6), SPEC).all()
    np.testing.assert_array_equal(found.margin, found.agreement[:, 0] - found.agreement[:, 1])
    assert (np.diff(found.agreement, axis=1) <= 0).all()
    np.testing.assert_array_equal(matcher.bank.class_of[found.references], found.classes)


def test_the_right_sibling_wins_although_the_network_is_wrong(images: list[Pixels], matcher: Matcher) -> None:
    score = scores(c0=0.9, c1=0.1, c2=0.8, c3=0.75, c8=0.85)
    assert match_one(matcher, frame_of(images[HEADER_12]), score).classes[0, 0] == HEADER_12


def test_what_neither_thumbnails_nor_the_network_name_is_not_compared(images: list[Pixels], matcher: Matcher) -> None:
    few = with_spec(matcher, by_thumbnail=0, by_network=3)
    found = match_one(few, frame_of(images[HEADER_12]), scores(c4=0.9, c2=0.8, c7=0.7, c1=0.6))
    assert sorted(found.classes[0].tolist()) == [2, 4, 7]
    assert found.agreement[0, 0] < 0.2
    by_thumbnail = with_spec(matcher, by_thumbnail=1, by_network=1)
    assert match_one(by_thumbnail, frame_of(images[HEADER_12]), scores(c4=0.9)).classes[0, 0] == HEADER_12


@pytest.mark.parametrize("count", [1, 2, 5, 10, 20])
def test_finalists(images: list[Pixels], matcher: Matcher, count: int) -> None:
    found = match_one(with_spec(matcher, finalists=count), frame_of(images[HEADER_12]), scores(c5=0.9, c9=0.8))
    assert found.classes.shape == found.agreement.shape == found.poses.x.shape == (1, min(count, len(HEADERS)))
    assert found.classes[0, 0] == HEADER_12
    assert len(set(found.classes[0].tolist())) == found.classes.shape[1]


def test_the_largest_counts_fit_into_opencvs_images(images: list[Pixels], matcher: Matcher) -> None:
    """As many as a manifest may ask for, of a batch that one thread works on at once: one more is refused."""
    largest = {"by_thumbnail": 64, "by_network": 64, "finalists": 16}
    spec = msgspec.structs.replace(matcher.spec, **largest)
    pictures = [cv2.resize(image, spec.size_hw[::-1]) for image in images] * (64 // len(images) + 1)
    bank = Bank.of(prepare_all(pictures, range(len(pictures))))
    frames = np.stack(pictures[:1] * 8)
    matches = match(frames, np.zeros((8, bank.classes), np.float32), bank, spec, ArrayOperations())
    assert matches.agreement.shape == (8, 16)
    assert matches.agreement[:, 0].min() > 0.9
    for name, value in largest.items():
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(msgspec.to_builtins(spec) | {name: value + 1}, MatchingSpec)


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("by_thumbnail", [0, 1, 16])
def test_few_parts(images: list[Pixels], classes: int, by_thumbnail: int) -> None:
    few = with_spec(matcher_of(images[:classes]), by_thumbnail=by_thumbnail)
    score = np.linspace(0.9, 0.1, classes).astype(np.float32)
    for index in range(classes):
        found = match_one(few, frame_of(images[index]), score)
        assert found.classes[0, 0] == index
        assert sorted(found.classes[0].tolist()) == list(range(classes))
        assert found.is_accepted(Rule(0.5), few.spec).all()


def test_the_margin_of_one_part_is_its_agreement(images: list[Pixels]) -> None:
    one = matcher_of(images[:1])
    found = match_one(one, frame_of(images[0]))
    assert found.margin.tolist() == found.agreement[:, 0].tolist()
    assert match_one(one, frame_of(images[4])).agreement[0, 0] < 0.1


def test_what_two_golden_images_fit_equally_well_is_not_accepted(images: list[Pixels]) -> None:
    twins = matcher_of([images[1], images[1], images[5]])
    found = match_one(twins, frame_of(images[1]))
    assert set(found.classes[0, :2].tolist()) == {0, 1}
    assert found.margin[0] < 1e-6
    assert not found.is_accepted(Rule(0.1), twins.spec)
    lenient = msgspec.structs.replace(twins.spec, least_margin=0.0)
    assert found.is_accepted(Rule(0.1), lenient)
    assert not found.is_accepted(Rule(0.99), lenient)


def matches_of(agreement: np.ndarray, lead: Sequence[float] = ()) -> Matches:
    """Matches that agree so well."""
    none = np.zeros_like(agreement)
    leads = np.array(lead or [0.0] * len(agreement), np.float32)
    return Matches(none.astype(int), agreement, Poses(*[none] * 5), none.astype(int), Parallax(none, none), leads)


def test_is_accepted() -> None:
    agreement = np.array([[0.75, 0.25], [0.5, 0.4375], [0.5, 0.5], [0.0, 0.0], [np.nan, 0.25]], np.float32)
    found = matches_of(agreement)
    spec = MatchingSpec(height=36, width=36, least_margin=0.125)
    for threshold, accepted in ((0.5, [1, 1, 0, 0, 0]), (0.75, [1, 0, 0, 0, 0]), (0.76, [0] * 5), (1e300, [0] * 5)):
        assert found.is_accepted(Rule(threshold), spec).tolist() == [bool(value) for value in accepted]
    assert found.is_accepted(Rule(-1e300), spec).tolist() == [True, True, False, False, False]
    nothing = msgspec.structs.replace(spec, least_margin=1e300)
    assert not found.is_accepted(Rule(0.0), nothing).any()


def test_the_least_margin_is_a_share_of_the_best_agreement() -> None:
    found = matches_of(np.array([[0.5, 0.4375], [0.75, 0.6875], [0.125, 0.09375], [0.5, 0.5]], np.float32))
    spec = MatchingSpec(height=36, width=36, least_margin=0.125)
    assert found.least_margin(spec).tolist() == [0.0625, 0.09375, 0.015625, 0.0625]
    assert found.is_accepted(Rule(0.1), spec).tolist() == [True, False, True, False]


AGREEMENT = np.array([[0.75, 0.25], [0.5, 0.4375], [0.5, 0.25], [0.25, 0.0]], np.float32)
LEAD = (0.5, -0.5, 0.25, 1.0)


@pytest.mark.parametrize(
    ("rule", "needed", "accepted"),
    [
        (Rule(0.5), [0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0]),
        (Rule(0.75), [0.75, 0.75, 0.75, 0.75], [1, 0, 0, 0]),
        (Rule(0.75, by_margin=1.0), [0.25, 0.6875, 0.5, 0.5], [1, 0, 1, 0]),
        (Rule(0.75, by_network=0.5), [0.5, 1.0, 0.625, 0.25], [1, 0, 0, 1]),
        (Rule(0.75, by_margin=0.5, by_network=0.5), [0.25, 0.96875, 0.5, 0.125], [1, 0, 1, 1]),
        (Rule(0.25, by_network=-1.0), [0.75, -0.25, 0.5, 1.25], [1, 1, 1, 0]),
    ],
)
def test_margin_and_network_count_together_with_the_agreement(
    rule: Rule, needed: list[float], accepted: list[int]
) -> None:
    found = matches_of(AGREEMENT, LEAD)
    assert found.needed(rule).tolist() == needed
    assert found.needed(rule).dtype == np.float32
    spec = MatchingSpec(height=36, width=36, least_margin=0.0625)
    assert found.is_accepted(rule, spec).tolist() == [bool(value) for value in accepted]


def test_no_rule_accepts_a_frame_that_two_parts_fit() -> None:
    found = matches_of(np.array([[0.875, 0.84375]], np.float32), (1.0,))
    spec = MatchingSpec(height=36, width=36, least_margin=0.0625)
    assert not found.is_accepted(Rule(0.5, by_margin=9.0, by_network=9.0), spec).any()


def test_without_a_second_the_agreement_counts_as_the_margin() -> None:
    found = matches_of(np.array([[0.5]], np.float32))
    assert found.needed(Rule(0.75, by_margin=0.5)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("score", "index", "expected"),
    [
        ([0.25, 0.75, 0.5], 1, 0.25),
        ([0.25, 0.75, 0.5], 0, -0.5),
        ([0.25, 0.75, 0.5], 2, -0.25),
        ([0.5, 0.5, 0.25], 0, 0),  # as good as another
        ([0.5, 0.5, 0.25], 1, 0),
        ([0.5, 0.5, 0.5], 2, 0),
        ([0.25, 0.5, 0.5], 0, -0.25),
        ([1.0, -1.0], 0, 1),  # clipped
        ([1.0, -1.0], 1, -1),
        ([0.75], 0, 0),  # no other class
        ([np.nan, 0.25], 1, 1),
        ([np.nan, 0.25], 0, -1),
        ([np.nan, np.nan], 0, 0),
        ([-np.inf, 0.25], 1, 1),
        ([np.inf, 0.25], 0, 0.75),
        ([np.inf, np.inf], 1, 0),
    ],
)
def test_lead_of_the_network(score: list[float], index: int, expected: float) -> None:
    found = lead_of(np.float32([score]), np.array([[index]]), ArrayOperations())
    assert found.shape == (1,) and found.dtype == np.float32
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_the_lead_is_that_of_the_class_that_agrees_best(images: list[Pixels], matcher: Matcher) -> None:
    frame = frame_of(images[HEADER_12])
    assert match_one(matcher, frame, scores(c1=0.75, c3=0.25)).lead[0] == pytest.approx(0.5)
    assert match_one(matcher, frame, scores(c1=0.25, c3=0.75)).lead[0] == pytest.approx(-0.5)


def test_an_excluded_class_has_no_lead(images: list[Pixels], matcher: Matcher) -> None:
    """A frame of a part that is left out: the network's answer must not know that part either."""
    excluded = np.zeros((1, len(HEADERS)), bool)
    excluded[0, HEADER_12] = True
    score = np.full((1, len(HEADERS)), 0.25, np.float32)
    score[0, HEADER_12] = 0.75
    found = matcher.match(frame_of(images[HEADER_12])[None], score, excluded)
    assert found.classes[0, 0] != HEADER_12
    assert found.lead[0] == 0


CLASS_OF = (0, 1, 1, 1, 2)


@pytest.fixture(scope="module")
def views(example_parts: Path) -> list[Pixels]:
    """Of class 1, three poses that no small turn makes one of the other."""
    parts = images_of(example_parts, [*HEADERS[:2], "TO-8-2"])
    turned = [np.ascontiguousarray(np.rot90(parts[1], turns)) for turns in (1, 2)]
    return [parts[0], parts[1], *turned, parts[2]]


@pytest.fixture(scope="module")
def several(views: list[Pixels]) -> Matcher:
    return matcher_of(views, CLASS_OF)


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("by_thumbnail", [0, 1, 16])
def test_the_best_reference_counts_and_its_class_is_named_once(
    views: list[Pixels], several: Matcher, index: int, by_thumbnail: int
) -> None:
    found = match_one(with_spec(several, by_thumbnail=by_thumbnail), frame_of(views[index]))
    assert found.classes[0, 0] == CLASS_OF[index]
    assert found.references[0, 0] == index
    named = found.classes[0, found.agreement[0] > 0].tolist()
    assert len(named) == len(set(named))
    assert found.is_accepted(Rule(0.6), several.spec).all()
    alone = match_one(matcher_of([views[index]]), frame_of(views[index]))
    assert found.agreement[0, 0] == pytest.approx(alone.agreement[0, 0], abs=1e-3)


def test_an_excluded_class_is_left_out_with_all_of_its_references(views: list[Pixels], several: Matcher) -> None:
    excluded = np.array([[False, True, False]])
    for index in (1, 2, 3):
        found = several.match(frame_of(views[index])[None], np.zeros((1, 3), np.float32), excluded)
        assert 1 not in found.classes[0, found.agreement[0] > 0]
        assert found.agreement[0, 0] < 0.3


def test_where_a_class_has_all_candidates_the_other_finalists_are_none(views: list[Pixels], several: Matcher) -> None:
    found = match_one(with_spec(several, by_thumbnail=1, by_network=1), frame_of(views[1]), np.float32([0, 1, 0]))
    assert found.classes[0, 0] == 1 and found.agreement[0, 0] > 0.6
    assert found.agreement[0, 1:].tolist() == [0]
    assert found.margin[0] == found.agreement[0, 0]


def test_an_excluded_class_is_not_compared(images: list[Pixels], matcher: Matcher) -> None:
    frames = np.stack([frame_of(images[HEADER_12]), frame_of(images[4])])
    excluded = np.zeros((2, len(HEADERS)), bool)
    excluded[0, HEADER_12] = True
    found = matcher.match(frames, tied(matcher, 2), excluded)
    assert HEADER_12 not in found.classes[0, found.agreement[0] > 0]
    assert found.agreement[0, 0] < 0.2
    assert found.classes[1, 0] == 4 and found.agreement[1, 0] > 0.8
    assert_alike(
        matcher.match(frames, tied(matcher, 2), np.zeros_like(excluded)), matcher.match(frames, tied(matcher, 2))
    )


def test_everything_excluded(images: list[Pixels], matcher: Matcher) -> None:
    found = matcher.match(frame_of(images[0])[None], tied(matcher, 1), np.ones((1, len(HEADERS)), bool))
    assert found.agreement.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("odd", [np.nan, -np.inf, np.inf])
def test_scores_that_are_no_numbers(images: list[Pixels], matcher: Matcher, odd: float) -> None:
    """Thumbnails still name the right part, and a class without a numeric score comes last."""
    frame = frame_of(images[HEADER_12])
    expected = match_one(matcher, frame)
    for score in (np.full(len(HEADERS), odd, np.float32), scores(c0=odd, c1=odd, c5=odd)):
        found = match_one(matcher, frame, score)
        assert found.classes[0, 0] == HEADER_12
        assert found.agreement[0, 0] == pytest.approx(expected.agreement[0, 0], abs=1e-5)
    only_network = with_spec(matcher, by_thumbnail=0, by_network=1)
    score = np.full(len(HEADERS), np.nan, np.float32)
    score[HEADER_12] = -np.inf if odd == -np.inf else 0.1
    assert match_one(only_network, frame, score).classes[0, 0] == HEADER_12


@pytest.fixture(scope="module")
def line(example_parts: Path) -> tuple[Matcher, np.ndarray, np.ndarray]:
    """A matcher of 40 parts, 19 frames of them and others, and scores."""
    names = sorted(path.name for path in (example_parts / "line").iterdir())[::5]
    frames = [min((example_parts / "line" / name).iterdir()) for name in names[:16]]
    frames += sorted((example_parts / "unknown").iterdir())[:3]
    score = np.random.default_rng(1).uniform(0, 1, (len(frames), len(names))).astype(np.float32)
    matcher = Matcher(bank_of([golden(example_parts, name) for name in names]), SPEC)
    return matcher, np.stack([as_compared(read_image(path)) for path in frames]), score


def test_answers_do_not_depend_on_size_and_order_of_batches(line: tuple[Matcher, np.ndarray, np.ndarray]) -> None:
    """Threads split batches."""
    matcher, frames, score = line
    expected = matcher.match(frames, score)
    for size in (1, 2, 3, 8, 18):
        parts = [slice(start, start + size) for start in range(0, len(frames), size)]
        for part in parts:
            assert_alike(matcher.match(frames[part], score[part]), some(expected, range(len(frames))[part]))
    order = np.random.default_rng(2).permutation(len(frames))
    assert_alike(matcher.match(frames[order], score[order]), some(expected, order.tolist()))


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
def test_answers_do_not_depend_on_the_cores(
    line: tuple[Matcher, np.ndarray, np.ndarray], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher, frames, score = line
    expected = matcher.match(frames, score)
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    assert_alike(Matcher(matcher.bank, matcher.spec).match(frames, score), expected)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17, 40, 257])
@pytest.mark.parametrize("cores", [1, 2, 8])
def test_parts_of_a_batch(count: int, cores: int) -> None:
    """All frames once, in order; all cores have work, and none more at once than fits its cache."""
    parts = list(module.parts_of(count, cores))
    assert [index for part in parts for index in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert min(sizes) >= 1 and max(sizes) <= 8 and max(sizes) - min(sizes) <= 1
    assert len(parts) >= min(count, cores)


@pytest.mark.parametrize("level", [0, 255])
def test_a_frame_does_not_depend_on_its_neighbours_in_the_stack(
    images: list[Pixels], matcher: Matcher, level: int
) -> None:
    """Not even of a part that lies at the border, where its neighbours' rows begin."""
    shown = [frame_of(images[index], y=y) for index, y in ((0, 0.1), (4, -0.1))]
    even = np.full_like(shown[0], level)
    ops = module.ArrayOperations()
    for frame in shown:
        stack, score = np.stack([even, frame, even, frame]), tied(matcher, 4)
        found = module.match(stack, score, matcher.bank, matcher.spec, ops)
        alone = module.match(frame[None], score[:1], matcher.bank, matcher.spec, ops)
        for index in (1, 3):
            assert_alike(some(found, [index]), alone)


def test_many_threads(line: tuple[Matcher, np.ndarray, np.ndarray]) -> None:
    matcher, frames, score = line
    expected = matcher.match(frames, score)
    starts = list(range(0, 16, 3)) * 4
    with ThreadPoolExecutor(8) as pool:
        all_found = list(
            pool.map(lambda start: matcher.match(frames[start : start + 3], score[start : start + 3]), starts)
        )
    for start, found in zip(starts, all_found, strict=True):
        assert_alike(found, some(expected, range(start, min(start + 3, len(frames)))))


def test_nothing_that_is_handed_in_is_changed(images: list[Pixels], matcher: Matcher) -> None:
    frames, score = np.stack([frame_of(image) for image in images[:3]]), np.zeros((3, len(HEADERS)), np.float32)
    excluded = np.zeros((3, len(HEADERS)), bool)
    records = matcher.bank.records.copy()
    records.flags.writeable = frames.flags.writeable = score.flags.writeable = excluded.flags.writeable = False
    Matcher(Bank.of(records), SPEC).match(frames, score, excluded)


def test_preloading_answers_alike(images: list[Pixels]) -> None:
    matcher, frame = matcher_of(images[:3]), frame_of(images[1])
    expected, before = match_one(matcher, frame), matcher.bank
    matcher.preload(matcher.bank.records.nbytes - 1)
    assert matcher.bank is before  # too large
    matcher.preload(matcher.bank.records.nbytes)
    assert matcher.bank is not before and not np.shares_memory(matcher.bank.records, before.records)
    assert_alike(match_one(matcher, frame), expected, atol=0)


@pytest.mark.parametrize("more", [(0, 128), (100, 0)])
def test_frames_need_not_be_square(images: list[Pixels], more: tuple[int, int]) -> None:
    wide = [cv2.copyMakeBorder(image, *more[:1] * 2, *more[1:] * 2, cv2.BORDER_REPLICATE) for image in images[:3]]
    matcher = matcher_of(wide)
    assert matcher.spec.height != matcher.spec.width
    frames = np.stack([as_compared(laid(image, turn_deg=2, x=0.01)) for image in wide])
    found = matcher.match(frames, tied(matcher, 3))
    assert found.classes[:, 0].tolist() == [0, 1, 2]
    assert found.is_accepted(Rule(0.6), matcher.spec).all()
    for frame in range(3):
        pose = matrix_at(frames.shape[1:], found.poses, frame)
        assert np.rad2deg(np.arctan2(pose[1, 0], pose[0, 0])) == pytest.approx(2, abs=0.3)


def test_the_smallest_references(images: list[Pixels]) -> None:
    small = [cv2.resize(image, (36, 36), interpolation=cv2.INTER_AREA) for image in (images[0], images[4], images[8])]
    matcher = Matcher(Bank.of(prepare_all(small, range(3))), MatchingSpec(height=36, width=36))
    found = matcher.match(np.stack(small), np.zeros((3, 3), np.float32))
    assert found.classes[:, 0].tolist() == [0, 1, 2]


def test_the_pose_is_the_true_one(images: list[Pixels], matcher: Matcher) -> None:
    found = match_one(matcher, frame_of(images[HEADER_12], turn_deg=3, x=0.03, y=-0.02))
    assert [found.poses.x[0, 0], found.poses.y[0, 0]] == pytest.approx([0.03, -0.02], abs=5e-4)
    assert np.rad2deg(found.poses.angle[0, 0]) == pytest.approx(3, abs=0.1)
    assert agreement_with(found, HEADER_12) == found.agreement[0, 0]


Frame = tuple[Pixels, int | None]
"""Frame at the size for matching, and the index of its part; None for an unknown part."""


def frames_of(folder: Path, names: Sequence[str]) -> Iterator[Frame]:
    for index, name in enumerate(names):
        paths = (folder / "line" / name).iterdir() if (folder / "line" / name).is_dir() else ()
        for path in sorted(paths):
            yield as_compared(read_image(path)), index
    for path in sorted((folder / "unknown").rglob("*.*")):
        yield as_compared(read_image(path)), None


@dataclass
class Tally:
    """Frames, and how they were answered.

    Attributes:
        count: of frames.
        alike: get the label of the independent reference, or none as of it.
        nearly: those, and frames with the same best part where agreement or margin is within 0.03 of its limit.
        lost: get their own label of the reference, and another answer of the matcher.
        right, reference_right: get their own label, or none if their part was never taught.
    """

    count: int = 0
    alike: int = 0
    nearly: int = 0
    lost: int = 0
    right: int = 0
    reference_right: int = 0


def compared(folder: Path, names: Sequence[str]) -> Tally:
    """Answer all frames of parts by both. A network that cannot tell names the right part among its best three."""
    stored = [decode_golden_image(encode_golden_image(as_compared(golden(folder, name))), name) for name in names]
    reference, matcher = ReferenceMatcher(stored), Matcher(Bank.of(prepare_all(stored, range(len(stored)))), SPEC)
    rng, tally = np.random.default_rng(0), Tally()
    for frame, own in frames_of(folder, names):
        score = rng.uniform(0, 0.5, len(names)).astype(np.float32)
        if own is not None:
            score[own] = np.sort(score)[-rng.integers(1, 4)]
        expected, found = reference.match(frame, score, THRESHOLD), match_one(matcher, frame, score)
        label = int(found.classes[0, 0]) if found.is_accepted(Rule(THRESHOLD), SPEC)[0] else None
        expected_label = expected.classes[0] if expected.accepted else None
        is_alike = label == expected_label
        is_near = abs(expected.agreement[0] - THRESHOLD) < 0.03 or expected.margin < reference.least_margin + 0.03
        tally.count += 1
        tally.alike += is_alike
        tally.nearly += is_alike or (is_near and expected.classes[0] == found.classes[0, 0])
        tally.lost += expected_label == own is not None and not is_alike
        tally.right += label == own
        tally.reference_right += expected_label == own
    return tally


def test_answers_are_those_of_the_independent_reference(example_parts: Path) -> None:
    """60 parts, their frames of a line, and frames of parts that were never taught."""
    names = sorted(path.name for path in (example_parts / "line").iterdir())[::3][:60]
    tally = compared(example_parts, names)
    assert tally.count > 100
    assert tally.alike >= 0.99 * tally.count, tally
    assert tally.lost == 0, tally


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_answers_on_all_of_a_folder_are_those_of_the_independent_reference() -> None:
    """As of the examples: `golden/PART/golden.jpg`, `line/PART/N.jpg`, `unknown/PART.jpg`."""
    if "PARTSIGHT_PARTS" not in os.environ:
        pytest.skip("set PARTSIGHT_PARTS to a folder of parts")
    folder = Path(os.environ["PARTSIGHT_PARTS"])
    tally = compared(folder, sorted(path.name for path in (folder / "golden").iterdir()))
    assert tally.nearly >= 0.998 * tally.count, tally
    assert tally.alike >= 0.995 * tally.count, tally
    assert tally.right >= 0.999 * tally.reference_right, tally
