"""`partsight run --device`: a recogniser for each card or NUMA node."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from partsight.cli.main import build_parser
from partsight.cli.options import devices
from partsight.cli.run.arguments import describe
from partsight.cli.run.config import ConfigError, LineConfig
from partsight.cli.run.toml_file import read_line_file
from partsight.runtime import ProviderError, Recognizer
from partsight.runtime.line import Policy
from tests.cli.conftest import Ended
from tests.tiny import solid
from tests.tiny_nodes import needs_affinity, write_nodes

Call = Callable[..., Ended]


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, frozenset[int]]:
    return write_nodes(tmp_path / "node", monkeypatch)


def described(*arguments: object) -> LineConfig:
    return describe(build_parser().parse_args(["run", *map(str, arguments)]))


@pytest.mark.parametrize(("text", "numbers"), [("0", (0,)), ("0,1", (0, 1)), ("3, 3", (3, 3))])
def test_numbers_of_devices(text: str, numbers: tuple[int, ...]) -> None:
    assert devices(text) == numbers


@pytest.mark.parametrize("text", ["", "-1", "a", "0,", "0;1", "cuda:0"])
def test_other_texts_are_no_devices(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="0 or 0,1"):
        devices(text)


@pytest.mark.parametrize(("value", "numbers"), [("1", (1,)), ("[0, 1]", (0, 1))])
def test_devices_of_a_file(tmp_path: Path, value: str, numbers: tuple[int, ...]) -> None:
    (tmp_path / "line.toml").write_text(f"device = {value}\n")
    assert read_line_file(tmp_path / "line.toml") == {"device": numbers}


@pytest.mark.parametrize("value", ["-1", "[]", "[0, -1]", '"0"', "1.5", "true"])
def test_wrong_devices_of_a_file(tmp_path: Path, value: str) -> None:
    (tmp_path / "line.toml").write_text(f"device = {value}\n")
    with pytest.raises(ConfigError, match="device: received"):
        read_line_file(tmp_path / "line.toml")


def test_an_option_replaces_the_files_devices(tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text('package = "p"\ndevice = 1\n[cameras.c]\naddress = "usb:0"\n')
    assert described("--config", tmp_path / "line.toml").device == (1,)
    assert described("--config", tmp_path / "line.toml", "--device", "0,2").device == (0, 2)


def test_each_recogniser_has_room_for_its_batches() -> None:
    config = described("p", "--camera", "folder:x", "--batch", 4, "--device", "0,1")
    assert config.policies == {"camera0": Policy("block", 16)}


@needs_affinity
def test_a_package_is_loaded_once_for_each_device(
    nodes: dict[int, frozenset[int]], tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = described(tiny_package, "--camera", "usb:0", "--device", "0,1")
    recognizers = config.load(tiny_package)
    assert [recognizer._cores.numbers for recognizer in recognizers] == [nodes[0], nodes[1]]
    for recognizer in recognizers:
        recognizer.close()
    closed: list[Recognizer] = []
    close = Recognizer.close
    monkeypatch.setattr(Recognizer, "close", lambda recognizer: (closed.append(recognizer), close(recognizer)))
    with pytest.raises(ProviderError, match="node 7"):
        described(tiny_package, "--camera", "usb:0", "--device", "0,7").load(tiny_package)
    assert len(closed) == 1


@needs_affinity
def test_a_line_on_two_devices(
    nodes: dict[int, frozenset[int]], call: Call, tiny_package: Path, tmp_path: Path
) -> None:
    colours = ["red", "blue", "green"] * 30
    (tmp_path / "photos").mkdir()
    for index, colour in enumerate(colours):
        cv2.imwrite(str(tmp_path / "photos" / f"{index:03}.png"), solid(colour))
    options = ("--device", "0,1", "--batch", 4, "--threads", 1)
    ended = call("run", tiny_package, "--camera", f"folder:{tmp_path / 'photos'}", *options)
    assert ended.code == 0
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert [(answer["sequence"], answer["label"]) for answer in answers] == list(enumerate(colours))


@needs_affinity
def test_a_device_that_is_not_there(nodes: dict[int, frozenset[int]], call: Call, tiny_package: Path) -> None:
    for check in ((), ("--check",)):
        ended = call("run", tiny_package, "a.png", "--device", "0,5", *check)
        assert (ended.code, ended.out) == (1, "")
        assert "node 5" in ended.err


@needs_affinity
def test_the_plan_names_the_devices(nodes: dict[int, frozenset[int]], call: Call, tiny_package: Path) -> None:
    ended = call("run", tiny_package, "a.png", "--device", "0,1", "--check")
    assert (ended.code, ended.err) == (0, "")
    assert ", on devices 0, 1 at once" in ended.out
