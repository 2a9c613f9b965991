"""Enrolment into the bank: unchanged records, new records, and the number of candidates."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from partsight.runtime import ModelPackage, PackageError, Recognizer, read_image
from partsight.runtime.core.errors import EnrollError
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.enrolment import Enrolled, enroll
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE, GraphMatcher, Matcher, MatchingSpec, prepare_all
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image, resized
from partsight.runtime.package.manifest import SCHEMA_VERSION
from partsight.runtime.recognition import load_bank
from tests.runtime.enrolment.enrolling import (
    ORANGE,
    SPEC,
    VERSION_1_HW,
    VIOLET,
    picture,
    write_package,
    write_version_1_package,
)
from tests.tiny import COLOURS_BGR, solid

OLIVE = (0, 128, 128)
OLD = tuple(COLOURS_BGR)


@pytest.fixture
def sides(tmp_path: Path) -> list[Path]:
    """Two images of one part that have nothing in common; unlike solid colours, thumbnails tell them apart."""
    rng = np.random.default_rng(3)
    shades = (np.kron(rng.uniform(0.5, 1, (6, 8, 1)), np.ones((8, 8, 1))) for _ in range(2))
    images = [(shade * colour).astype(np.uint8) for shade, colour in zip(shades, (ORANGE, VIOLET), strict=True)]
    return [picture(tmp_path / f"side{number}.png", image) for number, image in enumerate(images)]


def records_of(path: Path, label: str) -> list[bytes]:
    """Return the records of a part, all but the number of its class."""
    package = ModelPackage.read(path)
    records = np.array(load_bank(package).records)
    own = records[records["class"] == package.manifest.labels.index(label)]
    own["class"] = 0
    return [row.tobytes() for row in own]


def prepared(*colours: tuple[int, int, int]) -> list[bytes]:
    """Return what `records_of` returns of a part with these golden images."""
    spec = SPEC.preprocess(PreprocessSpec(36, 36))
    files = [encode_golden_image(preprocess([solid(colour)], spec)[0]) for colour in colours]
    records = prepare_all([decode_golden_image(data, "file") for data in files], [0] * len(files))
    return [row.tobytes() for row in records]


def classes_of(path: Path) -> list[int]:
    return load_bank(ModelPackage.read(path)).records["class"].tolist()  # type: ignore[no-any-return]


def files_of(path: Path) -> dict[str, int]:
    """Return how many files of the gallery each part has; the gallery has no other files."""
    manifest = ModelPackage.read(path).manifest
    names = {label: manifest.reference_files(index) for index, label in enumerate(manifest.labels)}
    files = {name.relative_to(path).as_posix() for name in (path / "gallery").glob("*.jpg")}
    assert sorted(files) == sorted(name for group in names.values() for name in group)
    return {label: len(group) for label, group in names.items()}


def recognised(path: Path, *shown: str | tuple[int, int, int] | Path) -> list[str | None]:
    frames = [read_image(item) if isinstance(item, Path) else solid(item) for item in shown]
    with Recognizer(path) as recognizer:
        return [result.label for result in recognizer.recognize_batch(frames)]


def spec_of(enrolled: Enrolled) -> MatchingSpec:
    assert enrolled.package.manifest.matching
    return enrolled.package.manifest.matching.spec


def test_records_of_parts_that_stay_are_the_same_to_the_bit(
    package: Path, orange: Path, violet: Path, out: Path
) -> None:
    enroll(package, out, additions={"orange": [orange]}, replacements={"cyan": [violet]}, removals=["red"])
    assert classes_of(out) == [0, 1, 2, 3, 4, 5]
    for label in ("blue", "green", "magenta", "yellow"):
        assert records_of(out, label) == records_of(package, label)
    assert records_of(out, "cyan") == prepared(VIOLET)
    assert records_of(out, "orange") == prepared(ORANGE)


def test_only_adding_leaves_the_old_bank_as_a_prefix(package: Path, orange: Path, out: Path) -> None:
    enroll(package, out, additions={"orange": [orange]})
    was, now = (load_bank(ModelPackage.read(path)).records for path in (package, out))
    assert now[: len(was)].tobytes() == was.tobytes()
    assert len(now) == len(was) + 1


def test_the_record_of_a_removed_part_is_gone(package: Path, out: Path) -> None:
    enroll(package, out, removals=["cyan"])
    assert classes_of(out) == [0, 1, 2, 3, 4]
    gone = records_of(package, "cyan")[0]
    assert all(gone not in records_of(out, label) for label in OLD if label != "cyan")


def test_each_image_of_a_part_is_a_reference(package: Path, orange: Path, violet: Path, out: Path) -> None:
    enrolled = enroll(package, out, replacements={"cyan": [orange, violet]}, removals=["blue"])
    assert enrolled.parts[0].images == 2
    assert classes_of(out) == [0, 0, 1, 2, 3, 4]
    assert records_of(out, "cyan") == prepared(ORANGE, VIOLET)
    assert recognised(out, ORANGE, VIOLET, "green", "cyan") == ["cyan", "cyan", "green", None]
    assert files_of(out) == {label: 1 + (label == "cyan") for label in OLD[1:]}
    spec, names = SPEC.preprocess(PreprocessSpec(36, 36)), ModelPackage.read(out).manifest.reference_files(0)
    expected = [encode_golden_image(preprocess([solid(colour)], spec)[0]) for colour in (ORANGE, VIOLET)]
    assert [(out / name).read_bytes() for name in names] == expected


def test_parts_with_several_references_stay_and_go(
    package: Path, orange: Path, violet: Path, out: Path, tmp_path: Path
) -> None:
    enroll(package, out, replacements={"cyan": [orange, violet]})
    third, fourth = tmp_path / "third.partsight", tmp_path / "fourth.partsight"
    olive, brown = picture(tmp_path / "olive.png", OLIVE), picture(tmp_path / "brown.png", (0, 60, 120))
    enroll(out, third, removals=["blue"], additions={"olive": [olive, brown]})
    assert classes_of(third) == [0, 0, 1, 2, 3, 4, 5, 5]
    assert files_of(third) == {label: 1 + (label in ("cyan", "olive")) for label in (*OLD[1:], "olive")}
    assert records_of(third, "cyan") == records_of(out, "cyan")
    assert recognised(third, ORANGE, VIOLET, OLIVE) == ["cyan", "cyan", "olive"]
    enroll(third, fourth, removals=["cyan"])
    assert classes_of(fourth) == [0, 1, 2, 3, 4, 4]
    assert set(files_of(fourth).values()) == {1, 2}


def test_a_further_reference_that_looks_like_another_part(
    package: Path, orange: Path, out: Path, tmp_path: Path
) -> None:
    """The report names the part that any of the images looks most like."""
    red = picture(tmp_path / "almost red.png", (0, 6, 250))
    alone = enroll(package, out, additions={"orange": [orange]}).parts[0].lookalike
    both = enroll(package, tmp_path / "both.partsight", additions={"orange": [orange, red]}).parts[0].lookalike
    assert alone is not None
    assert both is not None
    assert not alone.is_twin
    assert both.is_twin
    assert both.label == "red"


def test_replacing_a_part_replaces_all_its_references(
    package: Path, orange: Path, violet: Path, out: Path, tmp_path: Path
) -> None:
    enroll(package, out, replacements={"cyan": [orange, violet], "red": [picture(tmp_path / "1.png", OLIVE)]})
    third = tmp_path / "third.partsight"
    (part,) = enroll(out, third, replacements={"cyan": [violet]}).parts
    assert part.images == 1
    assert files_of(third) == dict.fromkeys(OLD, 1)
    assert recognised(third, VIOLET, ORANGE) == ["cyan", None]
    manifest = ModelPackage.read(third).manifest
    assert manifest.matching is not None
    assert manifest.matching.further == {}
    assert manifest.provenance.enrolments[-1].images.keys() == {"cyan"}


def test_a_further_reference_of_another_part(
    package: Path, orange: Path, violet: Path, out: Path, tmp_path: Path
) -> None:
    enroll(package, out, replacements={"cyan": [orange, violet]})
    with pytest.raises(EnrollError, match=r"cyan and new: .*violet\.png"):
        enroll(out, tmp_path / "third.partsight", additions={"new": [picture(tmp_path / "2.png", OLIVE), violet]})
    with pytest.raises(EnrollError, match=r"new: .*violet\.png"):
        enroll(package, tmp_path / "third.partsight", additions={"new": [violet, orange, violet]})
    enrolled = enroll(out, tmp_path / "third.partsight", additions={"new": [violet]}, removals=["cyan"])
    assert enrolled.package.manifest.labels[-1] == "new"


def test_the_last_old_part_may_go(package: Path, orange: Path, violet: Path, out: Path) -> None:
    enrolled = enroll(package, out, additions={"orange": [orange], "violet": [violet]}, removals=OLD)
    assert enrolled.neighbours == 0
    assert [part.right for part in enrolled.parts] == [1.0, 1.0]
    assert recognised(out, ORANGE, VIOLET, "green") == ["orange", "violet", None]


def test_one_part_alone(package: Path, orange: Path, out: Path) -> None:
    (part,) = enroll(package, out, additions={"orange": [orange]}, removals=OLD).parts
    assert part.lookalike is None
    assert recognised(out, ORANGE, "green") == ["orange", None]


@pytest.mark.parametrize("has_right_hash", [False, True])
def test_a_damaged_bank(has_right_hash: bool, package: Path, orange: Path, out: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(package, tmp_path / "damaged.partsight"))
    data = (damaged / BANK_FILE).read_bytes()[:-1]
    (damaged / BANK_FILE).write_bytes(data)
    if has_right_hash:
        manifest = ModelPackage.read(package).manifest
        files = manifest.files | {BANK_FILE: sha256_bytes(data)}
        (damaged / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, files=files).to_json())
    with pytest.raises(PackageError, match=r"bank\.npy" if has_right_hash else r"bank\.npy.*SHA-256"):
        enroll(damaged, out, additions={"orange": [orange]})
    assert not list(tmp_path.glob("*new*"))


def test_into_a_package_of_schema_version_1(orange: Path, out: Path, tmp_path: Path) -> None:
    old = write_version_1_package(tmp_path / "old.partsight")
    enrolled = enroll(old, out, additions={"orange": [orange]}, removals=["cyan"])
    manifest, was = enrolled.package.manifest, ModelPackage.read(old).manifest
    assert (was.schema_version, manifest.schema_version) == (1, SCHEMA_VERSION)
    assert manifest.matching
    assert was.matching
    assert manifest.matching.spec.size_hw == SPEC.size_hw
    assert manifest.matching.bank == BANK_FILE
    assert manifest.matching.decision.threshold == was.matching.decision.threshold
    assert not (out / "outlines.npy").exists()
    for index, label in ((0, "blue"), (2, "green")):
        name = was.matching.references[index]
        assert (out / name).read_bytes() == (old / name).read_bytes()
        assert name == manifest.matching.references[manifest.labels.index(label)]
        assert records_of(out, label) == records_of(old, label)
    assert enrolled.package.golden_image(0).shape[:2] == VERSION_1_HW
    assert enrolled.package.golden_image(5).shape[:2] == SPEC.size_hw
    assert recognised(out, ORANGE, "blue", "cyan") == ["orange", "blue", None]
    third = tmp_path / "third.partsight"
    assert enroll(out, third, removals=["orange"]).package.manifest.labels == manifest.labels[:-1]


def test_the_graph_is_that_of_the_new_bank(sides: list[Path], out: Path, tmp_path: Path) -> None:
    """Also with more parts than candidates, and with more references of a part."""
    old = write_package(tmp_path / "old.partsight", spec=few(by_thumbnail=16, by_network=3))
    enrolled = enroll(old, out, additions={"both": sides[:2]})
    matching, package = enrolled.package.manifest.matching, enrolled.package
    assert matching
    assert matching.graph == GRAPH_FILE
    bank = load_bank(package)
    frames = np.stack([resized(package.golden_image(index), SPEC.size_hw) for index in range(len(OLD) + 1)])
    score = np.eye(len(frames), dtype=np.float32)
    found = GraphMatcher(package.file_bytes(GRAPH_FILE), bank, matching.spec, "cpu").match(frames, score)
    expected = Matcher(bank, matching.spec).match(frames, score)
    np.testing.assert_array_equal(found.classes[:, 0], np.arange(len(frames)))
    np.testing.assert_allclose(found.agreement[:, 0], expected.agreement[:, 0], atol=1e-3)


def few(by_thumbnail: int, by_network: int) -> MatchingSpec:
    return msgspec.structs.replace(SPEC, by_thumbnail=by_thumbnail, by_network=by_network)


def test_counts_of_candidates_stay_where_they_hold_every_part(package: Path, orange: Path, out: Path) -> None:
    enrolled = enroll(package, out, additions={"orange": [orange]})
    assert spec_of(enrolled) == enrolled.spec_before == SPEC


def test_more_candidates_where_a_part_is_missed(orange: Path, violet: Path, out: Path, tmp_path: Path) -> None:
    """The prototype of two very different images lies between them; thumbnails of solid colours are all alike."""
    old = write_package(tmp_path / "old.partsight", spec=few(by_thumbnail=1, by_network=1))
    enrolled = enroll(old, out, additions={"both": [orange, violet]})
    spec = spec_of(enrolled)
    assert enrolled.spec_before == few(by_thumbnail=1, by_network=1)
    assert min(spec.by_network, spec.by_thumbnail) >= 1
    assert spec.by_network + spec.by_thumbnail > 2
    assert enrolled.parts[0].right > 0
    assert recognised(out, *OLD) == list(OLD)


def test_more_candidates_where_no_thumbnails_are_screened(sides: list[Path], out: Path, tmp_path: Path) -> None:
    old = write_package(tmp_path / "old.partsight", spec=few(by_thumbnail=0, by_network=1))
    assert recognised(old, *OLD) == list(OLD)
    enrolled = enroll(old, out, additions={"both": sides})
    assert spec_of(enrolled).by_thumbnail == 0
    assert spec_of(enrolled).by_network > 1
    assert recognised(out, sides[0], *OLD) == ["both", *OLD]
