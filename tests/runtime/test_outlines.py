from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime import PackageError
from partsight.runtime.alignment import pyramid
from partsight.runtime.array_file import encode_array
from partsight.runtime.enroll import enroll
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Manifest
from partsight.runtime.outlines import OUTLINE_FILE, Outlines
from partsight.runtime.package import ModelPackage
from partsight.runtime.package_folder import MANIFEST_NAME
from partsight.runtime.references import References
from partsight.runtime.verification import VerificationSpec, verify
from tests.laid import as_compared, golden, laid
from tests.runtime.enrolling import picture, write_outlined_package

SPEC = VerificationSpec(height=192, width=192)


@pytest.fixture(scope="module")
def catalog(example_parts: Path) -> list[Pixels]:
    names = sorted(path.name for path in (example_parts / "golden").iterdir())
    return [as_compared(golden(example_parts, name)) for name in names]


@pytest.fixture(scope="module")
def outlines(catalog: list[Pixels]) -> Outlines:
    return Outlines.of(catalog)


def frame_of(image: Pixels) -> Pixels:
    return as_compared(laid(image, turn_deg=2, x=0.02, y=-0.01))


def test_a_part_is_among_the_first_of_all(catalog: list[Pixels], outlines: Outlines) -> None:
    ranks = [
        outlines.best_first(pyramid(frame_of(catalog[place]))[0], 12).index(place)
        for place in range(0, len(catalog), 5)
    ]
    assert np.mean(np.array(ranks) == 0) > 0.85


def test_line_frames_of_the_sample(example_parts: Path, outlines: Outlines) -> None:
    names = sorted(path.name for path in (example_parts / "golden").iterdir())
    frames = sorted((example_parts / "line").rglob("*.jpg"))
    assert len(frames) > 20
    ranks = []
    for path in frames:
        level = pyramid(as_compared(cv2.imread(str(path))))[0]
        ranks.append(outlines.best_first(level, SPEC.outlined).index(names.index(path.parent.name)))
    assert np.mean(np.array(ranks) == 0) > 0.8


def test_the_file_is_read_as_written(outlines: Outlines) -> None:
    count = len(outlines.values)
    read = Outlines.from_bytes(outlines.to_bytes(), count, (192, 192), "here")
    np.testing.assert_array_equal(read.values, outlines.values)
    assert read.values.dtype == np.float16
    assert read.to_bytes() == outlines.to_bytes()


def test_another_file(outlines: Outlines) -> None:
    count, data = len(outlines.values), outlines.to_bytes()
    broken = outlines.values.copy()
    broken[3, 4, 5] = np.nan
    for wrong in (data[:-1], data + b"\0", encode_array(outlines.values.astype(np.float32)), b"", data[:20]):
        with pytest.raises(PackageError, match=r"here: .*export the package again"):
            Outlines.from_bytes(wrong, count, (192, 192), "here")
    with pytest.raises(PackageError, match=r"expected float16 \(\d+, 32, 32\)"):
        Outlines.from_bytes(data, count + 1, (192, 192), "here")
    with pytest.raises(PackageError, match=r"expected float16 \(\d+, 16, 32\)"):
        Outlines.from_bytes(data, count, (96, 192), "here")
    with pytest.raises(PackageError, match="no number"):
        Outlines.from_bytes(encode_array(broken), count, (192, 192), "here")


class Counted(References):
    """References that say which were looked at."""

    def __init__(self, images: list[Pixels], outlines: Outlines | None) -> None:
        super().__init__(lambda index: images[index], (192, 192), outlines)
        self.seen: set[int] = set()

    def levels(self, indices: Sequence[int]):
        self.seen.update(indices)
        return super().levels(indices)


def scores(catalog: list[Pixels], best: int) -> np.ndarray:
    """A network's scores that rise with the class, but for one that is best."""
    score = np.linspace(0, 0.5, len(catalog)).astype(np.float32)
    score[best] = 0.9
    return score


def test_what_the_network_missed_is_found(catalog: list[Pixels], outlines: Outlines) -> None:
    """Its own part is not among the network's 32 best."""
    frame, place, score = frame_of(catalog[10]), 10, scores(catalog, 50)
    assert verify(frame, score, Counted(catalog, None), SPEC).classes[0] != place
    assert verify(frame, score, Counted(catalog, outlines), SPEC, threshold=0.5).classes[0] == place


def test_what_outlines_miss_is_found(catalog: list[Pixels], outlines: Outlines) -> None:
    spec = msgspec.structs.replace(SPEC, outlined=1)
    wrong = Outlines(np.roll(outlines.values, 1, axis=0))
    found = verify(frame_of(catalog[10]), scores(catalog, 10), Counted(catalog, wrong), spec, threshold=0.5)
    assert found.classes[0] == 10


def test_two_that_agree_are_enough(catalog: list[Pixels], outlines: Outlines) -> None:
    """With the next best of each, which may be a sibling that fits as well."""
    references = Counted(catalog, outlines)
    frame = frame_of(catalog[10])
    found = verify(frame, scores(catalog, 10), references, SPEC, threshold=0.3)
    next_best = outlines.best_first(pyramid(frame)[0], 2)[1]
    assert references.seen == {10, next_best, len(catalog) - 1}
    assert found.classes[0] == 10
    in_full = verify(frame, scores(catalog, 10), references, SPEC)  # without a threshold
    assert len(references.seen) > 5
    assert in_full.classes[0] == 10 and in_full.agreement[0] == found.agreement[0]


def test_two_that_agree_are_not_believed_where_the_golden_image_does_not_agree(
    catalog: list[Pixels], outlines: Outlines
) -> None:
    """Both judges name class 20."""
    fooled = outlines.values.copy()
    fooled[20], fooled[10] = outlines.values[10], outlines.values[20]
    references = Counted(catalog, Outlines(fooled))
    found = verify(frame_of(catalog[10]), scores(catalog, 20), references, SPEC, threshold=0.3)
    assert len(references.seen) > 5
    assert found.classes[0] != 20 or found.agreement[0] < 0.3


def test_two_that_differ_are_compared_in_full(catalog: list[Pixels], outlines: Outlines) -> None:
    """However far the network's best leads."""
    references = Counted(catalog, outlines)
    clear = msgspec.structs.replace(SPEC, clear_margin=0.1)
    found = verify(frame_of(catalog[10]), scores(catalog, 50), references, clear, threshold=0.3)
    assert len(references.seen) > 5
    assert found.classes[0] == 10


@pytest.fixture
def outlined(tmp_path: Path) -> Path:
    """A package of solid colours with outlines."""
    return write_outlined_package(tmp_path / "outlined.partsight")


def test_a_package_brings_them(outlined: Path) -> None:
    references = ModelPackage.read(outlined).references()
    assert references is not None and references.outlines is not None
    assert references.outlines.values.shape == (6, 24, 32)
    (outlined / OUTLINE_FILE).write_bytes((outlined / OUTLINE_FILE).read_bytes()[:-1] + b"\x3c")
    with pytest.raises(PackageError, match=r"outlines\.npy has SHA-256"):
        ModelPackage.read(outlined).references()


def test_a_file_that_the_manifest_does_not_name(outlined: Path) -> None:
    manifest = Manifest.from_json((outlined / MANIFEST_NAME).read_bytes(), "here")
    files = {name: sha for name, sha in manifest.files.items() if name != OUTLINE_FILE}
    (outlined / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, files=files).to_json())
    with pytest.raises(PackageError, match=r"outlines\.npy"):
        ModelPackage.read(outlined)


def test_enrolment_keeps_and_adds(outlined: Path, tmp_path: Path) -> None:
    before = ModelPackage.read(outlined).references()
    assert before is not None and before.outlines is not None
    orange = picture(tmp_path / "orange.png", (0, 128, 255))
    done = enroll(outlined, tmp_path / "new.partsight", additions={"orange": [orange]}, removals=["green"])
    done.package.verify()
    after = done.package.references()
    assert after is not None and after.outlines is not None
    old, new = ModelPackage.read(outlined).manifest.labels, done.package.manifest.labels
    for place, label in enumerate(new[:-1]):
        np.testing.assert_array_equal(after.outlines.values[place], before.outlines.values[old.index(label)])
    own = Outlines.of([done.package.reference(len(new) - 1)]).values[0]
    np.testing.assert_array_equal(after.outlines.values[-1], own)
