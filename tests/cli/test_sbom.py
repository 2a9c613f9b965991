"""`partsight doctor --sbom`: the bill of materials."""

import importlib.metadata
import json
from collections.abc import Callable

from partsight.cli.sbom import make_sbom
from tests.cli.conftest import Ended


def test_the_libraries_of_the_line() -> None:
    bill = make_sbom()
    found = {component["name"]: component for component in bill["components"]}
    for name in ("numpy", "opencv-python-headless", "msgspec", "pillow", "onnxruntime"):
        version = importlib.metadata.version(name)
        assert found[name]["version"] == version
        assert found[name]["purl"] == f"pkg:pypi/{name}@{version}"
        assert found[name]["licenses"]
    assert bill["metadata"]["component"]["name"] == "partsight"


def test_no_other_libraries() -> None:
    """Tests and training do not belong to the line."""
    found = {component["name"] for component in make_sbom()["components"]}
    assert not found & {"pytest", "tensorflow", "ruff", "pip"}


def test_each_dependency_is_a_component() -> None:
    bill = make_sbom()
    known = {component["bom-ref"] for component in [*bill["components"], bill["metadata"]["component"]]}
    assert len(known) == len(bill["components"]) + 1
    assert {item["ref"] for item in bill["dependencies"]} == known
    needs = {item["ref"]: item.get("dependsOn", []) for item in bill["dependencies"]}
    assert all(set(others) <= known for others in needs.values())
    numpy = f"pkg:pypi/numpy@{importlib.metadata.version('numpy')}"
    assert numpy in needs[bill["metadata"]["component"]["bom-ref"]]
    assert numpy in needs[f"pkg:pypi/onnxruntime@{importlib.metadata.version('onnxruntime')}"]


def test_the_command_prints_it(call: Callable[..., Ended]) -> None:
    ended = call("doctor", "--sbom")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == make_sbom()
    assert call("doctor", "--sbom", "--json").code == 2
