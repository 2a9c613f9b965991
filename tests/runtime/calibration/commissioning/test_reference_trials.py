from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime import Recognizer, read_image
from partsight.runtime.calibration import commission, undo_commissioning
from partsight.runtime.calibration.variation import vary
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.matching import GRAPH_FILE
from tests.runtime.calibration.commissioning.lines import LABELS, LINE, part, save, write_frames, write_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight", threshold=0.3)


def worn(label: str) -> Pixels:
    """A part that looks different on the line: its upper spots have faded."""
    image = part(label)
    pale = cv2.GaussianBlur(image, (0, 0), 12)
    share = np.clip((70 - np.arange(len(image))) / 20, 0, 1)[:, None, None]
    return np.rint(pale * share + image * (1 - share)).astype(np.uint8)


def write_line(folder: Path, worn_frames: int) -> Path:
    """Frames of all parts; one part is worn."""
    write_frames(folder, labels=LABELS[1:])
    rng = np.random.default_rng(3)
    for number in range(worn_frames):
        save(folder / LABELS[0] / f"{number}.png", vary(worn(LABELS[0]), LINE, rng))
    return folder


def test_a_frame_of_a_part_that_changed_becomes_a_reference(package: Path, tmp_path: Path) -> None:
    done = commission(package, write_line(tmp_path / "line", 5), tmp_path / "new.partsight", max_false_reject=0.2)
    added = [trial for trial in done.trials if trial.added]
    assert [trial.label for trial in added] == [LABELS[0]]
    assert added[0].fixed >= 3
    assert done.used.references == len(added[0].added)
    manifest = done.package.manifest
    assert manifest.matching is not None
    assert len(manifest.matching.further[LABELS[0]]) == len(added[0].added)
    assert manifest.provenance.commissionings[-1].further == {LABELS[0]: len(added[0].added)}
    frame = vary(worn(LABELS[0]), LINE, np.random.default_rng(11))
    with Recognizer(package) as old, Recognizer(done.package.path) as new:
        assert (old.recognize(frame).label, new.recognize(frame).label) == (None, LABELS[0])


def test_references_go_away_with_undo(tmp_path: Path) -> None:
    package = write_package(tmp_path / "old.partsight", threshold=0.3, has_graph=True)
    done = commission(package, write_line(tmp_path / "line", 5), tmp_path / "new.partsight", max_false_reject=0.2)
    assert (done.package.path / GRAPH_FILE).read_bytes() != (package / GRAPH_FILE).read_bytes()
    before = undo_commissioning(done.package.path, tmp_path / "before.partsight")
    old = {str(path.relative_to(package)): path.read_bytes() for path in package.rglob("*") if path.is_file()}
    assert {name: (before.path / name).read_bytes() for name in old} == old
    assert {str(path.relative_to(before.path)) for path in before.path.rglob("*") if path.is_file()} == set(old)


def test_a_frame_that_nobody_confirmed_becomes_no_reference(package: Path, tmp_path: Path) -> None:
    line = write_line(tmp_path / "line", 5)
    for path in sorted(line.rglob("*.png")):
        save(tmp_path / "open" / f"{path.parent.name}{path.name}", read_image(path))
    assert commission(package, tmp_path / "open", tmp_path / "new.partsight", max_false_reject=0.2).trials == ()


def test_a_single_frame_becomes_no_reference(package: Path, tmp_path: Path) -> None:
    done = commission(package, write_line(tmp_path / "line", 1), tmp_path / "new.partsight", max_false_reject=0.2)
    assert LABELS[0] not in {trial.label for trial in done.trials}
    assert done.package.manifest.matching is not None
    assert LABELS[0] not in done.package.manifest.matching.further


def test_a_reference_that_lets_unknown_parts_in_is_not_added(package: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for number in range(3):
        save(tmp_path / "other" / f"{number}.png", vary(worn(LABELS[0]), LINE, rng))
    line = write_line(tmp_path / "line", 5)
    done = commission(package, line, tmp_path / "new.partsight", unknown=tmp_path / "other", max_false_reject=0.2)
    assert [trial for trial in done.trials if trial.added] == []
    assert LABELS[0] in {trial.label for trial in done.trials if trial.reason}


def test_a_line_that_fits_gets_no_references(package: Path, tmp_path: Path) -> None:
    done = commission(package, write_frames(tmp_path / "line"), tmp_path / "new.partsight")
    assert [trial for trial in done.trials if trial.added] == []
