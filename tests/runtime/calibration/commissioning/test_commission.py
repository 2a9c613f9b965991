import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime import CommissionError, ModelPackage, OutputError, Recognizer, read_image
from partsight.runtime.calibration import Commissioned, commission, undo_commissioning
from partsight.runtime.calibration.commissioning import REPORT_FILE, LineFrame
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from tests.runtime.calibration.commissioning.lines import LABELS, SIDE, SPEC, part, save, write_frames, write_package
from tests.tiny import write_tiny_package


def contents(package: Path) -> dict[str, bytes]:
    return {str(path.relative_to(package)): path.read_bytes() for path in package.rglob("*") if path.is_file()}


def test_frames_that_were_refused_are_recognised(package: Path, frames: Path, done: Commissioned) -> None:
    assert done.before.refused.rate > 0.5
    assert done.after.refused.rate <= 0.1
    assert done.after.wrong.hits == 0
    image = next(
        image for path in sorted(frames.rglob("*.png")) if (image := read_image(path)) is not None and path.stem == "0"
    )
    with Recognizer(package) as old, Recognizer(done.package.path) as new:
        assert (old.recognize(image).label, new.recognize(image).label) == (None, LABELS[0])


def test_network_bank_and_gallery_stay_to_the_bit(package: Path, done: Commissioned) -> None:
    old, new = contents(package), contents(done.package.path)
    assert {name for name in new if old.get(name) != new[name]} == {MANIFEST_NAME, REPORT_FILE}


def test_the_manifest_records_the_commissioning(package: Path, done: Commissioned) -> None:
    old, new = ModelPackage.examine(package), done.package.manifest
    assert old.manifest.matching is not None and new.matching is not None
    (commissioning,) = new.provenance.commissionings
    assert commissioning.from_package == old.package_id
    assert (commissioning.frames, commissioning.unknown_frames) == (30, 12)
    assert (commissioning.spec_before, commissioning.decision_before) == (SPEC, old.manifest.matching.decision)
    assert new.matching.decision.rule != old.manifest.matching.decision.rule
    assert new.matching.decision.expected_false_reject == done.after.refused.rate
    assert REPORT_FILE in new.files


def test_a_commissioning_can_be_undone(package: Path, done: Commissioned, tmp_path: Path) -> None:
    before = undo_commissioning(done.package.path, tmp_path / "before.partsight")
    old, new = contents(package), contents(before.path)
    assert {name for name in old.keys() | new if old.get(name) != new.get(name)} == set()
    with pytest.raises(CommissionError, match=re.escape(str(before.path))):
        undo_commissioning(before.path, tmp_path / "earlier.partsight")


def test_the_report_stands_alone_and_names_the_package(done: Commissioned) -> None:
    page = done.package.file_bytes(REPORT_FILE).decode()
    assert "new.partsight" in page
    assert ".partial" not in page
    assert not re.search(r"(?:src|href)=.(?!data:)", page)


def test_the_rates_are_of_frames_that_the_fit_did_not_see(done: Commissioned) -> None:
    assert (done.after.refused.total, done.after.unknown and done.after.unknown.total) == (30, 12)
    assert done.after.refused.low <= done.after.refused.rate <= done.after.refused.high


def test_frames_without_labels_are_used_if_their_part_is_clear(frames: Path, tmp_path: Path) -> None:
    package = write_package(tmp_path / "old.partsight", threshold=0.6)
    for path in sorted(frames.rglob("*.png")):
        save(tmp_path / "frames" / f"{path.parent.name}{path.name}", read_image(path))
    save(tmp_path / "frames" / "other.png", part("red", seed=9))
    done = commission(package, tmp_path / "frames", tmp_path / "new.partsight")
    assert not done.used.is_confirmed
    assert not done.package.manifest.provenance.commissionings[-1].is_confirmed
    assert done.used.taught + done.used.unclear == 31
    assert 20 <= done.used.taught <= 30
    assert done.verdict.level != "good"


def test_confirmed_frames_are_taken_as_they_are(package: Path, frames: Path, unknown: Path, tmp_path: Path) -> None:
    confirmed = [LineFrame(path, path.parent.name, "") for path in sorted(frames.rglob("*.png"))]
    foreign = [LineFrame(path, "a part of later", "") for path in sorted(unknown.rglob("*.png"))]
    done = commission(package, [*confirmed, *foreign], tmp_path / "new.partsight")
    assert (done.used.taught, done.used.unknown) == (30, 12)


def test_frames_that_are_no_fair_sample_change_no_rate(package: Path, frames: Path, tmp_path: Path) -> None:
    doubtful = {path: int(path.parent.name != "red") for path in sorted(frames.rglob("*.png"))}
    confirmed = [LineFrame(path, path.parent.name, "", stands_for) for path, stands_for in doubtful.items()]
    done = commission(package, confirmed, tmp_path / "new.partsight")
    assert (done.used.taught, done.used.unfair, done.after.refused.total) == (25, 5, 25)


def test_doubtful_frames_alone_are_refused(package: Path, frames: Path, tmp_path: Path) -> None:
    confirmed = [LineFrame(path, path.parent.name, "", 0) for path in sorted(frames.rglob("*.png"))]
    with pytest.raises(CommissionError, match="30"):
        commission(package, confirmed, tmp_path / "new.partsight")


def test_damaged_and_doubled_files_are_named(package: Path, frames: Path, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames")
    (folder / "red" / "damaged.png").write_bytes((folder / "red" / "0.png").read_bytes()[:900])
    (folder / "red" / "twice.png").write_bytes((folder / "red" / "0.png").read_bytes())
    done = commission(package, folder, tmp_path / "new.partsight")
    assert {path.name for path in done.used.faults} == {"damaged.png", "twice.png"}
    assert done.used.taught == 30


def test_frames_of_another_set_up_are_refused(frames: Path, tmp_path: Path) -> None:
    package = write_package(tmp_path / "old.partsight", threshold=0.4)
    for path in sorted(frames.rglob("*.png")):
        save(tmp_path / "turned" / path.parent.name / path.name, cv2.rotate(read_image(path), cv2.ROTATE_180))
    with pytest.raises(CommissionError, match="upside down"):
        commission(package, tmp_path / "turned", tmp_path / "new.partsight")
    assert not (tmp_path / "new.partsight").exists()


def test_golden_images_in_place_of_frames_are_noticed(package: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in LABELS:
        for number in range(5):
            noise = rng.integers(0, 2, (SIDE, SIDE, 3), np.uint8)  # no copies of one file
            save(tmp_path / "golden" / label / f"{number}.png", part(label) + noise)
    done = commission(package, tmp_path / "golden", tmp_path / "new.partsight")
    assert done.misfit
    assert done.verdict.level == "care"


def test_few_frames_are_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(CommissionError, match="12"):
        commission(package, write_frames(tmp_path / "frames", count=2), tmp_path / "new.partsight")


def test_a_package_without_golden_images_is_refused(frames: Path, tmp_path: Path) -> None:
    bare = write_tiny_package(tmp_path / "bare.partsight")
    with pytest.raises(CommissionError, match=re.escape(str(bare))):
        commission(bare, frames, tmp_path / "new.partsight")


def test_nothing_is_overwritten(package: Path, frames: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        commission(package, frames, tmp_path)


@pytest.mark.parametrize("share", [0, -0.1, 0.6, float("nan"), "much"])
def test_a_share_out_of_bounds_is_refused(package: Path, frames: Path, tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(share))):
        commission(package, frames, tmp_path / "new.partsight", max_false_reject=share)


def test_commissioning_twice_keeps_both_in_the_manifest(done: Commissioned, frames: Path, tmp_path: Path) -> None:
    again = commission(done.package.path, frames, tmp_path / "again.partsight")
    assert len(again.package.manifest.provenance.commissionings) == 2
    before = undo_commissioning(again.package.path, tmp_path / "before.partsight")
    assert before.manifest.matching == done.package.manifest.matching


def test_a_line_that_accepts_siblings_becomes_stricter(frames: Path, tmp_path: Path) -> None:
    loose = write_package(tmp_path / "loose.partsight", threshold=0.01)
    siblings = write_frames(tmp_path / "siblings", count=2, spots=15)
    done = commission(loose, frames, tmp_path / "new.partsight", unknown=siblings)
    assert done.before.unknown is not None and done.after.unknown is not None
    assert done.after.unknown.rate < done.before.unknown.rate
