"""Real headers that differ in one pin, told apart by laying them over each other."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime import verification
from partsight.runtime.images import Pixels
from partsight.runtime.references import References, decode_reference, encode_reference
from partsight.runtime.verification import VerificationSpec, Verified, verify
from tests.laid import as_compared, golden, laid

PARTS = [
    *(f"PinHeader_1x{pins}_P2.00mm_Horizontal" for pins in (11, 12, 13, 15)),
    *(f"PinSocket_1x{pins}_P2.00mm_Horizontal" for pins in (10, 11, 12, 13)),
    "PinHeader_1x12_P2.54mm_Horizontal",
    "PinHeader_1x13_P2.54mm_Horizontal",
]
HEADER_12 = 1
SPEC = VerificationSpec(height=192, width=192)
TIED = np.zeros(len(PARTS), np.float32)


@pytest.fixture(scope="module")
def images(example_parts: Path) -> list[Pixels]:
    return [golden(example_parts, part) for part in PARTS]


@pytest.fixture(scope="module")
def references(images: list[Pixels]) -> References:
    return References(stored(images), (192, 192))


def stored(images: list[Pixels]) -> Callable[[int], Pixels]:
    """Golden images as a package holds them."""
    return lambda index: decode_reference(encode_reference(as_compared(images[index])), "here")


class Counted(References):
    """References that say which were looked at."""

    def __init__(self, images: list[Pixels]) -> None:
        super().__init__(stored(images), (192, 192))
        self.seen: set[int] = set()
        self.compared: set[int] = set()

    def __getitem__(self, index: int):
        self.seen.add(index)
        self.compared.add(index)
        return super().__getitem__(index)

    def levels(self, indices: Sequence[int]):
        self.seen.update(indices)
        return super().levels(indices)


def scores(**best: float) -> np.ndarray:
    """The network's scores: nothing but for some classes, `c3=0.5`."""
    score = TIED.copy()
    for name, value in best.items():
        score[int(name[1:])] = value
    return score


def frame_of(image: Pixels, **pose: float) -> Pixels:
    return as_compared(laid(image, **{"turn_deg": 2, "x": 0.02, "y": -0.01, **pose}))


def agreement(found: Verified, index: int) -> float:
    return dict(zip(found.classes, found.agreement, strict=True)).get(index, 0.0)


def of_header(frame: Pixels, references: References) -> float:
    """Agreement with the header of 12 pins."""
    return agreement(verify(as_compared(frame), TIED, references, SPEC), HEADER_12)


@pytest.mark.parametrize("place", range(len(PARTS)))
def test_the_right_sibling_wins_when_the_network_cannot_tell(
    images: list[Pixels], references: References, place: int
) -> None:
    for turn_deg, x, y in ((2, 0.02, -0.01), (-3, -0.03, 0.03)):
        found = verify(frame_of(images[place], turn_deg=turn_deg, x=x, y=y), TIED, references, SPEC)
        assert found.classes[0] == place
        assert found.agreement[0] > 0.7
        assert found.agreement[1] < 0.2  # one pin too many, or one too few
        assert found.margin == found.agreement[0] - found.agreement[1]
        assert found.is_accepted(0.6, SPEC)


def test_the_right_sibling_wins_although_the_network_is_wrong(images: list[Pixels], references: References) -> None:
    score = scores(c0=0.9, c1=0.7, c2=0.8, c3=0.75, c8=0.85)
    for shortlist in (5, 20):
        spec = msgspec.structs.replace(SPEC, shortlist=shortlist)
        assert verify(frame_of(images[HEADER_12]), score, references, spec).classes[0] == HEADER_12


def test_only_the_shortlist_is_looked_at(images: list[Pixels]) -> None:
    references = Counted(images)
    score = scores(c4=0.9, c2=0.8, c7=0.8, c1=0.7)
    spec = msgspec.structs.replace(SPEC, shortlist=3)
    found = verify(frame_of(images[HEADER_12]), score, references, spec)
    assert references.seen == {4, 2, 7} == set(found.classes)
    assert found.agreement[0] < 0.2


def test_finalists_are_those_that_differ_least(images: list[Pixels], references: References) -> None:
    for count in (1, 2, 5):
        spec = msgspec.structs.replace(SPEC, finalists=count)
        found = verify(frame_of(images[HEADER_12]), scores(c5=0.9, c9=0.8), references, spec)
        assert len(found.classes) == len(found.agreement) == len(found.poses) == count
        assert found.classes[0] == HEADER_12
        assert list(found.agreement) == sorted(found.agreement, reverse=True)


def test_the_golden_image_itself_agrees(images: list[Pixels], references: References) -> None:
    for place, image in enumerate(images):
        found = verify(as_compared(image), TIED, references, SPEC)
        assert found.classes[0] == place
        assert 0.9 < found.agreement[0] <= 1  # the reference is a JPEG
    uncompressed = References(lambda index: as_compared(images[index]), (192, 192))
    assert verify(as_compared(images[0]), TIED, uncompressed, SPEC).agreement[0] == pytest.approx(1, abs=1e-3)


def test_the_pose_is_the_true_one(images: list[Pixels], references: References) -> None:
    pose = verify(frame_of(images[HEADER_12], turn_deg=3, x=0.03, y=-0.02), TIED, references, SPEC).poses[0]
    assert [pose.x, pose.y] == pytest.approx([0.03, -0.02], abs=5e-4)
    assert np.rad2deg(pose.angle) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("bgr", [(0.8, 0.8, 0.8), (1.2, 1.2, 1.2), (0.9, 1, 1.1), (1.1, 1, 0.9)])
def test_brightness_and_white_balance_do_not_matter(
    images: list[Pixels], references: References, bgr: tuple[float, float, float]
) -> None:
    image = images[HEADER_12]
    other = np.clip(image * np.array(bgr), 0, 255).astype(np.uint8)
    assert of_header(other, references) > of_header(image, references) - 0.05


def test_light_that_no_line_has_matters(images: list[Pixels], references: References) -> None:
    for gain in (0.5, 0.6):
        assert of_header((images[HEADER_12] * gain).astype(np.uint8), references) < 0.4


def test_noise_and_a_little_blur_hardly_matter(images: list[Pixels], references: References) -> None:
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 3, images[HEADER_12].shape)
    noisy = np.clip(laid(images[HEADER_12], turn_deg=2, x=0.02) + noise, 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(laid(images[HEADER_12], turn_deg=2, x=0.02), (0, 0), 0.7)
    for frame in (noisy, blurred):
        assert of_header(frame, references) > 0.6


def test_another_colour_of_the_part_matters(images: list[Pixels], references: References) -> None:
    image = images[HEADER_12].copy()
    body = image.max(axis=2) < 70
    assert 0.01 < body.mean() < 0.1
    image[body] += np.array([70, 0, 0], np.uint8)  # black plastic becomes blue
    assert of_header(image, references) < of_header(images[HEADER_12], references) / 2


def without_the_last_pin(image: Pixels) -> Pixels:
    """The gold pin at the upper right is covered by tray."""
    covered, pin = image.copy(), np.array([[176, 62], [205, 72], [205, 88], [172, 72]])
    cv2.fillPoly(covered, [pin], image[40:60, 200:230].mean(axis=(0, 1)))
    assert 0.001 < (covered != image).any(axis=2).mean() < 0.01
    return covered


def test_a_missing_pin_matters(images: list[Pixels], references: References) -> None:
    image = images[HEADER_12]
    for pose in ({}, {"turn_deg": -2, "x": 0.01, "y": 0.03}):
        whole = of_header(laid(image, **pose), references)
        assert of_header(laid(without_the_last_pin(image), **pose), references) < whole / 2


def test_a_spot_on_the_part_matters(images: list[Pixels], references: References) -> None:
    image = cv2.circle(images[HEADER_12].copy(), (120, 130), 6, (240, 240, 240), -1)
    assert of_header(image, references) < 0.4


def test_another_size_matters_and_a_tilt_hardly(images: list[Pixels], references: References) -> None:
    image = images[HEADER_12]
    whole = of_header(image, references)
    for size in (1.03, 0.97):
        assert of_header(laid(image, size=size), references) < 0.6 * whole
    for tilt in ({"stretch": 0.01}, {"shear": -0.01}):
        assert of_header(laid(image, **tilt), references) > 0.85 * whole


def test_a_great_deformation_lowers_the_agreement(images: list[Pixels], references: References) -> None:
    """Though the pictures then meet: so does a header of another pitch."""
    frame = laid(images[HEADER_12], stretch=0.03)
    lenient = msgspec.structs.replace(SPEC, tolerance_tilt=100.0)
    strict = msgspec.structs.replace(SPEC, tolerance_tilt=0.005)
    found = [
        agreement(verify(as_compared(frame), TIED, references, spec), HEADER_12) for spec in (lenient, SPEC, strict)
    ]
    assert found[0] > found[1] > found[2] + 0.1


def test_tolerances_are_used(images: list[Pixels], references: References) -> None:
    frame = frame_of(images[HEADER_12])
    whole = agreement(verify(frame, TIED, references, SPEC), HEADER_12)
    for name, value in {"tolerance_levels": 1.0, "tolerance_px": 0.05}.items():
        stricter = msgspec.structs.replace(SPEC, **{name: value})
        assert agreement(verify(frame, TIED, references, stricter), HEADER_12) < whole - 0.01


CLEAR = msgspec.structs.replace(SPEC, clear_margin=0.2)


def test_a_clear_lead_is_compared_with_two_alone(images: list[Pixels]) -> None:
    references = Counted(images)
    score, frame = scores(c1=0.95, c2=0.7, c0=0.6), frame_of(images[HEADER_12])
    found = verify(frame, score, references, CLEAR, threshold=0.5)
    assert references.seen == {1, 2}
    in_full = verify(frame, score, references, SPEC, threshold=0.5)
    assert references.seen == set(range(len(PARTS)))
    assert found.classes[0] == in_full.classes[0] == HEADER_12
    assert found.agreement[0] == in_full.agreement[0]


@pytest.mark.parametrize(("lead", "count"), [(0.19, len(PARTS)), (0.21, 2)])
def test_a_lead_is_clear_from_the_margin_on(images: list[Pixels], lead: float, count: int) -> None:
    references = Counted(images)
    verify(frame_of(images[HEADER_12]), scores(c1=0.5 + lead, c2=0.5), references, CLEAR, threshold=0.5)
    assert len(references.seen) == count


def test_a_clear_lead_that_does_not_agree_is_compared_in_full(images: list[Pixels]) -> None:
    """The network is sure, and wrong."""
    references = Counted(images)
    found = verify(frame_of(images[HEADER_12]), scores(c5=0.9, c6=0.6), references, CLEAR, threshold=0.5)
    assert references.seen == set(range(len(PARTS)))
    assert found.classes[0] == HEADER_12


def test_the_hopeless_are_left_out_where_the_best_agrees(images: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    aligned: list[float] = []
    align = verification.align_middle
    monkeypatch.setattr(verification, "align_middle", lambda *args: (aligned.append(1), align(*args))[1])
    references, frame = Counted(images), frame_of(images[HEADER_12])
    spec = msgspec.structs.replace(SPEC, screened=len(PARTS) - 1)  # of fewer, none is screened
    found = verify(frame, TIED, references, spec, threshold=0.5)
    assert 2 <= len(aligned) < spec.screened
    in_full = verify(frame, TIED, References(stored(images), (192, 192)), SPEC)
    assert len(found.classes) == 2 < len(in_full.classes) == SPEC.finalists
    assert found.agreement == in_full.agreement[:2]
    assert references.compared == set(found.classes)


@pytest.mark.parametrize("screened", [3, 12])
def test_what_is_refused_was_looked_at_in_full(images: list[Pixels], screened: int) -> None:
    """The same answer as without a threshold, although it was found in two looks."""
    spec = msgspec.structs.replace(SPEC, screened=screened)
    for frame in (frame_of(images[HEADER_12]), frame_of(without_the_last_pin(images[HEADER_12]))):
        references = Counted(images)
        found = verify(frame, TIED, references, spec, threshold=0.99)
        assert found == verify(frame, TIED, references, spec)
        assert len(references.compared) == len(found.classes) == min(screened, SPEC.finalists)


def test_a_clear_lead_that_two_fit_equally_is_compared_in_full(images: list[Pixels]) -> None:
    twins = [*images[:2], images[1], *images[3:]]
    references = Counted(twins)
    found = verify(frame_of(images[1]), scores(c1=0.9, c2=0.6), references, CLEAR, threshold=0.5)
    assert len(references.seen) == len(PARTS)
    assert set(found.classes[:2]) == {1, 2}


def test_without_a_threshold_every_frame_is_compared_in_full(images: list[Pixels]) -> None:
    references = Counted(images)
    verify(frame_of(images[HEADER_12]), scores(c1=0.9), references, CLEAR)
    assert len(references.seen) == len(PARTS)


def test_what_two_golden_images_fit_equally_well_is_not_accepted(images: list[Pixels]) -> None:
    references = References(stored([images[1], images[1], images[5]]), (192, 192))
    found = verify(frame_of(images[1]), np.zeros(3, np.float32), references, SPEC)
    assert found.margin < 1e-6
    assert not found.is_accepted(0.1, SPEC)
    assert found.is_accepted(0.1, msgspec.structs.replace(SPEC, least_margin=0.0))
    assert not found.is_accepted(0.99, msgspec.structs.replace(SPEC, least_margin=0.0))


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_fewer_parts_than_the_shortlist(images: list[Pixels], references: References, classes: int) -> None:
    for spec in (SPEC, CLEAR):
        score = np.linspace(0.9, 0.1, classes).astype(np.float32)
        found = verify(frame_of(images[0]), score, references, spec, threshold=0.5)
        assert found.classes[0] == 0
        assert sorted(found.classes) == list(range(min(classes, 2)))
        assert found.is_accepted(0.5, spec)


def test_the_margin_of_one_part_is_its_agreement(images: list[Pixels], references: References) -> None:
    found = verify(frame_of(images[0]), np.zeros(1, np.float32), references, SPEC)
    assert found.margin == found.agreement[0]
    assert verify(frame_of(images[4]), np.zeros(1, np.float32), references, SPEC).agreement[0] < 0.1


def test_the_same_frame_gives_the_same_numbers(images: list[Pixels]) -> None:
    frame, score = frame_of(images[HEADER_12]), scores(c0=0.5, c3=0.5)
    before = frame.copy(), score.copy()
    first, again = (verify(frame, score, References(stored(images), (192, 192)), SPEC) for _ in range(2))
    assert first == again
    np.testing.assert_array_equal(frame, before[0])
    np.testing.assert_array_equal(score, before[1])


def test_leaders_are_on_the_shortlist_whoever_ties_for_the_rest(images: list[Pixels]) -> None:
    """Any of those, but the same each time."""
    shown = []
    for _ in range(2):
        references = Counted(images)
        spec = msgspec.structs.replace(SPEC, shortlist=4)
        verify(frame_of(images[HEADER_12]), scores(c8=0.9, c6=0.8), references, spec)
        assert {8, 6} < references.seen
        assert len(references.seen) == 4
        shown.append(references.seen)
    assert shown[0] == shown[1]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_tray_agrees_with_no_part(references: References, level: int) -> None:
    found = verify(np.full((192, 192, 3), level, np.uint8), TIED, references, SPEC)
    assert 0 < found.agreement[0] < 0.2


@pytest.mark.parametrize(
    ("golden_level", "frame_level", "expected"), [(90, 90, 1), (90, 91, 1), (0, 255, 0), (0, 0, 1)]
)
def test_even_pictures_give_numbers(golden_level: int, frame_level: int, expected: float) -> None:
    references = References(lambda _: np.full((192, 192, 3), golden_level, np.uint8), (192, 192))
    frame = np.full((192, 192, 3), frame_level, np.uint8)
    found = verify(frame, np.zeros(2, np.float32), references, SPEC)
    assert found.agreement == pytest.approx((expected, expected), abs=0.05)


@pytest.mark.parametrize("more", [(0, 128), (100, 0)])
def test_frames_need_not_be_square(images: list[Pixels], more: tuple[int, int]) -> None:
    wide = [cv2.copyMakeBorder(image, *more[:1] * 2, *more[1:] * 2, cv2.BORDER_REPLICATE) for image in images[:3]]
    height, width = as_compared(wide[0]).shape[:2]
    spec = msgspec.structs.replace(SPEC, height=height, width=width)
    references = References(stored(wide), (height, width))
    for place, image in enumerate(wide):
        found = verify(as_compared(laid(image, turn_deg=2, x=0.01)), np.zeros(3, np.float32), references, spec)
        assert found.classes[0] == place
        assert found.is_accepted(0.6, spec)


def test_real_line_frames_agree_with_their_own_part(example_parts: Path) -> None:
    """As they come from the folder of frames: never seen by any tuning of the test."""
    parts = sorted((example_parts / "line").iterdir())[::8]
    images = [golden(example_parts, part.name) for part in parts]
    references = References(stored(images), (192, 192))
    right = 0
    for place, part in enumerate(parts):
        frame = as_compared(cv2.imread(str(min(part.iterdir()))))
        right += verify(frame, np.zeros(len(parts), np.float32), references, SPEC).classes[0] == place
    assert right == len(parts)


def test_preprocessing_differs_from_the_networks_in_size_alone() -> None:
    from partsight.runtime.preprocess import PreprocessSpec, Region

    network = PreprocessSpec(224, 224, "mono", Region(1, 2, 30, 40))
    spec = VerificationSpec(height=192, width=144)
    assert spec.preprocess(network) == PreprocessSpec(192, 144, "mono", Region(1, 2, 30, 40))
