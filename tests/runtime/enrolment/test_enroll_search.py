"""Enrolment into a package with a separate prototype file."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from partsight.runtime import ModelPackage, PackageError, Recognizer
from partsight.runtime.core.npy_file import PROTOTYPE_FILE
from partsight.runtime.enrolment import BOUNDS_NAME, DIRECTIONS_NAME, enroll
from partsight.runtime.inference.prototype_search import bound_matrix
from partsight.runtime.inference.session import Session
from partsight.runtime.package.manifest import METADATA_KEY, Manifest
from partsight.runtime.recognition import load_search
from tests.runtime.enrolment.enrolling import picture, rewrite_model, write_package
from tests.tiny import COLOURS_BGR, SIDE_PX, solid, tiny_prototypes

ORANGE, VIOLET = (0, 128, 255), (255, 0, 128)
OLD = tuple(COLOURS_BGR)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight", is_searched=True)


def prototypes(path: Path) -> np.ndarray:
    return np.asarray(np.load(path / PROTOTYPE_FILE, allow_pickle=False))


def recognised(path: Path, *colours: str | tuple[int, int, int]) -> list[str | None]:
    with Recognizer(path) as recognizer:
        return [result.label for result in recognizer.recognize_batch([solid(colour) for colour in colours])]


def test_a_part_is_added(package: Path, tmp_path: Path, out: Path) -> None:
    assert recognised(package, ORANGE, *OLD) == [None, *OLD]
    paths = [picture(tmp_path / f"{green}.png", (0, green, 255)) for green in (110, 128, 150)]
    enrolled = enroll(package, out, additions={"orange": paths})
    assert enrolled.largest_difference == 0
    assert enrolled.package.manifest.labels == (*OLD, "orange")
    assert enrolled.package.manifest.search == ModelPackage.read(package).manifest.search
    assert recognised(out, ORANGE, *OLD) == ["orange", *OLD]
    found = prototypes(out)
    np.testing.assert_array_equal(found[:-1], tiny_prototypes())
    session = Session((package / "model.fp32.onnx").read_bytes(), search=load_search(ModelPackage.read(package)))
    mean = session.run(
        np.stack([solid((0, green, 255), SIDE_PX, SIDE_PX) for green in (110, 128, 150)])
    ).embedding.mean(axis=0)
    np.testing.assert_allclose(found[-1], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_network_changes_in_its_bounds_alone(package: Path, tmp_path: Path, out: Path) -> None:
    enroll(package, out, additions={"orange": [picture(tmp_path / "orange.png", ORANGE)]})
    before, after = (onnx.load(path / "model.fp32.onnx") for path in (package, out))
    (text,) = [item.value for item in after.metadata_props if item.key == METADATA_KEY]
    assert Manifest.from_json(text.encode(), "metadata").labels == (*OLD, "orange")
    assert [node.SerializeToString() for node in before.graph.node] == [
        node.SerializeToString() for node in after.graph.node
    ]
    constants = [{item.name: item for item in model.graph.initializer} for model in (before, after)]
    assert [name for name in constants[0] if constants[0][name] != constants[1][name]] == [BOUNDS_NAME]
    directions, bounds = (onnx.numpy_helper.to_array(constants[1][name]) for name in (DIRECTIONS_NAME, BOUNDS_NAME))
    np.testing.assert_array_equal(bounds, bound_matrix(prototypes(out), directions))


def test_a_network_without_bounds(package: Path, tmp_path: Path, out: Path) -> None:
    damaged = Path(shutil.copytree(package, tmp_path / "damaged.partsight"))
    rewrite_model(damaged, lambda _: None)
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx"):
        enroll(damaged, out, removals=["red"])


def test_parts_are_replaced_removed_and_added_again(package: Path, tmp_path: Path, out: Path) -> None:
    orange, violet = picture(tmp_path / "orange.png", ORANGE), picture(tmp_path / "violet.png", VIOLET)
    enroll(package, out, additions={"orange": [orange]}, replacements={"cyan": [violet]}, removals=["red"])
    assert ModelPackage.read(out).manifest.labels == ("blue", "cyan", "green", "magenta", "yellow", "orange")
    assert recognised(out, ORANGE, VIOLET, "green", "cyan") == ["orange", "cyan", "green", None]
    kept = [OLD.index(label) for label in ("blue", "green", "magenta", "yellow")]
    np.testing.assert_array_equal(prototypes(out)[[0, 2, 3, 4]], tiny_prototypes()[kept])
    third = tmp_path / "third.partsight"
    enroll(out, third, removals=["orange"], additions={"red": [picture(tmp_path / "red.png", "red")]})
    assert recognised(third, "red", "green", VIOLET) == ["red", "green", "cyan"]
    ModelPackage.read(third).check_hashes()
