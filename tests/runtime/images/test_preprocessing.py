from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime.core.errors import FrameError
from partsight.runtime.images.preprocessing import (
    PreprocessSpec,
    Region,
    check_frame,
    preprocess,
    preprocess_sizes,
    resize,
)

SPEC = PreprocessSpec(height=24, width=32)
MONO = PreprocessSpec(height=24, width=32, color="mono")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "interpolation"),
    [
        (47, 63, cv2.INTER_AREA),
        (40, 150, cv2.INTER_AREA),
        (24, 32, cv2.INTER_AREA),
        (24, 500, cv2.INTER_AREA),
        (10, 11, cv2.INTER_LINEAR),
        (23, 500, cv2.INTER_LINEAR),
        (500, 31, cv2.INTER_LINEAR),
        (1, 1, cv2.INTER_LINEAR),
    ],
)
def test_equals_opencv(height: int, width: int, interpolation: int) -> None:
    frame = noise(height, width, 3)
    batch = preprocess([frame], SPEC)
    np.testing.assert_array_equal(batch, cv2.resize(frame, (32, 24), interpolation=interpolation)[None])
    assert batch.dtype == np.uint8


def test_frame_of_the_networks_size_is_not_changed() -> None:
    frame = noise(24, 32, 3)
    np.testing.assert_array_equal(preprocess([frame], SPEC)[0], frame)


def test_shrinking_averages_the_area() -> None:
    frame = noise(48, 64, 3)
    mean = frame.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(preprocess([frame], SPEC)[0] - mean).max() <= 0.5


def smooth(height: int, width: int, *channels: int) -> np.ndarray:
    """A picture with edges, as sharp as a lens draws them, and the noise of a sensor."""
    rng = np.random.default_rng(height + width)
    coarse = rng.integers(40, 216, (12, 16, *channels), dtype=np.uint8)  # twice the size of a pixel of the result
    frame = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)
    return (frame + rng.normal(0, 3, frame.shape)).clip(0, 255).astype(np.uint8)


LARGE = [(48, 64), (49, 65), (96, 129), (97, 300), (192, 256), (200, 333), (480, 640), (768, 1024), (1024, 1280)]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", LARGE)
def test_large_frames_come_out_as_the_mean_over_the_area(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    frame = smooth(*size, *channels)
    out = np.empty((24, 32, *channels), np.uint8)
    resize(frame, [out])
    difference = np.abs(out.astype(int) - cv2.resize(frame, (32, 24), interpolation=cv2.INTER_AREA))
    assert difference.mean() <= 1  # halving rounds up, an eighth of a grey level each time
    assert difference.max() <= 6


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", LARGE)
def test_no_line_of_a_large_frame_is_left_out(size: tuple[int, int], axis: int) -> None:
    """A line as wide as a quarter of a pixel of the result is seen wherever it lies, and counts for what it is."""
    wide = max(2, size[axis] // (24, 32)[axis] // 4)
    weights = []
    for start in range(0, size[axis] - wide, max(1, size[axis] // 97)):
        frame = np.zeros(size, np.uint8)
        line = slice(start, start + wide)
        frame[(line, slice(None)) if axis == 0 else (slice(None), line)] = 255
        out = np.empty((24, 32), np.uint8)
        resize(frame, [out])
        weights.append(out.sum(dtype=int) / out.size * size[axis] / 255 / wide)
    assert min(weights) >= 0.4
    assert max(weights) <= 1.6
    assert np.mean(weights) == pytest.approx(1, abs=0.05)


def test_order_and_sizes_of_a_batch() -> None:
    frames = [noise(24 + 9 * index, 90 - 7 * index, 3) for index in range(6)]
    batch = preprocess(frames, SPEC)
    assert batch.shape == (6, 24, 32, 3)
    for row, frame in zip(batch, frames, strict=True):
        np.testing.assert_array_equal(row, preprocess([frame], SPEC)[0])


def test_no_frames() -> None:
    assert preprocess([], SPEC).shape == (0, 24, 32, 3)


def test_read_only_frames_are_taken_and_never_changed() -> None:
    frame = noise(60, 70, 3)
    before = frame.copy()
    frame.flags.writeable = False
    preprocess([frame], SPEC)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("spec", [SPEC, MONO])
@pytest.mark.parametrize("size", [(60, 70), (24, 32), (5, 6)])
def test_out_is_written_in_place(spec: PreprocessSpec, size: tuple[int, int]) -> None:
    frames = [noise(*size, 3) if spec.color == "bgr" else noise(*size) for _ in range(2)]
    out = np.full((4, 24, 32, 3), 77, np.uint8)
    batch = preprocess(frames, spec, out)
    assert batch.base is out
    assert batch.__array_interface__["data"] == out.__array_interface__["data"]
    np.testing.assert_array_equal(out[:2], preprocess(frames, spec))
    assert (out[2:] == 77).all()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 24, 32, 3), np.uint8),
        np.zeros((2, 32, 24, 3), np.uint8),
        np.zeros((2, 24, 32, 1), np.uint8),
        np.zeros((2, 24, 32, 3), np.float32),
        np.zeros((2, 24, 64, 3), np.uint8)[:, :, ::2],
    ],
    ids=["too few", "turned", "channels", "dtype", "view"],
)
def test_out_that_cannot_be_written_in_place_is_refused(out: Any) -> None:
    with pytest.raises(ValueError, match=r"\(at least 2, 24, 32, 3\)"):
        preprocess([noise(60, 70, 3)] * 2, SPEC, out)


def test_mono_fills_all_channels() -> None:
    frame = noise(60, 70)
    expected = np.empty((24, 32), np.uint8)
    resize(frame, [expected])
    batch = preprocess([frame], MONO)
    for channel in range(3):
        np.testing.assert_array_equal(batch[0, :, :, channel], expected)


@pytest.mark.parametrize("color", ["bgr", "mono"])
def test_region_is_cropped_before_the_resize(color: Any) -> None:
    spec = PreprocessSpec(24, 32, color, Region(x=5, y=10, width=40, height=50))
    frame = noise(60, 45, 3) if color == "bgr" else noise(60, 45)  # the region touches both far edges
    crop = np.ascontiguousarray(frame[10:60, 5:45])
    np.testing.assert_array_equal(preprocess([frame], spec), preprocess([crop], PreprocessSpec(24, 32, color)))


def test_region_chooses_the_interpolation() -> None:
    spec = PreprocessSpec(24, 32, region=Region(x=0, y=0, width=16, height=12))
    frame = noise(100, 100, 3)
    expected = cv2.resize(np.ascontiguousarray(frame[:12, :16]), (32, 24), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(preprocess([frame], spec)[0], expected)


VIA = (40, 48)


def spec_via(height: int, width: int, color: Any = "bgr", region: Region | None = None) -> PreprocessSpec:
    return PreprocessSpec(height, width, color, region, via=VIA)


@pytest.mark.parametrize(
    ("size", "interpolation"),
    [
        ((24, 32), cv2.INTER_LINEAR),
        ((40, 32), cv2.INTER_LINEAR),
        ((21, 48), cv2.INTER_LINEAR),
        ((20, 32), cv2.INTER_AREA),
        ((24, 24), cv2.INTER_AREA),
        ((10, 12), cv2.INTER_AREA),
    ],
)
@pytest.mark.parametrize("color", ["bgr", "mono"])
@pytest.mark.parametrize("region", [None, Region(x=10, y=3, width=160, height=170)])
def test_second_step_is_bilinear_unless_that_skips_pixels(
    size: tuple[int, int], interpolation: int, color: Any, region: Region | None
) -> None:
    frame = noise(181, 300, 3) if color == "bgr" else noise(181, 300)
    first = preprocess([frame], PreprocessSpec(*VIA, color, region))[0]
    expected = cv2.resize(first, size[::-1], interpolation=interpolation)
    np.testing.assert_array_equal(preprocess([frame], spec_via(*size, color, region))[0], expected)


@pytest.mark.parametrize("color", ["bgr", "mono"])
@pytest.mark.parametrize("size", [(200, 333), (40, 48), (30, 200), (200, 30), (10, 10)])
def test_via_of_the_inputs_size_is_the_straight_way(size: tuple[int, int], color: Any) -> None:
    frame = noise(*size, 3) if color == "bgr" else noise(*size)
    straight = PreprocessSpec(*VIA, color)
    np.testing.assert_array_equal(preprocess([frame], spec_via(*VIA, color)), preprocess([frame], straight))


@pytest.mark.parametrize("size", [(39, 300), (300, 47), (24, 32), (10, 10)])
def test_a_frame_smaller_than_via_goes_straight(size: tuple[int, int]) -> None:
    frame = noise(*size, 3)
    np.testing.assert_array_equal(preprocess([frame], spec_via(24, 32)), preprocess([frame], SPEC))


@pytest.mark.parametrize("color", ["bgr", "mono"])
@pytest.mark.parametrize("region", [None, Region(x=3, y=5, width=60, height=50)])
@pytest.mark.parametrize("size", [(60, 70), (480, 640)])
@pytest.mark.parametrize("others", [[], [PreprocessSpec(40, 48)], [PreprocessSpec(20, 20, via=(30, 20))]])
def test_shared_calls_give_the_pixels_of_separate_ones(
    size: tuple[int, int], region: Region | None, color: Any, others: list[PreprocessSpec]
) -> None:
    frames = [noise(size[0] + index, size[1], *([3] if color == "bgr" else [])) for index in range(2)]
    specs = [PreprocessSpec(24, 32), spec_via(24, 32), spec_via(*VIA), spec_via(40, 20), *others]
    specs = [msgspec.structs.replace(spec, color=color, region=region) for spec in specs]
    outs = [np.empty((2, spec.height, spec.width, 3), np.uint8) for spec in specs]
    preprocess_sizes(frames, specs, outs)
    for out, spec in zip(outs, specs, strict=True):
        np.testing.assert_array_equal(out, preprocess(frames, spec))


@pytest.mark.parametrize("specs", [[(24, 32), (40, 48)], [(40, 48), (24, 32)], [(24, 48), (40, 32)]])
@pytest.mark.parametrize("color", ["bgr", "mono"])
def test_the_frame_is_passed_over_once(
    specs: list[tuple[int, int]], color: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = noise(45, 60, 3) if color == "bgr" else noise(45, 60)  # too small for more than one step to VIA
    sources: list[tuple[int, ...]] = []
    opencv = cv2.resize
    monkeypatch.setattr(
        cv2, "resize", lambda image, *args, **kw: (sources.append(image.shape), opencv(image, *args, **kw))[1]
    )
    preprocess_sizes(
        [frame], [spec_via(*size, color) for size in specs], [np.empty((1, *size, 3), np.uint8) for size in specs]
    )
    assert sources.count(frame.shape) == 1


@pytest.mark.parametrize("via", [(23, 32), (24, 31), (1, 1), (200, 31)])
def test_via_is_at_least_the_inputs_size(via: tuple[int, int]) -> None:
    match = rf"\({via[0]}, {via[1]}\).*\(24, 32\)"
    with pytest.raises(ValueError, match=match):
        PreprocessSpec(24, 32, via=via)
    with pytest.raises(ValueError, match=match):
        msgspec.structs.replace(spec_via(40, 48), height=24, width=32, via=via)
    with pytest.raises(msgspec.ValidationError, match=match):
        msgspec.convert({"height": 24, "width": 32, "via": via}, PreprocessSpec)


BAD_FRAMES = {
    "empty": (np.zeros((0, 40, 3), np.uint8), SPEC, r"\(0, 40, 3\)"),
    "mono for colour": (np.zeros((40, 40), np.uint8), SPEC, r"mono.*\(40, 40\).*BGR8"),
    "colour for mono": (np.zeros((40, 40, 3), np.uint8), MONO, r"colour.*\(40, 40, 3\).*Mono8"),
    "mirrored": (np.zeros((40, 40, 3), np.uint8)[:, ::-1], SPEC, "strides.*ascontiguousarray"),
    "cropped": (np.zeros((40, 40, 3), np.uint8)[:, 2:], SPEC, "strides.*ascontiguousarray"),
    "transposed": (np.zeros((40, 40), np.uint8)[:, ::2], MONO, "strides"),
}


@pytest.mark.parametrize(("frame", "spec", "message"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frames(frame: object, spec: PreprocessSpec, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        check_frame(frame, spec)
    with pytest.raises(FrameError, match="expected"):
        preprocess([frame], spec)


@pytest.mark.parametrize(("height", "width"), [(59, 45), (60, 44)])
def test_region_outside_the_frame(height: int, width: int) -> None:
    spec = PreprocessSpec(24, 32, region=Region(x=5, y=10, width=40, height=50))
    with pytest.raises(FrameError, match=f"{width}×{height} px.*45×60 px"):
        preprocess([noise(height, width, 3)], spec)


@pytest.mark.parametrize(("height", "width"), [(59, 60), (600, 800), (80, 60)])
def test_a_frame_of_another_size_than_the_golden_images_where_a_region_is_cut(height: int, width: int) -> None:
    spec = PreprocessSpec(24, 32, region=Region(x=5, y=10, width=40, height=50), golden_hw=(60, 80))
    with pytest.raises(FrameError, match=f"{width}×{height} px.*80×60 px"):
        preprocess([noise(height, width, 3)], spec)
    fits = noise(60, 80, 3)
    np.testing.assert_array_equal(
        preprocess([fits], spec), preprocess([fits], msgspec.structs.replace(spec, golden_hw=None))
    )
    check_frame(noise(height, width, 3), PreprocessSpec(24, 32, golden_hw=(60, 80)))


def test_the_bad_frame_of_several_is_named() -> None:
    frames = [noise(40, 40, 3), noise(40, 40, 3), noise(40, 40)]
    with pytest.raises(FrameError, match=r"frame 2 of 3: .*\(40, 40\)"):
        preprocess(frames, SPEC)
