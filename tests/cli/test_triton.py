"""`partsight triton`: a package in a model repository."""

from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.runtime import ModelPackage
from tests.cli.command import loaded_by, without
from tests.cli.conftest import Ended
from tests.export.triton.conftest import with_threshold
from tests.tiny import COLOURS_BGR

Call = Callable[..., Ended]


def test_write_append_and_check(call: Call, matching_package: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    first = call("triton", matching_package, "--out", models, "--instances", "2@cpu", "--batch", 4)
    assert (first.code, first.err) == (0, "")
    assert [line.partition(":")[0] for line in first.out.splitlines()] == [
        *("model", "package", "input", "check", "start", "load"),
    ]
    assert str(models / matching_package.stem / "1") in first.out
    assert ModelPackage.read(matching_package).package_id in first.out
    assert "(1 to 4, 36, 36, 3)" in first.out
    retrained = with_threshold(matching_package, tmp_path / "retrained.partsight", 0.6)
    second = call("triton", retrained, "--out", models, "--name", matching_package.stem)
    assert second.code == 0
    assert str(models / matching_package.stem / "2") in second.out
    checked = call("triton", matching_package, "--out", models, "--check")
    assert (checked.code, checked.err) == (0, "")
    assert f"{2 * len(COLOURS_BGR) + 4} frames" in checked.out
    assert "version 1" in checked.out


def test_a_check_that_fails(call: Call, matching_package: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert call("triton", matching_package, "--out", models, "--name", "line").code == 0
    (models / "line" / "1" / "model.onnx").write_bytes(b"damaged")
    ended = call("triton", matching_package, "--out", models, "--name", "line", "--check")
    assert (ended.code, ended.out) == (1, "")
    assert "model.onnx" in ended.err


@pytest.mark.parametrize(
    "options",
    [
        ("--instances", "two"),
        ("--batch", "0"),
        ("--name", "a/b"),
        ("--check", "--batch", "4"),
        ("--check", "--instances", "1"),
        ("--check", "--tensorrt", "/engines"),
        ("--tensorrt", "/engines", "--precision", "int8"),
    ],
)
def test_wrong_usage(options: tuple[str, ...], call: Call, matching_package: Path, tmp_path: Path) -> None:
    ended = call("triton", matching_package, "--out", tmp_path / "models", *options)
    assert (ended.code, ended.out) == (2, "")
    assert not (tmp_path / "models").exists()


def test_a_package_without_golden_images(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    ended = call("triton", tiny_package, "--out", tmp_path / "models")
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1


def test_a_key_that_did_not_sign(call: Call, matching_package: Path, tmp_path: Path) -> None:
    assert call("keygen", "--out", tmp_path / "factory").code == 0
    ended = call("triton", matching_package, "--out", tmp_path / "models", "--trusted-key", tmp_path / "factory.pub")
    assert ended.code == 1
    assert not (tmp_path / "models").exists()


def test_without_the_client(matching_package: Path, tmp_path: Path) -> None:
    ended = without("tritonclient", "triton", matching_package, "--out", tmp_path / "models")
    assert ended.returncode == 1
    assert "partsight[triton]" in ended.stderr
    assert not (tmp_path / "models").exists()


def test_the_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("triton", "--help")
    assert not {"tritonclient", "grpc", "onnx", "onnxruntime", "partsight.export"} & loaded
