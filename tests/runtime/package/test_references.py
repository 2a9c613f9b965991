"""References: a golden image of each part and further ones, in gallery, manifest and bank."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.runtime.core.errors import FrameError, PackageError
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.matching import encode_bank, prepare_all
from partsight.runtime.package import ModelPackage, add_references, unused_names
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image
from partsight.runtime.package.manifest import Enrolment
from partsight.runtime.package.references import lost_references, merge_records
from tests.tiny import COLOURS_BGR, SIDE_PX, add_further, solid, tiny_manifest, tiny_matching

ORANGE, VIOLET = (0, 128, 255), (255, 0, 128)


@pytest.fixture
def single(matching_package: Path, tmp_path: Path) -> ModelPackage:
    return ModelPackage.read(shutil.copytree(matching_package, tmp_path / "line3.partsight"))


@pytest.fixture
def several(single: ModelPackage) -> Path:
    """A package whose red has three references, and its blue two."""
    return add_further(single.path, {"red": [solid(ORANGE), solid(VIOLET)], "blue": [solid(VIOLET)]})


def edit(package: Path, change: Callable[[Any], object]) -> None:
    document = json.loads((package / "manifest.json").read_bytes())
    change(document)
    (package / "manifest.json").write_text(json.dumps(document))


def test_added_references_follow_those_that_the_part_has(single: ModelPackage) -> None:
    records = single.bank_records()
    assert records is not None
    images = {"red": [solid(ORANGE), solid(VIOLET)], "blue": [solid(VIOLET)]}
    added = add_references(single.manifest, records, images)
    assert added.matching.further == {
        "red": ("gallery/00000.jpg", "gallery/00001.jpg"),
        "blue": ("gallery/00002.jpg",),
    }
    assert added.records["class"].tolist() == [0, 0, 1, 2, 3, 4, 4, 4, 5]
    expected = [encode_golden_image(solid(colour, SIDE_PX, SIDE_PX)) for colour in (ORANGE, VIOLET, VIOLET)]
    assert list(added.files.values()) == expected
    old = added.records[[0, 2, 3, 4, 5, 8]]
    assert old.tobytes() == records.tobytes()
    of_red = prepare_all([decode_golden_image(data, "new") for data in expected[:2]], [4, 4])
    assert added.records[[6, 7]].tobytes() == of_red.tobytes()


def test_a_second_addition_keeps_the_first(several: Path) -> None:
    was = ModelPackage.read(several)
    records = was.bank_records()
    assert records is not None
    added = add_references(was.manifest, records, {"red": [solid("green")]})
    assert added.matching.further == {
        "red": ("gallery/00000.jpg", "gallery/00001.jpg", "gallery/00003.jpg"),
        "blue": ("gallery/00002.jpg",),
    }
    assert np.delete(added.records, 8).tobytes() == records.tobytes()


def test_nothing_to_add(single: ModelPackage) -> None:
    records = single.bank_records()
    assert records is not None
    added = add_references(single.manifest, records, {"red": []})
    assert (added.matching, added.files) == (single.manifest.matching, {})
    assert added.records is records


def test_references_that_do_not_fit_the_package(single: ModelPackage, tiny_package: Path) -> None:
    records = single.bank_records()
    assert records is not None
    with pytest.raises(ValueError, match="pink"):
        add_references(single.manifest, records, {"red": [], "pink": [solid("red")]})
    with pytest.raises(ValueError, match="red"):
        add_references(ModelPackage.read(tiny_package).manifest, records, {"red": [solid("red")]})
    with pytest.raises(FrameError):
        add_references(single.manifest, records, {"red": [solid("red")[:, :, 0]]})


def test_images_of_references(several: Path) -> None:
    package = ModelPackage.read(several)
    red = list(COLOURS_BGR).index("red")
    found = [package.reference_image(red, reference) for reference in range(3)]
    np.testing.assert_array_equal(found[0], package.golden_image(red))
    for image, colour in zip(found[1:], (ORANGE, VIOLET), strict=True):
        expected = decode_golden_image(encode_golden_image(solid(colour, SIDE_PX, SIDE_PX)), "expected")
        np.testing.assert_array_equal(image, expected)
    with pytest.raises(IndexError):
        package.reference_image(red, 3)
    assert package.manifest.reference_files(red + 1) == ("gallery/yellow.png",)
    package.check_hashes()


def test_an_altered_further_reference(several: Path) -> None:
    (several / "gallery/00001.jpg").write_bytes((several / "gallery/00000.jpg").read_bytes())
    package = ModelPackage.read(several)
    with pytest.raises(PackageError, match=r"gallery/00001\.jpg .*SHA-256"):
        package.reference_image(list(COLOURS_BGR).index("red"), 2)
    with pytest.raises(PackageError, match=r"gallery/00001\.jpg"):
        package.check_hashes()
    (several / "gallery/00001.jpg").unlink()
    with pytest.raises(PackageError, match=r"gallery/00001\.jpg"):
        ModelPackage.read(several)


def test_a_further_reference_without_a_hash(several: Path) -> None:
    edit(several, lambda document: document["files"].pop("gallery/00002.jpg"))
    with pytest.raises(PackageError, match=r"SHA-256 .*gallery/00002\.jpg"):
        ModelPackage.read(several)


def test_further_references_of_no_part(several: Path) -> None:
    edit(several, lambda document: document["matching"]["further"].update(pink=["gallery/00000.jpg"]))
    with pytest.raises(PackageError, match="pink"):
        ModelPackage.read(several)


@pytest.mark.parametrize(
    "rows", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 8], [0, 1, 2, 3, 4, 5, 6, 8], [0, 2, 2, 3, 4, 5, 6, 7, 8]]
)
def test_a_bank_with_another_number_of_references(several: Path, rows: list[int]) -> None:
    records = ModelPackage.read(several).bank_records()
    assert records is not None
    data = encode_bank(records[rows])
    (several / "bank.npy").write_bytes(data)
    edit(several, lambda document: document["files"].update({"bank.npy": sha256_bytes(data)}))
    with pytest.raises(PackageError, match=r"line3\.partsight: bank\.npy: .* (yellow|red|blue), "):
        ModelPackage.read(several).bank_records()


def test_each_reference_may_have_a_row(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few parts with many references have a bank that is large for their labels."""
    records = ModelPackage.read(several).bank_records()
    assert records is not None
    monkeypatch.setattr("partsight.runtime.package.package._MAX_HEADER_BYTES", 1024)
    monkeypatch.setattr("partsight.runtime.package.package._MAX_ROW_BYTES", records.itemsize)
    found = ModelPackage.read(several).bank_records()
    assert found is not None
    assert len(found) == 9
    edit(several, lambda document: document["matching"].pop("further"))
    with pytest.raises(PackageError, match=r"bank\.npy"):
        ModelPackage.read(several).bank_records()


def test_unused_names() -> None:
    assert unused_names([], 2) == ["gallery/00000.jpg", "gallery/00001.jpg"]
    assert unused_names(["gallery/00007.jpg", "gallery/x.jpg", "bank.npy"], 1) == ["gallery/00008.jpg"]


def test_merged_records_keep_their_order_within_a_class(single: ModelPackage) -> None:
    records = single.bank_records()
    assert records is not None
    first, second = np.array(records[:3]), np.array(records[3:])
    second["class"] = [1, 0, 1]
    found = merge_records(first, second)
    assert found["class"].tolist() == [0, 0, 1, 1, 1, 2]
    assert found["image"].tobytes() == records[[0, 4, 1, 3, 5, 2]]["image"].tobytes()


def test_references_that_a_bank_of_schema_version_2_had() -> None:
    sums = tuple(f"{number:064x}" for number in range(4))

    def enrolment(removed: tuple[str, ...] = (), **images: int) -> Enrolment:
        files = {label: sums[:count] for label, count in images.items()}
        return Enrolment(created="now", from_package="x", removed=removed, images=files)

    manifest = msgspec.structs.replace(tiny_manifest(), schema_version=2, matching=tiny_matching())
    enrolments = (enrolment(red=3, blue=2, cyan=2, green=1), enrolment(("cyan",), blue=1, yellow=4))
    provenance = msgspec.structs.replace(manifest.provenance, enrolments=enrolments)
    enrolled = msgspec.structs.replace(manifest, provenance=provenance)
    assert lost_references(manifest) == {}
    assert lost_references(enrolled) == {"red": 2, "yellow": 3}
    assert lost_references(msgspec.structs.replace(enrolled, schema_version=3)) == {}
    assert lost_references(msgspec.structs.replace(enrolled, matching=None)) == {}
