"""Loops of other rooms on the actors of Ray: the results of a plain loop, to the bit."""

from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.calibration.commissioning import read_line_frames
from partsight.runtime.calibration.commissioning.line_answers import answer, see
from partsight.runtime.cluster.batch import ActorPlan, RayMap
from partsight.runtime.matching import Bank
from partsight.runtime.recognition import load_bank
from tests.runtime.calibration.commissioning.lines import LABELS, SPEC, write_frames, write_package
from tests.runtime.cluster.batch.conftest import RAY_DATA_WARNS


@pytest.mark.usefixtures("ray_here")
@pytest.mark.filterwarnings(RAY_DATA_WARNS)
def test_frames_of_a_commissioning(two_actors: ActorPlan, tmp_path: Path) -> None:
    package = write_package(tmp_path / "line.partsight")
    listed = read_line_frames(write_frames(tmp_path / "frames", count=12), LABELS)
    run = RayMap(two_actors)
    with Recognizer(package, batch_size=32) as recognizer:
        here, there = see(recognizer, listed, SPEC), see(recognizer, listed, SPEC, run, package)
    assert here.frames == there.frames
    assert here.sha256 == there.sha256
    np.testing.assert_array_equal(here.pixels, there.pixels)
    np.testing.assert_array_equal(here.score, there.score)
    bank = Bank.of(load_bank(ModelPackage.read(package)).records)
    plain, shared = answer(here, bank, SPEC), answer(here, bank, SPEC, run=run, package=package)
    for one, other in ((plain.taught, shared.taught), (plain.left_out, shared.left_out)):
        for expected, found in zip(one.arrays, other.arrays, strict=True):
            np.testing.assert_array_equal(expected, found)
