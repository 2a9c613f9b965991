"""The TOML file of a line: its keys, and the errors of wrong keys."""

import re
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from partsight.cli.main import build_parser
from partsight.cli.run.arguments import describe
from partsight.cli.run.config import CameraConfig, ConfigError, LineConfig
from partsight.cli.run.toml_file import MAX_BYTES, CameraKeys, LineKeys, read_line_file
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.line import Policy

WHOLE = """
package = "line3.partsight"
sinks = ["sqlite:results.db", "modbus://127.0.0.1:5020?cameras=left,right"]
provider = "openvino"
precision = "int8"
batch = 8
cache = "cache"
threads = 2
threshold = 0.55
top = 3
trusted_keys = ["factory.pub"]
policy = "queue:4"
deadline_ms = 200
watch = true
log = "json"
metrics = ":9100"
page = ":9200?data=page"

[cameras.left]
address = "usb:0"
exposure_us = 2000
gain_db = -1.5
fps = 30
region = [0, 0, 640, 480]
timeout_s = 1.5

[cameras."right hand"]
address = "rtsp://user:secret@10.0.0.7/live"
trigger = "hardware"
policy = "latest"
deadline_ms = 50
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "line3.toml"
    path.write_text(WHOLE)
    return path


def described(*arguments: object) -> LineConfig:
    args = build_parser().parse_args(["run", *map(str, arguments)])
    assert isinstance(args, Namespace)
    return describe(args)


def error_of(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read_line_file(path)
    return str(caught.value)


def test_all_keys(file: Path) -> None:
    assert described("--config", file) == LineConfig(
        package="line3.partsight",
        cameras={
            "left": CameraConfig("usb:0", CameraOptions(2000, -1.5, (0, 0, 640, 480), None, 30, 1.5)),
            "right hand": CameraConfig(
                "rtsp://user:secret@10.0.0.7/live", CameraOptions(trigger="hardware"), "latest", 50
            ),
        },
        sinks=("sqlite:results.db", "modbus://127.0.0.1:5020?cameras=left,right"),
        provider="openvino",
        precision="int8",
        batch=8,
        cache="cache",
        threads=2,
        threshold=0.55,
        top=3,
        trusted_keys=("factory.pub",),
        policy="queue:4",
        deadline_ms=200,
        watch=True,
        log="json",
        metrics=":9100",
        page=":9200?data=page",
    )


def test_every_attribute_has_a_key_and_an_option() -> None:
    attributes = {field.name for field in fields(LineConfig)} - {"images", "warnings"}
    assert set(get_type_hints(LineKeys)) == attributes
    of_cameras = {field.name for field in fields(CameraConfig)} - {"options"}
    assert set(get_type_hints(CameraKeys)) == of_cameras | {field.name for field in fields(CameraOptions)}
    options = {"package": "paths", "cameras": "camera", "sinks": "sink"}
    args = vars(build_parser().parse_args(["run"]))
    assert {options.get(name, name) for name in attributes} <= set(args)


def test_the_old_name_of_a_key_warns(file: Path) -> None:
    file.write_text(WHOLE.replace("deadline_ms", "takt_ms"))
    config = described("--config", file)
    assert (config.deadline_ms, config.cameras["right hand"].deadline_ms) == (200, 50)
    line, camera = config.warnings
    assert line.startswith(f"{file}: takt_ms ")
    assert "cameras.right hand.takt_ms" in camera
    assert "takt_ms: " in error_of(file, "takt_ms = 0")
    assert "takt_ms" in error_of(file, "takt_ms = 5\ndeadline_ms = 5")


def test_both_names_of_an_option_count(file: Path) -> None:
    config = described("--config", file, "--takt-ms", "left=5", "--deadline-ms", "6")
    assert config.deadlines_ms == {"left": 5, "right hand": 50}
    assert len(config.warnings) == 1


def test_the_file_in_the_docs_has_every_key(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "line.md").read_text("utf-8")
    file = tmp_path / "line3.toml"
    file.write_text(text.partition("```toml\n")[2].partition("```")[0], "utf-8")
    values = read_line_file(file)
    assert set(values) - {"warnings"} == set(get_type_hints(LineKeys)) - {"threshold"}  # no number suits most packages
    assert "# threshold = " in file.read_text("utf-8")
    cameras = values["cameras"].values()
    for name in (field.name for field in fields(CameraOptions)):
        assert any(getattr(camera.options, name) != getattr(CameraOptions(), name) for camera in cameras), name
    assert all(any(getattr(camera, name) for camera in cameras) for name in ("policy", "deadline_ms"))
    LineConfig(**values)


def test_file_and_command_have_the_same_defaults(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text('package = "p"\n[cameras.camera0]\naddress = "usb:0"\n')
    assert described("--config", file) == described("p", "--camera", "usb:0")
    assert described("p", "a.png", "--batch", 2).policies == {"files": Policy("block", 4)}


LATEST, BLOCK = Policy("latest", 1), Policy("block", 32)
POLICIES: dict[str, tuple[list[str], tuple[Policy, Policy]]] = {
    "each of its kind": ([], (LATEST, BLOCK)),
    "of the line": (["queue"], (Policy("queue", 32), BLOCK)),
    "with a bound": (["queue:7"], (Policy("queue", 7), BLOCK)),
    "that blocks": (["block:7"], (Policy("block", 7), BLOCK)),
    "of one": (["f=queue:3"], (LATEST, Policy("queue", 3))),
    "of both": (["f=latest", "queue:7"], (Policy("queue", 7), LATEST)),
}


@pytest.mark.parametrize(("options", "expected"), POLICIES.values(), ids=POLICIES)
def test_each_camera_has_its_own_policy(options: list[str], expected: tuple[Policy, Policy]) -> None:
    named = [text for option in options for text in ("--policy", option)]
    config = described("p", "--camera", "l=usb:0", "--camera", "f=folder:x", *named)
    assert (config.policies["l"], config.policies["f"]) == expected


def test_files_have_a_deadline_only_by_name() -> None:
    cameras = ["p", "--camera", "l=usb:0", "--camera", "m=usb:1", "--camera", "f=folder:x"]
    assert described(*cameras).deadlines_ms == {}
    assert described(*cameras, "--deadline-ms", 200, "--deadline-ms", "m=50").deadlines_ms == {"l": 200, "m": 50}
    assert described(*cameras, "--deadline-ms", "f=50").deadlines_ms == {"f": 50}


def test_cameras_of_the_file_keep_their_own(file: Path) -> None:
    config = described("--config", file, "--policy", "left=block", "--deadline-ms", "9")
    assert config.policies == {"left": Policy("block", 16), "right hand": LATEST}
    assert config.deadlines_ms == {"left": 9, "right hand": 50}


@pytest.mark.parametrize("camera", [["--camera", "folder:x"], ["a.png"]])
def test_settings_of_a_line_of_files_alone(camera: list[str]) -> None:
    config = described("p", *camera, "--policy", "latest", "--deadline-ms", 200)
    assert [policy.name for policy in config.policies.values()] == ["latest"]
    assert list(config.deadlines_ms.values()) == [200]


@pytest.mark.parametrize("option", [("--policy", "latest"), ("--deadline-ms", "5")])
def test_settings_of_missing_cameras_or_twice(option: tuple[str, str]) -> None:
    name, value = option
    with pytest.raises(ConfigError, match=rf"{name} .*'x'"):
        described("p", "--camera", "l=usb:0", name, f"x={value}")
    with pytest.raises(ConfigError, match=rf"{name} .*'files'"):
        described("p", "a.png", name, f"files={value}")
    with pytest.raises(ConfigError, match=name):
        described("p", "--camera", "l=usb:0", name, f"l={value}", name, f"l={value}")


def test_options_win(file: Path) -> None:
    config = described("--config", file, "other.partsight", "--sink", "jsonl:-", "--batch", 4, "--no-watch", "--fps", 5)
    assert (config.package, config.sinks, config.batch, config.watch) == ("other.partsight", ("jsonl:-",), 4, False)
    assert (config.provider, config.deadline_ms) == ("openvino", 200)
    assert {name: camera.options.fps for name, camera in config.cameras.items()} == {"left": 5, "right hand": 5}
    assert config.cameras["left"].options.exposure_us == 2000
    cameras = described("--config", file, "--camera", "up=usb:7").cameras
    assert cameras == {"up": CameraConfig("usb:7")}


def test_image_files_win_over_cameras(file: Path) -> None:
    config = described("--config", file, "other.partsight", "a.png", "b.png")
    assert (config.images, config.cameras) == (("a.png", "b.png"), {})


def test_a_mark_of_windows_editors(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    assert read_line_file(file)["package"] == "line3.partsight"


WRONG: dict[str, tuple[str, str]] = {
    "unknown": ("speed = 3", "speed "),
    "number": ("batch = 0", "batch: received 0;"),
    "no whole number": ("top = 2.5", "top: received 2.5;"),
    "quoted": ('batch = "16"', "batch: received '16';"),
    "truth for a number": ("deadline_ms = true", "deadline_ms: received True;"),
    "infinity": ("deadline_ms = inf", "deadline_ms: received inf;"),
    "no number": ("threshold = nan", "threshold: received nan;"),
    "truth": ("watch = 1", "watch: received 1;"),
    "text": ("package = 3", "package: received 3;"),
    "empty": ('cache = ""', "cache: received '';"),
    "name": ('precision = "fp64"', "precision: received 'fp64'; expected one of fp32, bf16, fp16, int8"),
    "policy": ('policy = "newest"', "policy: received 'newest';"),
    "one sink": ('sinks = "jsonl:-"', "sinks: received a str;"),
    "no sinks": ("sinks = []", "sinks: received a list;"),
    "table": ("[batch]\nx = 1", "batch: received {'x': 1};"),
    "date": ("package = 2025-01-01", "package: received datetime.date(2025, 1, 1);"),
    "camera's key": ('[cameras.left]\naddress = "usb:0"\nshutter = 3', "cameras.left.shutter "),
    "camera's value": ('[cameras.left]\naddress = "usb:0"\nfps = "fast"', "cameras.left.fps: received"),
    "region": ('[cameras.left]\naddress = "usb:0"\nregion = [0, 0, 64]', "cameras.left.region: received [0, 0, 64];"),
    "empty region": (
        '[cameras.left]\naddress = "usb:0"\nregion = [0, 0, 0, 9]',
        "(0, 0, 0, 9)",
    ),
    "trigger": ('[cameras.left]\naddress = "usb:0"\ntrigger = "on"', "one of free, hardware, software"),
    "no address": ("[cameras.left]\nfps = 3", "cameras.left.address "),
    "no TOML": ("package line3", "line 1"),
    "twice": ("top = 1\ntop = 2", "TOML"),
    "deep": ("top = " + "[" * 20_000, "TOML"),
    "huge number": ("top = " + "9" * 5_000, "TOML"),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_files(tmp_path: Path, text: str, expected: str) -> None:
    error = error_of(tmp_path / "line3.toml", text)
    assert error.startswith(f"{tmp_path / 'line3.toml'}: ")
    assert expected in error


def test_all_faults_at_once(tmp_path: Path) -> None:
    error = error_of(tmp_path / "l.toml", "batch = 0\nspeed = 1\n[cameras.left]\nfps = 0\n")
    assert len(error.splitlines()) == 5
    for name in ("batch", "speed", "cameras.left.fps", "cameras.left.address"):
        assert f"\n  {name}" in error


@pytest.mark.parametrize(
    "text", ['[cameras]\nleft = "rtsp://u:secret@h/"', '[cameras.left]\naddress = ["rtsp://u:secret@h/"]']
)
def test_no_password_is_shown(tmp_path: Path, text: str) -> None:
    assert "secret" not in error_of(tmp_path / "l.toml", text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "UTF-8" in error_of(tmp_path / "latin.toml", b'package = "\xff"')
    assert f"{MAX_BYTES:,}" in error_of(tmp_path / "large.toml", b"#" * (MAX_BYTES + 1))
    for path in (tmp_path, tmp_path / "nowhere.toml"):
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            read_line_file(path)


def test_lines_that_cannot_run(call: Any, tmp_path: Path) -> None:
    """A wrong file is an error without the usage of the options."""
    file = tmp_path / "line3.toml"
    for text, named in {
        'package = "p"': "--camera",
        '[cameras.left]\naddress = "usb:0"': "PACKAGE",
        'package = "p.onnx"\nwatch = true\n[cameras.left]\naddress = "usb:0"': "p.onnx",
        'package = "p"\nmetrics = "9100"\n[cameras.left]\naddress = "usb:0"': "'9100'",
        'package = "p"\nsinks = ["jsonl:-", "jsonl:-"]\n[cameras.left]\naddress = "usb:0"': "jsonl:-, jsonl:-",
        "batch = 0": f"{file}: batch: ",
    }.items():
        file.write_text(text)
        ended = call("run", "--config", file)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("partsight: error: ")
        assert named in ended.err
    assert call("run").code == 2
