"""`partsight run --check`: the plan of a line, without cameras, sinks and networks."""

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended

Call = Callable[..., Ended]

LINE = """
package = "PACKAGE"
deadline_ms = 200
watch = true
sinks = ["sqlite:FOLDER/results.db?busy_s=1", "modbus://127.0.0.1:1", "mqtt://broker/line3?spool=FOLDER/spool.db"]
[cameras.left]
address = "usb:0"
exposure_us = 2000
[cameras.right]
address = "rtsp://user:secret@10.0.0.7/live"
"""


@pytest.fixture
def file(tiny_package: Path, tmp_path: Path) -> Path:
    path = tmp_path / "line3.toml"
    path.write_text(LINE.replace("PACKAGE", str(tiny_package)).replace("FOLDER", str(tmp_path)))
    return path


def test_the_plan(call: Call, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymodbus", None)
    monkeypatch.setattr(socket.socket, "connect", None)
    ended = call("run", "--config", file, "--check")
    assert (ended.code, ended.err) == (0, "")
    rows = [tuple(line.split(None, 1)) for line in ended.out.splitlines()]
    assert [text for name, text in rows if name == "sink"] == [
        f"sqlite:{tmp_path}/results.db?busy_s=1",
        "modbus://127.0.0.1:1",
        f"mqtt://broker/line3?spool={tmp_path}/spool.db",
    ]
    assert ": 6 parts, id " in rows[0][1]
    assert ("network", "cpu, fp32, batches of 16") in rows
    assert ("camera", "left   usb:0 exposure_us=2000.0") in rows
    assert ("camera", "right  rtsp://10.0.0.7/live") in rows
    assert ("policy", "latest") in rows
    assert ("deadline", "200 ms") in rows
    assert [path.name for path in tmp_path.iterdir()] == ["line3.toml"]


def test_without_a_file(call: Call, tiny_package: Path) -> None:
    ended = call("run", tiny_package, "a.png", "b.png", "--threshold", "0.5", "--check")
    assert ended.code == 0
    for text in ("images     2 files", "policy     block, 32 frames of each camera", "threshold  0.5"):
        assert text in ended.out
    assert "sink       jsonl:-" in ended.out


def test_a_model_alone(call: Call, tiny_package: Path) -> None:
    ended = call("run", tiny_package / "model.fp32.onnx", "a.png", "--check")
    assert (ended.code, str(tiny_package / "model.fp32.onnx") in ended.out) == (0, True)


WRONG = {
    "camera": (["--camera", "gopro:0"], "gopro:0"),
    "index of a camera": (["--camera", "usb:abc"], "usb:abc"),
    "option of a camera": (["--camera", "usb:1", "--gain-db", "3"], "gain_db"),
    "host of a camera": (["--camera", "rtsp://user:p@ss/w@host/x"], "rtsp://host/x"),
    "sink": (["--sink", "kafka://x"], "kafka://x"),
    "option of a sink": (["--sink", "sqlite:r.db?busy=1"], "busy_s"),
    "precision": (["--precision", "int8"], "int8"),
    "provider": (["--provider", "tpu"], "'tpu'"),
    "provider's precision": (["--provider", "cuda", "--precision", "int8"], "fp32, fp16"),
}


@pytest.mark.parametrize(("options", "named"), WRONG.values(), ids=WRONG)
def test_wrong_lines(call: Call, file: Path, options: list[str], named: str) -> None:
    ended = call("run", "--config", file, *options, "--check")
    assert (ended.code, ended.out) == (1, "")
    assert named in ended.err


def test_wrong_packages(call: Call, file: Path, tiny_package: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(tiny_package, tmp_path / "damaged.partsight"))
    (damaged / "manifest.json").write_text("{}")
    for package in (damaged, tmp_path / "nowhere", tmp_path / "no.onnx"):
        ended = call("run", package, "--config", file, "--no-watch", "--check")
        assert (ended.code, ended.out) == (1, "")
        assert package.name in ended.err


def test_a_package_with_an_altered_file(call: Call, altered_package: Path) -> None:
    """The line itself would notice it only when a frame needs the file."""
    ended = call("run", altered_package, "a.png", "--check")
    assert (ended.code, "gallery/red.png" in ended.err) == (1, True)
