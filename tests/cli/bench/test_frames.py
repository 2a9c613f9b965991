"""Frames: varied golden images, and images of a folder."""

import re
from pathlib import Path

import numpy as np
import pytest

from partsight.cli.bench.frames import folder_frames, golden_frames
from partsight.runtime import FrameError, ModelPackage
from partsight.runtime.images import PreprocessSpec, Region, preprocess
from tests.tiny import tiny_matching, write_tiny_package


def test_golden_frames_show_each_part_in_turn(matching_package: Path) -> None:
    package = ModelPackage.read(matching_package)
    frames = golden_frames(package, None)
    first = [next(frames) for _ in range(6)]
    assert {frame.shape for frame in first} == {(1024, 1280, 3)}
    dominant = [tuple(frame.mean(axis=(0, 1)) > 128) for frame in first]
    assert len(set(dominant)) == 6
    assert next(golden_frames(package, (640, 480))).shape == (480, 640, 3)


@pytest.mark.parametrize("color", ["bgr", "mono"])
def test_the_part_fills_the_region(tmp_path: Path, color: str) -> None:
    """Varied copies differ, but the golden images are solid colours: within the region hardly a pixel is odd."""
    region = Region(x=1300, y=40, width=64, height=48)
    spec = PreprocessSpec(height=32, width=32, color=color, region=region)
    path = write_tiny_package(tmp_path / "region.partsight", matching=tiny_matching(), preprocess=spec)
    package = ModelPackage.read(path)
    frame = next(golden_frames(package, None))
    assert frame.shape[:2] == (1024, 1364)
    assert preprocess([frame], spec).shape == (1, 32, 32, 3)
    inside = frame[40:88, 1300:1364]
    assert np.abs(inside.astype(float) - np.median(inside, axis=(0, 1))).mean() < 30
    with pytest.raises(FrameError, match=r"640×480.*1364"):
        next(golden_frames(package, (640, 480)))


def test_frames_of_a_folder(photos: Path, tiny_package: Path) -> None:
    spec = ModelPackage.read(tiny_package).manifest.preprocess
    assert [frame.shape for frame in folder_frames(photos, spec, None)] == [(48, 64, 3)] * 4
    assert next(folder_frames(photos, spec, (100, 90))).shape == (90, 100, 3)


def test_an_image_that_does_not_fit_is_named(photos: Path) -> None:
    spec = PreprocessSpec(height=32, width=32, region=Region(x=0, y=0, width=640, height=480))
    with pytest.raises(FrameError, match=re.escape(str(photos))):
        list(folder_frames(photos, spec, None))
