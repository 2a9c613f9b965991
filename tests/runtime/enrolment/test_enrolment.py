"""Enrolment into a small real package: its changes, unchanged parts and refusals."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from partsight.runtime import ModelPackage, PackageError, Recognizer, enrolment
from partsight.runtime.core.errors import DependencyError, EnrollError, OutputError
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.enrolment import enroll
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.inference.session import Session
from partsight.runtime.package.manifest import METADATA_KEY, Decision, Manifest
from tests.runtime.enrolment.enrolling import ORANGE, VIOLET, picture, rewrite_model, write_package
from tests.tiny import COLOURS_BGR, SIDE_PX, solid, tiny_manifest, write_tiny_package

OLD = tuple(COLOURS_BGR)


def prototypes(path: Path) -> np.ndarray:
    model = onnx.load(path / "model.fp32.onnx")
    (tensor,) = [item for item in model.graph.initializer if item.name == "weights"]
    return onnx.numpy_helper.to_array(tensor)


def reference(path: Path, label: str) -> bytes:
    manifest = ModelPackage.read(path).manifest
    assert manifest.matching
    return (path / manifest.matching.references[manifest.labels.index(label)]).read_bytes()


def recognised(path: Path, *colours: str | tuple[int, int, int]) -> list[str | None]:
    with Recognizer(path) as recognizer:
        return [result.label for result in recognizer.recognize_batch([solid(colour) for colour in colours])]


def test_a_part_is_added(package: Path, orange: Path, out: Path) -> None:
    assert recognised(package, ORANGE) == [None]
    enrolled = enroll(package, out, additions={"orange": [orange]})
    assert enrolled.package.path == out
    assert enrolled.package.manifest.labels == (*OLD, "orange")
    assert recognised(out, ORANGE, *OLD) == ["orange", *OLD]
    (part,) = enrolled.parts
    assert (part.label, part.replaced, part.images, part.frames) == ("orange", False, 1, 32)
    assert part.right + part.refused + part.wrong == pytest.approx(1)
    assert part.lookalike
    assert not part.lookalike.is_twin
    assert enrolled.neighbours == len(OLD)


def test_everything_else_is_the_same_to_the_bit(package: Path, orange: Path, out: Path) -> None:
    violet = picture(orange.parent / "violet.png", VIOLET)
    enrolled = enroll(package, out, additions={"orange": [orange], "violet": [violet]})
    assert enrolled.largest_difference == 0
    for label in OLD:
        assert reference(out, label) == reference(package, label)
    assert (out / "report.html").read_bytes() == (package / "report.html").read_bytes()
    assert (prototypes(out)[:, : len(OLD)] == prototypes(package)).all()
    before, after = (onnx.load(path / "model.fp32.onnx") for path in (package, out))
    kept = [
        [item.SerializeToString() for item in model.graph.initializer if item.name != "weights"]
        for model in (before, after)
    ]
    assert kept[0] == kept[1]
    assert [node.SerializeToString() for node in before.graph.node] == [
        node.SerializeToString() for node in after.graph.node
    ]
    batch = np.random.default_rng(1).integers(0, 256, (5, SIDE_PX, SIDE_PX, 3), np.uint8)
    scores = [Session((path / "model.fp32.onnx").read_bytes()).run(batch).score for path in (package, out)]
    assert (scores[0] == scores[1][:, : len(OLD)]).all()


def test_the_prototype_is_the_normalised_mean(package: Path, tmp_path: Path, out: Path) -> None:
    paths = [picture(tmp_path / f"{green}.png", (0, green, 255)) for green in (110, 128, 150)]
    enroll(package, out, additions={"orange": paths})
    embedding = (
        Session((package / "model.fp32.onnx").read_bytes())
        .run(np.stack([solid((0, green, 255), SIDE_PX, SIDE_PX) for green in (110, 128, 150)]))
        .embedding
    )
    mean = embedding.mean(axis=0)
    np.testing.assert_allclose(prototypes(out)[:, -1], mean / np.linalg.norm(mean), atol=1e-6)
    only_first = tmp_path / "first.partsight"
    enroll(package, only_first, additions={"orange": paths[:1]})
    assert reference(out, "orange") == reference(only_first, "orange")


def test_a_part_is_replaced(package: Path, orange: Path, out: Path) -> None:
    enrolled = enroll(package, out, replacements={"cyan": [orange]})
    assert enrolled.package.manifest.labels == OLD
    assert enrolled.parts[0].replaced
    assert recognised(out, ORANGE, "cyan", "red") == ["cyan", None, "red"]
    assert reference(out, "cyan") != reference(package, "cyan")
    assert reference(out, "red") == reference(package, "red")


def test_a_part_is_removed(package: Path, out: Path) -> None:
    enrolled = enroll(package, out, removals=["cyan"])
    assert enrolled.parts == ()
    assert enrolled.package.manifest.labels == tuple(label for label in OLD if label != "cyan")
    assert recognised(out, "cyan", "yellow", "blue") == [None, "yellow", "blue"]
    assert not (out / "gallery/00001.jpg").exists()
    assert enrolled.package.manifest.decision == ModelPackage.read(package).manifest.decision


def test_all_at_once_and_again(package: Path, orange: Path, tmp_path: Path, out: Path) -> None:
    violet = picture(tmp_path / "violet.png", VIOLET)
    enroll(package, out, additions={"orange": [orange]}, replacements={"cyan": [violet]}, removals=["red"])
    assert ModelPackage.read(out).manifest.labels == ("blue", "cyan", "green", "magenta", "yellow", "orange")
    assert recognised(out, ORANGE, VIOLET, "green") == ["orange", "cyan", "green"]
    third = tmp_path / "third.partsight"
    enroll(out, third, removals=["orange"], additions={"red": [picture(tmp_path / "red.png", "red")]})
    manifest = ModelPackage.read(third).manifest
    assert [change.removed for change in manifest.provenance.enrolments] == [("red",), ("orange",)]
    assert len(set(manifest.matching.references)) == 6  # type: ignore[union-attr]
    assert recognised(third, "red", "green") == ["red", "green"]


def test_where_it_comes_from(package: Path, orange: Path, out: Path) -> None:
    old = ModelPackage.read(package)
    manifest = enroll(package, out, additions={"orange": [orange]}, removals=["red"]).package.manifest
    (change,) = manifest.provenance.enrolments
    assert (change.from_package, change.added, change.replaced, change.removed) == (
        *(old.package_id, ("orange",), ()),
        ("red",),
    )
    assert list(change.images) == ["orange"]
    was = msgspec.structs.replace(manifest.provenance, enrolments=())
    assert was == old.manifest.provenance
    text = Session((out / "model.fp32.onnx").read_bytes()).metadata[METADATA_KEY]
    assert Manifest.from_json(text.encode(), "metadata") == manifest.without_files()


def test_the_threshold_stays_and_its_rates_are_estimated_again(package: Path, orange: Path, out: Path) -> None:
    old = ModelPackage.read(package).manifest
    manifest = enroll(package, out, additions={"orange": [orange]}).package.manifest
    for before, after in (
        (old.decision, manifest.decision),
        (old.matching.decision, manifest.matching.decision),  # type: ignore[union-attr]
    ):
        assert before.threshold == after.threshold
        assert after.method.startswith(before.method)
        assert "32 varied images" in after.method
    again = enroll(package, out.with_name("again"), additions={"orange": [orange]}, seed=0).package.manifest
    assert again.decision == manifest.decision


def test_a_twin_is_found(package: Path, tmp_path: Path, out: Path) -> None:
    enrolled = enroll(package, out, additions={"red two": [picture(tmp_path / "red2.png", (1, 0, 254))]})
    (part,) = enrolled.parts
    assert part.lookalike
    assert (part.lookalike.label, part.lookalike.is_twin, part.lookalike.is_confusable) == ("red", True, True)
    assert part.right < 0.5


def test_the_spot_that_tells_a_part_from_its_lookalike(package: Path, tmp_path: Path, out: Path) -> None:
    image = solid("red", 96, 132)
    image[14:26, 100:112] = 0
    cv2.imwrite(str(tmp_path / "marked.png"), image)
    (part,) = enroll(package, out, additions={"marked": [tmp_path / "marked.png"]}).parts
    assert part.lookalike and part.lookalike.spot
    assert (part.lookalike.label, part.lookalike.spot.where) == ("red", "upper right")
    assert (part.lookalike.spot.x, part.lookalike.spot.y) == pytest.approx(
        (53, 10), abs=8
    )  # an even golden image fixes no pose
    assert part.lookalike.spot.tolerances > 1


def test_without_golden_images_the_network_decides(tiny_package: Path, orange: Path, out: Path) -> None:
    enrolled = enroll(tiny_package, out, additions={"orange": [orange]}, removals=["red"])
    assert recognised(out, ORANGE, "blue") == ["orange", "blue"]
    assert enrolled.parts[0].right > 0.9
    assert enrolled.parts[0].lookalike and enrolled.parts[0].lookalike.spot is None
    assert enrolled.neighbours == 0


def test_half_precision_is_enrolled_too(package: Path, orange: Path, tmp_path: Path, out: Path) -> None:
    def halve(model: onnx.ModelProto) -> None:
        graph = model.graph
        (weights,) = [item for item in graph.initializer if item.name == "weights"]
        half = onnx.numpy_helper.to_array(weights).astype(np.float16)
        weights.CopyFrom(onnx.numpy_helper.from_array(half, "weights"))
        del graph.node[-1]
        graph.node.extend(
            [
                onnx.helper.make_node("Cast", ["embedding"], ["half"], to=onnx.TensorProto.FLOAT16),
                onnx.helper.make_node("MatMul", ["half", "weights"], ["half_score"]),
                onnx.helper.make_node("Cast", ["half_score"], ["score"], to=onnx.TensorProto.FLOAT),
            ]
        )

    copy = tmp_path / "half.partsight"
    shutil.copytree(package, copy)
    rewrite_model(copy, halve)
    enroll(copy, out, additions={"orange": [orange]})
    assert prototypes(out).dtype == np.float16
    assert recognised(out, ORANGE, "red") == ["orange", "red"]


def test_all_faults_at_once(package: Path, orange: Path, tmp_path: Path, out: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    additions = {
        "red": [orange],
        "Blue": [picture(tmp_path / "b.png", VIOLET)],
        "missing": [tmp_path / "nowhere.png"],
        "broken": [broken],
        "grey": [picture(tmp_path / "grey.png", np.full((48, 64), 90, np.uint8))],
        "none": [],
        "copy": [picture(tmp_path / "copy.png", "green")],
        " space": [picture(tmp_path / "s.png", (9, 99, 200))],
    }
    with pytest.raises(EnrollError) as caught:
        enroll(package, out, additions=additions, replacements={"pink": [orange]}, removals=["brown"])
    faults = str(caught.value).splitlines()
    assert str(package) in faults[0]
    subjects = (
        "red: ",
        "blue and Blue: ",
        "missing: ",
        "broken: ",
        "grey: ",
        "none: ",
        "pink and red: ",
        "green and copy: ",
        "' space': ",
    )
    for subject in (*subjects, "pink: ", "brown: "):
        assert sum(fault.strip().startswith(subject) for fault in faults) == 1
    assert len(faults) == len(subjects) + 3
    for remedy in ("--replace", str(tmp_path / "nowhere.png"), "inspect PACKAGE --labels"):
        assert remedy in str(caught.value)
    assert not out.exists()
    assert not list(out.parent.glob(".*.partial"))


def test_copies_among_further_images(package: Path, orange: Path, tmp_path: Path, out: Path) -> None:
    shared, green = picture(tmp_path / "shared.png", (9, 99, 200)), picture(tmp_path / "copy.png", "green")
    violet = picture(tmp_path / "violet.png", VIOLET)
    with pytest.raises(EnrollError) as caught:
        enroll(package, out, additions={"orange": [orange, shared, green], "violet": [violet, shared, violet]})
    _, *faults = str(caught.value).splitlines()
    for owners, path in (("green and orange", green), ("orange and violet", shared), ("violet", violet)):
        assert sum(fault.strip().startswith(f"{owners}: ") and str(path) in fault for fault in faults) == 1
    assert len(faults) == 3
    assert not out.exists()


def test_copies_where_no_golden_images_are_compared(tiny_package: Path, orange: Path, out: Path) -> None:
    copy = orange.with_name("copy.png")
    copy.write_bytes(orange.read_bytes())
    with pytest.raises(EnrollError, match=r"orange: .*copy\.png"):
        enroll(tiny_package, out, additions={"orange": [orange, copy]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"additions": {"pink": "pink.png"}}, r"additions of 'pink' .*\['pink\.png'\]"),
        ({"replacements": {"red": Path("pink.png")}}, r"replacements of 'red' .*\['pink\.png'\]"),
        ({"removals": "red"}, r"removals .*\['red'\]"),
        ({"removals": [b"red"]}, r"removals is list"),
        ({"removals": 7}, r"removals is int"),
        ({"additions": "new_parts"}, r"additions is str"),
        ({"additions": {"pink": np.zeros((40, 40, 3), np.uint8)}}, r"additions of 'pink' is ndarray .*cv2\.imwrite"),
        ({"additions": {"pink": [None]}}, r"additions of 'pink' is list"),
    ],
)
def test_one_where_a_list_is_expected(changes: dict[str, Any], message: str, package: Path, out: Path) -> None:
    with pytest.raises(ValueError, match=message):
        enroll(package, out, **changes)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({}, ""),
        ({"removals": OLD}, ""),
        ({"removals": ["red", "red"]}, "red: "),
        ({"removals": ["red"], "replacements": {"red": ["orange.png"]}}, "red: "),
    ],
)
def test_what_cannot_be(changes: dict[str, object], subject: str, package: Path, out: Path) -> None:
    with pytest.raises(EnrollError, match=f"{re.escape(str(package))}.*\n  {subject}"):
        enroll(package, out, **changes)  # type: ignore[arg-type]
    assert not out.exists()


def test_a_part_whose_accents_are_typed_in_another_encoding(tmp_path: Path, orange: Path, out: Path) -> None:
    nfd, nfc = ["a\u0308", "o\u0308", "c", "d", "e", "f"], ["ä", "ö"]
    package = write_package(tmp_path / "accents.partsight", labels=tuple(nfd))
    changed = enroll(package, out, replacements={nfc[0]: [orange]}, removals=[nfc[1]]).package.manifest
    assert changed.labels == (nfd[0], "c", "d", "e", "f")
    with pytest.raises(EnrollError, match="ä: "):
        enroll(package, tmp_path / "other.partsight", replacements={nfc[0]: [orange], nfd[0]: [orange]})


def test_an_image_smaller_than_the_region(tmp_path: Path, orange: Path, out: Path) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, region=Region(0, 0, 200, 40))
    package = write_package(tmp_path / "region.partsight", preprocess=spec)
    with pytest.raises(EnrollError, match=r"orange: .*orange.png: .*64×48 px"):
        enroll(package, out, additions={"orange": [orange]})


def test_an_image_of_another_size_where_a_region_is_cut(tmp_path: Path, orange: Path, out: Path) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, region=Region(0, 0, 40, 40), golden_hw=(96, 128))
    package = write_package(tmp_path / "region.partsight", preprocess=spec)
    with pytest.raises(EnrollError, match=r"orange.png: .*64×48 px.*128×96 px"):
        enroll(package, out, additions={"orange": [orange]})


def test_a_dense_head_requires_training(tmp_path: Path, orange: Path, out: Path) -> None:
    decision = Decision("probability", 0.5, "by hand", 6, 0.0)
    provenance = msgspec.structs.replace(tiny_manifest().provenance, head="dense")
    package = write_tiny_package(tmp_path / "dense.partsight", decision=decision, provenance=provenance)
    with pytest.raises(EnrollError, match=r"dense .*partsight train CATALOG"):
        enroll(package, out, additions={"orange": [orange]})
    assert not out.exists()


def test_a_network_without_prototypes(package: Path, tmp_path: Path, orange: Path, out: Path) -> None:
    def rectify(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "raw"
        model.graph.node.append(onnx.helper.make_node("Relu", ["raw"], ["score"]))

    copy = tmp_path / "rectified.partsight"
    shutil.copytree(package, copy)
    rewrite_model(copy, rectify)
    with pytest.raises(EnrollError, match=r"model\.fp32\.onnx.*--head cosine"):
        enroll(copy, out, additions={"orange": [orange]})


def test_an_image_in_which_the_network_sees_nothing(package: Path, tmp_path: Path, out: Path) -> None:
    black_and_white = [picture(tmp_path / f"{level}.png", (level,) * 3) for level in (0, 255)]
    with pytest.raises(EnrollError, match="pale: "):
        enroll(package, out, additions={"pale": black_and_white})


def test_a_damaged_package(package: Path, tmp_path: Path, orange: Path, out: Path) -> None:
    copy = tmp_path / "damaged.partsight"
    shutil.copytree(package, copy)
    (copy / "gallery/00003.jpg").write_bytes(b"altered")
    with pytest.raises(PackageError, match=r"gallery/00003\.jpg.*SHA-256"):
        enroll(copy, out, additions={"orange": [orange]})
    assert not out.exists()


def test_nothing_is_overwritten(package: Path, orange: Path) -> None:
    with pytest.raises(OutputError, match=re.escape(str(package))):
        enroll(package, package, additions={"orange": [orange]})


def test_without_onnx(package: Path, orange: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match=r"pip install 'partsight\[enroll\]'"):
        enroll(package, out, additions={"orange": [orange]})


def test_a_grey_package(tmp_path: Path, out: Path) -> None:
    package = write_package(tmp_path / "grey.partsight", preprocess=PreprocessSpec(SIDE_PX, SIDE_PX, "mono"))
    manifest = Manifest.from_json((package / MANIFEST_NAME).read_bytes(), "grey")
    assert manifest.preprocess.color == "mono"
    white = picture(tmp_path / "white.png", np.full((48, 64), 250, np.uint8))
    enrolled = enroll(package, out, additions={"white": [white]})
    assert enrolled.parts[0].right > 0.9
    colour = picture(tmp_path / "colour.png", ORANGE)
    with pytest.raises(EnrollError, match=r"colour: .*colour\.png"):
        enroll(package, out.with_name("other"), additions={"colour": [colour]})


def test_no_tensorflow(package: Path, orange: Path, out: Path) -> None:
    code = f"""
import json, sys
from partsight.runtime.enrolment import enroll
enroll({str(package)!r}, {str(out)!r}, additions={{"orange": [{str(orange)!r}]}})
print(json.dumps(sorted(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(run.stdout)
    assert "onnx" in loaded
    assert [name for name in ("tensorflow", "keras", "tf2onnx", "partsight.train") if name in loaded] == []


def test_a_picture_of_another_size_is_enrolled_and_named(package: Path, out: Path, tmp_path: Path) -> None:
    wide = picture(tmp_path / "wide.png", ORANGE, 48, 96)
    (part,) = enroll(package, out, additions={"orange": [wide]}).parts
    assert any(str(wide) in text and "2.00" in text for text in part.misfits)


def test_the_old_name_of_the_report_warns() -> None:
    with pytest.warns(DeprecationWarning, match="NewPartReport"):
        assert enrolment.NewPart is enrolment.NewPartReport
