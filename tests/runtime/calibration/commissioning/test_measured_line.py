from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.calibration.commissioning import MeasuredLine, Spread, read_line_frames
from partsight.runtime.calibration.commissioning.line_answers import answer, see
from partsight.runtime.calibration.commissioning.measured_line import measure_line, noise_of
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.recognition import load_bank
from tests.runtime.calibration.commissioning.lines import LABELS, SIDE, SPEC, part, save


def moved(image: Pixels, turn_deg: float = 0.0, shift_px: tuple[float, float] = (0, 0), scale: float = 1.0) -> Pixels:
    centre = (SIDE - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), -turn_deg, scale)
    matrix[:, 2] += shift_px
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def measured(package: Path, folder: Path, frame_of: object) -> MeasuredLine:
    for label in LABELS:
        save(folder / label / "0.png", frame_of(part(label)))  # type: ignore[operator]
    with Recognizer(package) as recognizer:
        seen = see(recognizer, read_line_frames(folder, LABELS), SPEC)
        answers = answer(seen, load_bank_of(package), SPEC)
        line = measure_line(seen, answers, [recognizer.golden_image(frame.label or "") for frame in seen.frames])
    assert line is not None
    return line


def load_bank_of(package: Path) -> object:
    from partsight.runtime import ModelPackage

    return load_bank(ModelPackage.examine(package))


def spread(line: MeasuredLine, name: str) -> Spread:
    (found,) = (spread for spread in line.spreads if spread.name == name)
    return found


def test_an_offset_of_pose_that_all_parts_share(package: Path, tmp_path: Path) -> None:
    line = measured(package, tmp_path, lambda image: moved(image, turn_deg=2, shift_px=(2.56, -1.28)))
    assert spread(line, "turn clockwise").middle == pytest.approx(2, abs=0.3)
    assert spread(line, "shift right").middle == pytest.approx(2, abs=0.4)
    assert spread(line, "shift down").middle == pytest.approx(-1, abs=0.4)
    assert spread(line, "turn clockwise").is_expected


def test_a_turn_beyond_the_range_of_training(package: Path, tmp_path: Path) -> None:
    line = measured(package, tmp_path, lambda image: moved(image, turn_deg=5))
    assert not spread(line, "turn clockwise").is_expected


def test_warmer_light(package: Path, tmp_path: Path) -> None:
    gain = np.array([0.8, 1, 1.15])
    line = measured(package, tmp_path, lambda image: np.rint(np.clip(image * gain, 0, 255)).astype(np.uint8))
    assert spread(line, "light, blue").middle == pytest.approx(np.log2(0.8), abs=0.05)
    assert spread(line, "light, green").middle == pytest.approx(0, abs=0.05)
    assert spread(line, "light, red").middle > 0.1
    assert not spread(line, "light, blue").is_expected


def test_a_camera_that_is_nearer(package: Path, tmp_path: Path) -> None:
    line = measured(package, tmp_path, lambda image: moved(image, scale=1.03))
    assert spread(line, "scale").middle == pytest.approx(1.03, abs=0.01)


def test_a_soft_lens(package: Path, tmp_path: Path) -> None:
    line = measured(package, tmp_path, lambda image: cv2.GaussianBlur(image, (0, 0), 2))
    assert spread(line, "sharpness").middle < 0.9


def test_noise_is_measured_in_grey_levels() -> None:
    clean = np.full((96, 96, 3), 128, np.float32)
    noisy = clean + 3 * np.random.default_rng(0).standard_normal(clean.shape)
    assert noise_of(np.rint(noisy).astype(np.uint8)) == pytest.approx(3, abs=0.3)
    assert noise_of(clean.astype(np.uint8)) == 0
