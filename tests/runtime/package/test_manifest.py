import hashlib
import json
from typing import Any

import msgspec
import pytest

from partsight.runtime.core.errors import PackageError
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package.manifest import MAX_LABELS, SCHEMA_VERSION, Manifest, ModelFile, Parity
from tests.tiny import COLOURS_BGR, SIDE_PX, tiny_manifest, tiny_matching

DELETE = object()


def verified() -> Manifest:
    return msgspec.structs.replace(tiny_manifest(), matching=tiny_matching())


def changed(path: str, value: object) -> bytes:
    """The tiny manifest, which compares with golden images, with one field set or deleted: `decision.threshold`."""
    document = json.loads(verified().to_json())
    *parents, last = path.split(".")
    node: Any = document
    for name in parents:
        node = node[name]
    if value is DELETE:
        del node[last]
    else:
        node[last] = value
    return json.dumps(document).encode()


def without_digest(manifest: Manifest) -> bytes:
    return manifest.to_json()[:-81] + b"\n}"


def test_round_trip() -> None:
    manifest = msgspec.structs.replace(
        tiny_manifest(),
        labels=("Schraube Ø 3 µm", "ねじ", "a\nb"),
        preprocess=PreprocessSpec(299, 299, "mono", Region(1, 2, 3, 4), via=(299, 300), golden_hw=(480, 20_000)),
        models={"fp16": ModelFile("model.fp16.onnx", "0" * 64, 17, 2, Parity(6, 5, 1e-7, 0.5))},
        files={"gallery/ねじ.png": "f" * 64},
        matching=msgspec.structs.replace(
            tiny_matching(),
            references=("a.jpg", "b.jpg", "gallery/ねじ.png"),
            graph="matching.onnx",
            further={"ねじ": ("c.jpg", "d.jpg")},
        ),
    )
    assert Manifest.from_json(manifest.to_json(), "here") == manifest


def test_a_package_that_does_not_name_the_size_of_its_golden_images() -> None:
    assert Manifest.from_json(changed("preprocess.golden_hw", DELETE), "here").preprocess.golden_hw is None


def test_json_is_for_people_too() -> None:
    text = msgspec.structs.replace(tiny_manifest(), labels=("ねじ",)).to_json().decode()
    assert f'\n "schema_version": {SCHEMA_VERSION},\n' in text
    assert "ねじ" in text


def test_models_and_files_may_be_left_out() -> None:
    document = json.loads(tiny_manifest().to_json())
    del document["models"], document["files"]
    assert Manifest.from_json(json.dumps(document).encode(), "here") == tiny_manifest()


@pytest.mark.parametrize("value", [None, DELETE])
def test_a_package_may_compare_with_nothing(value: object) -> None:
    assert Manifest.from_json(changed("matching", value), "here") == tiny_manifest()


@pytest.mark.parametrize(
    "name", ["by_thumbnail", "by_network", "finalists", "tolerance_px", "tolerance_tilt", "least_margin"]
)
def test_how_to_compare_has_defaults(name: str) -> None:
    assert Manifest.from_json(changed(f"matching.spec.{name}", DELETE), "here") == verified()


@pytest.mark.parametrize("count", [0, 1, len(COLOURS_BGR) - 1, len(COLOURS_BGR) + 1])
def test_one_reference_for_each_label(count: int) -> None:
    names = [f"{index}.jpg" for index in range(count)]
    with pytest.raises(PackageError, match=f"^line3: .* {count} .* 6 "):
        Manifest.from_json(changed("matching.references", names), "line3")


@pytest.mark.parametrize("via", [(SIDE_PX - 1, SIDE_PX), (SIDE_PX, SIDE_PX - 1)])
def test_first_size_is_at_least_the_references_size(via: tuple[int, int]) -> None:
    network = {"height": SIDE_PX // 2, "width": SIDE_PX // 2}
    fits = Manifest.from_json(changed("preprocess", network | {"via": (SIDE_PX, SIDE_PX)}), "line3")
    assert fits.preprocess.via == tiny_matching().spec.size_hw == (SIDE_PX, SIDE_PX)
    with pytest.raises(PackageError, match=rf"^line3: .*\({via[0]}, {via[1]}\)"):
        Manifest.from_json(changed("preprocess", network | {"via": via}), "line3")


def test_fields_of_a_later_partsight_of_the_same_schema_are_passed_over() -> None:
    assert Manifest.from_json(changed("remark", "new"), "here") == verified()


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, "1", None, 1.5, [1], DELETE])
def test_other_schema_versions(version: object) -> None:
    with pytest.raises(PackageError, match=rf"^line3: .*schema version .* 1 to {SCHEMA_VERSION}"):
        Manifest.from_json(changed("schema_version", version), "line3")


def of_version_1(height: object = SIDE_PX, width: object = SIDE_PX, **changes: object) -> bytes:
    """The manifest as partsight wrote it before schema version 2."""
    document = json.loads(verified().to_json())
    matching = document.pop("matching")
    spec = {"height": height, "width": width, "shortlist": 32, "outlined": 20, "clear_margin": 0.2}
    document["schema_version"] = 1
    document["verification"] = {
        "spec": spec | {"least_margin": 0.03, "finalists": 5},
        "decision": matching["decision"],
        "references": matching["references"],
        "outlines": "outlines.npy",
    }
    document["verification"] |= changes
    return json.dumps(document).encode()


def test_version_2_is_read_without_its_bank_and_graph() -> None:
    document = json.loads(changed("matching.graph", "matching.onnx"))
    document["schema_version"] = 2
    expected = msgspec.structs.replace(tiny_matching(), bank=None)
    found = Manifest.from_json(json.dumps(document).encode(), "here")
    assert found == msgspec.structs.replace(verified(), schema_version=2, matching=expected)
    del document["matching"]
    found = Manifest.from_json(json.dumps(document).encode(), "here")
    assert found == msgspec.structs.replace(tiny_manifest(), schema_version=2)


def test_version_1_is_read_and_compared_as_this_version_does() -> None:
    expected = msgspec.structs.replace(tiny_matching(), bank=None)
    found = Manifest.from_json(of_version_1(), "here")
    assert found == msgspec.structs.replace(verified(), schema_version=1, matching=expected)
    assert found.matching is not None and found.matching.spec == MatchingSpec(height=SIDE_PX, width=SIDE_PX)


@pytest.mark.parametrize(
    ("side", "expected"), [(32, 36), (36, 36), (38, 36), (40, 42), (128, 126), (191, 192), (192, 192)]
)
def test_sides_of_version_1_become_multiples_of_6(side: int, expected: int) -> None:
    found = Manifest.from_json(of_version_1(height=side, width=192), "here").matching
    assert found is not None and found.spec.size_hw == (expected, 192)


def test_version_1_without_golden_images_to_compare_with() -> None:
    document = json.loads(of_version_1())
    for value in (None, DELETE):
        document["verification"] = value
        if value is DELETE:
            del document["verification"]
        found = Manifest.from_json(json.dumps(document).encode(), "here")
        assert found == msgspec.structs.replace(tiny_manifest(), schema_version=1)


@pytest.mark.parametrize(
    "data",
    [
        of_version_1(height=31),
        of_version_1(width=1025),
        of_version_1(width="64"),
        of_version_1(spec={}),
        of_version_1(decision=None),
        of_version_1(references=[1] * 6),
        of_version_1(references=["a.jpg"]),
    ],
)
def test_a_damaged_manifest_of_version_1(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^line3: "):
        Manifest.from_json(data, "line3")


def test_a_future_schema_is_named_whatever_else_it_changed() -> None:
    with pytest.raises(PackageError, match="schema version 99"):
        Manifest.from_json(b'{"schema_version": 99, "labels": {"a": 1}}', "line3")


@pytest.mark.parametrize(
    "field",
    [
        "labels",
        "preprocess",
        "decision",
        "provenance",
        "preprocess.height",
        "decision.threshold",
        "provenance.head",
        "matching.spec",
        "matching.decision",
        "matching.references",
        "matching.spec.height",
        "matching.decision.threshold",
    ],
)
def test_missing_field(field: str) -> None:
    with pytest.raises(PackageError, match=f"line3: .*missing required field `{field.rpartition('.')[2]}`"):
        Manifest.from_json(changed(field, DELETE), "line3")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", True),
        ("labels", "red"),
        ("labels", [1]),
        ("preprocess.height", "32"),
        ("preprocess.height", 0),
        ("preprocess.width", 100_000),
        ("preprocess.color", "rgb"),
        ("preprocess.resize", "lanczos"),
        ("preprocess.via", [SIDE_PX - 1, SIDE_PX]),
        ("preprocess.via", [SIDE_PX]),
        ("preprocess.via", 224),
        ("preprocess.region", {"x": -1, "y": 0, "width": 1, "height": 1}),
        ("preprocess.region", {"x": 0, "y": 0, "width": 0, "height": 1}),
        ("decision.threshold", "high"),
        ("decision.threshold", None),
        ("decision.score", "logit"),
        ("decision.expected_false_reject", 1.5),
        ("decision.expected_false_accept", -0.1),
        ("provenance.catalog_sha256", "abc"),
        ("matching", []),
        ("matching.spec.height", 31),
        ("matching.spec.width", 1025),
        ("matching.spec.height", 38),
        ("matching.spec.height", 30),
        ("matching.spec.width", 198),
        ("matching.spec.by_thumbnail", -1),
        ("matching.spec.by_network", 0),
        ("matching.bank", 1),
        ("matching.spec.finalists", 1001),
        ("matching.spec.tolerance_levels", 0),
        ("matching.spec.tolerance_px", -0.3),
        ("matching.spec.tolerance_tilt", "some"),
        ("matching.spec.least_margin", -0.01),
        ("matching.decision.score", "likeness"),
        ("matching.references", [1, 2, 3, 4, 5, 6]),
        ("matching.further", ["gallery/00006.jpg"]),
        ("matching.further", {"red": "gallery/00006.jpg"}),
        ("models", {"fp8": {}}),
        ("files", {"a": "b"}),
    ],
)
def test_wrong_values(field: str, value: object) -> None:
    with pytest.raises(PackageError, match=rf"^line3: .*\$\.{field.partition('.')[0]}"):
        Manifest.from_json(changed(field, value), "line3")


@pytest.mark.parametrize("labels", [[], ["red", "blue", "red"]])
def test_labels_must_be_some_and_unique(labels: list[str]) -> None:
    with pytest.raises(PackageError, match=r"^line3: .*labels"):
        Manifest.from_json(changed("labels", labels), "line3")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not JSON",
        b"[]",
        b"null",
        b"{",
        b'{"schema_version": 1',
        b'{"schema_version": NaN}',
        b"\xff\xfe\x00",
        b'{"\xff": 1}',
        tiny_manifest().to_json()[:-20],
        without_digest(tiny_manifest()).replace(b"red", b"r\xffd"),
    ],
)
def test_what_is_not_a_manifest(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^line3: "):
        Manifest.from_json(data, "line3")


@pytest.mark.parametrize("field", ["schema_version", "labels", "remark"])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting(field: str, brackets: tuple[str, str]) -> None:
    depth = 200_000
    nested = brackets[0] * depth + "1" + brackets[1] * depth
    with pytest.raises(PackageError, match=r"^line3: "):
        Manifest.from_json(changed(field, "HERE").replace(b'"HERE"', nested.encode()), "line3")


def test_digest_of_itself() -> None:
    data = verified().to_json()
    body, _, end = data.rpartition(b',\n "sha256": "')
    assert end == hashlib.sha256(body).hexdigest().encode() + b'"\n}'
    assert json.loads(data) == json.loads(without_digest(verified())) | {"sha256": hashlib.sha256(body).hexdigest()}


def test_each_bit_flipped_in_turn_changes_nothing_or_is_refused() -> None:
    whole = verified()
    text = whole.to_json()
    for index in range(len(text)):
        for bit in range(8):
            data = bytearray(text)
            data[index] ^= 1 << bit
            try:
                assert Manifest.from_json(bytes(data), "here") == whole, (index, bit)
            except PackageError:
                continue


def test_a_damaged_label_is_refused() -> None:
    with pytest.raises(PackageError, match=r"^line3: .*SHA-256"):
        Manifest.from_json(verified().to_json().replace(b"red", b"rad"), "line3")


def test_without_a_digest() -> None:
    assert Manifest.from_json(without_digest(verified()), "here") == verified()


@pytest.mark.parametrize("label", ["", "x" * 1001, "\ud800"])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(PackageError, match=r"^line3: "):
        Manifest.from_json(changed("labels", [label]), "line3")


def test_more_labels_than_there_may_be() -> None:
    data = b'{"schema_version": 1, "labels": [%s]}' % b",".join([b'"x"'] * (MAX_LABELS + 1))
    with pytest.raises(PackageError, match=f"^line3: .*{MAX_LABELS}"):
        Manifest.from_json(data, "line3")


@pytest.mark.parametrize("value", [0, 1e-300, 1e300])
@pytest.mark.parametrize("name", ["tolerance_levels", "tolerance_px", "tolerance_tilt"])
def test_a_tolerance_whose_square_is_no_number(name: str, value: float) -> None:
    with pytest.raises(PackageError, match=r"^line3: "):
        Manifest.from_json(changed(f"matching.spec.{name}", value), "line3")
