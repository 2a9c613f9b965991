"""Batches of a commissioning: other processes give the same frames, answers and package to the bit."""

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import ModelPackage, PackageError, Recognizer
from partsight.runtime.calibration.commissioning import commission, read_line_frames
from partsight.runtime.calibration.commissioning.batches import MatchBatch, ReadBatch
from partsight.runtime.calibration.commissioning.line_answers import SeenFrames, answer, see
from partsight.runtime.core import BatchMap, map_here
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.matching import Bank
from partsight.runtime.package.manifest import Manifest
from partsight.runtime.recognition import load_bank
from tests.pickled import map_pickled
from tests.runtime.calibration.commissioning.lines import LABELS, SPEC, part, save, write_package


@pytest.fixture(scope="module")
def mixed(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, with a copy, a grey frame and a file that is no image among them."""
    folder = Path(shutil.copytree(frames, tmp_path_factory.mktemp("mixed") / "frames"))
    first = sorted((folder / "red").iterdir())[0]
    shutil.copy(first, folder / "red" / "copy.png")
    save(folder / "blue" / "grey.png", part("blue")[:, :, 0])
    (folder / "cyan" / "broken.png").write_bytes(b"\x89PNG")
    return folder


def seen_by(package: Path, frames: Path, run: BatchMap = map_here) -> SeenFrames:
    with Recognizer(package, batch_size=32) as recognizer:
        return see(recognizer, read_line_frames(frames, LABELS), SPEC, run, package)


def equal(one: object, other: object) -> bool:
    """Return whether two dataclasses have the same values, arrays to the bit."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return all(np.array_equal(*pair) if isinstance(pair[0], np.ndarray) else pair[0] == pair[1] for pair in pairs)


def test_another_process_reads_the_same_frames(package: Path, mixed: Path) -> None:
    here = seen_by(package, mixed)
    assert len(here.faults) == 3
    assert equal(here, seen_by(package, mixed, map_pickled))


@pytest.mark.parametrize("is_sent", [False, True])
def test_another_process_gives_the_same_answers(is_sent: bool, package: Path, mixed: Path) -> None:
    seen, bank = seen_by(package, mixed), Bank.of(load_bank(ModelPackage.read(package)).records)
    here = answer(seen, bank, SPEC)
    there = answer(seen, bank, SPEC, run=map_pickled, package=None if is_sent else package)
    for one, other in ((here.taught, there.taught), (here.left_out, there.left_out)):
        assert all(np.array_equal(*pair) for pair in zip(one.arrays, other.arrays, strict=True))


def test_the_references_of_a_package_are_not_sent(package: Path) -> None:
    bank = Bank.of(load_bank(ModelPackage.read(package)).records)
    assert MatchBatch(SPEC, bank, package).__getstate__()["bank"] is None
    assert MatchBatch(SPEC, bank, None).__getstate__()["bank"] is bank


def test_the_package_is_the_same(package: Path, mixed: Path, unknown: Path, tmp_path: Path) -> None:
    manifests = []
    for name, options in (("here", {}), ("there", {"run": map_pickled})):
        done = commission(package, mixed, tmp_path / f"{name}.partsight", unknown=unknown, **options)
        manifest = Manifest.from_json((done.package.path / MANIFEST_NAME).read_bytes(), name)
        manifests.append((manifest.matching, manifest.decision, done.after, done.used))
    assert manifests[0] == manifests[1]


def test_a_machine_with_another_package_is_refused(package: Path, frames: Path, tmp_path: Path) -> None:
    other = write_package(tmp_path / "other.partsight", threshold=0.5)
    work = ReadBatch(SPEC, other, ModelPackage.read(package).package_id, None)
    with pytest.raises(PackageError, match="share"):
        work(sorted((frames / "red").iterdir()))
