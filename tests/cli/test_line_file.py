"""The file of a line: what its keys give, and what is said of wrong ones."""

from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from partsight.cli.line_config import CameraConfig, ConfigError, LineConfig
from partsight.cli.line_file import _CAMERA, _DEPRECATED, _LINE, MAX_BYTES, read_line_file
from partsight.cli.line_options import _OWN, _SAME, describe
from partsight.cli.main import build_parser
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
takt_ms = 200
watch = true
log = "json"
metrics = ":9100"

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
takt_ms = 50
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


def said_of(path: Path, text: str | bytes) -> str:
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
        takt_ms=200,
        watch=True,
        log="json",
        metrics=":9100",
    )


def test_every_attribute_has_a_key_and_an_option() -> None:
    attributes = {field.name for field in fields(LineConfig)}
    assert set(_LINE) == attributes - {"images"}
    assert {"comparers"} == _DEPRECATED
    assert set(_SAME) == attributes - {"images", "package", "cameras", "sinks", "trusted_keys", *_OWN}
    of_cameras = {field.name for field in fields(CameraConfig)} - {"options"}
    assert set(_CAMERA) == of_cameras | {field.name for field in fields(CameraOptions)}
    assert of_cameras == {"address", *_OWN}


def test_a_deprecated_key_is_read_and_not_named(file: Path) -> None:
    file.write_text("comparers = 3\n" + WHOLE)
    assert described("--config", file).comparers == 3
    said = said_of(file, "comparer = 3")
    assert "comparer is not known; expected one of package, " in said
    assert "comparers" not in said
    assert "comparers: received -1; expected a whole number" in said_of(file, "comparers = -1").replace("'", "")


def test_the_file_in_the_docs_has_every_key(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text("utf-8")
    file = tmp_path / "line3.toml"
    file.write_text(text.partition("```toml\n")[2].partition("```")[0], "utf-8")
    values = read_line_file(file)
    assert set(values) == set(_LINE) - _DEPRECATED - {"threshold"}  # any number would be wrong for most packages
    assert "# threshold = " in file.read_text("utf-8")
    cameras = values["cameras"].values()
    for name in (field.name for field in fields(CameraOptions)):
        assert any(getattr(camera.options, name) != getattr(CameraOptions(), name) for camera in cameras), name
    assert all(any(getattr(camera, name) for camera in cameras) for name in _OWN)
    LineConfig(**values)


def test_defaults_are_those_of_the_command(tmp_path: Path) -> None:
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


def test_each_camera_has_its_own_takt_and_files_have_none_unless_named() -> None:
    cameras = ["p", "--camera", "l=usb:0", "--camera", "m=usb:1", "--camera", "f=folder:x"]
    assert described(*cameras).takts_ms == {}
    assert described(*cameras, "--takt-ms", 200, "--takt-ms", "m=50").takts_ms == {"l": 200, "m": 50}
    assert described(*cameras, "--takt-ms", "f=50").takts_ms == {"f": 50}


def test_cameras_of_the_file_keep_their_own(file: Path) -> None:
    config = described("--config", file, "--policy", "left=block", "--takt-ms", "9")
    assert config.policies == {"left": Policy("block", 16), "right hand": LATEST}
    assert config.takts_ms == {"left": 9, "right hand": 50}


@pytest.mark.parametrize("camera", [["--camera", "folder:x"], ["a.png"]])
def test_settings_of_a_line_of_files_alone(camera: list[str]) -> None:
    config = described("p", *camera, "--policy", "latest", "--takt-ms", 200)
    assert [policy.name for policy in config.policies.values()] == ["latest"]
    assert list(config.takts_ms.values()) == [200]


@pytest.mark.parametrize("option", [("--policy", "latest"), ("--takt-ms", "5")])
def test_settings_of_cameras_that_are_not_there_or_twice(option: tuple[str, str]) -> None:
    name, value = option
    with pytest.raises(ConfigError, match=rf"{name} names camera 'x'; expected one of l"):
        described("p", "--camera", "l=usb:0", name, f"x={value}")
    with pytest.raises(ConfigError, match=rf"{name} names camera 'files'; expected no name"):
        described("p", "a.png", name, f"files={value}")
    with pytest.raises(ConfigError, match=rf"{name} is there twice"):
        described("p", "--camera", "l=usb:0", name, f"l={value}", name, f"l={value}")


def test_options_win(file: Path) -> None:
    config = described("--config", file, "other.partsight", "--sink", "jsonl:-", "--batch", 4, "--no-watch", "--fps", 5)
    assert (config.package, config.sinks, config.batch, config.watch) == ("other.partsight", ("jsonl:-",), 4, False)
    assert (config.provider, config.takt_ms) == ("openvino", 200)
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
    "unknown": ("speed = 3", "speed is not known; expected one of package, cameras, sinks, provider"),
    "number": ("batch = 0", "batch: received '0'; expected a whole number of at least 1"),
    "no whole number": ("top = 2.5", "top: received '2.5'; expected a whole number of at least 1"),
    "quoted": ('batch = "16"', """batch: received "'16'"; expected a whole number of at least 1"""),
    "truth for a number": ("takt_ms = true", "takt_ms: received 'True'; expected a number above 0"),
    "infinity": ("takt_ms = inf", "takt_ms: received 'inf'; expected a number above 0"),
    "no number": ("threshold = nan", "threshold: received 'nan'; expected a number"),
    "truth": ("watch = 1", "watch: received 1; expected true or false"),
    "text": ("package = 3", "package: received 3; expected a text in quotes"),
    "empty": ('cache = ""', "cache: received ''; expected a text in quotes"),
    "name": ('precision = "fp64"', "precision: received 'fp64'; expected one of fp32, bf16, fp16, int8"),
    "policy": ('policy = "newest"', "policy: received 'newest'; expected latest, queue:N or block"),
    "one sink": ('sinks = "jsonl:-"', "sinks: received 'jsonl:-'; expected a list of texts"),
    "no sinks": ("sinks = []", "sinks: received []; expected a list of texts"),
    "table": ("[batch]\nx = 1", "batch: received \"{'x': 1}\"; expected a whole number"),
    "date": ("package = 2025-01-01", "package: received datetime.date(2025, 1, 1); expected a text"),
    "camera's key": ('[cameras.left]\naddress = "usb:0"\nshutter = 3', "cameras.left.shutter is not known; expected"),
    "camera's value": ('[cameras.left]\naddress = "usb:0"\nfps = "fast"', "cameras.left.fps: received"),
    "region": ('[cameras.left]\naddress = "usb:0"\nregion = [0, 0, 64]', "expected X,Y,WIDTH,HEIGHT in pixels"),
    "empty region": (
        '[cameras.left]\naddress = "usb:0"\nregion = [0, 0, 0, 9]',
        "cameras.left: region is (0, 0, 0, 9)",
    ),
    "trigger": ('[cameras.left]\naddress = "usb:0"\ntrigger = "on"', "expected one of free, hardware, software"),
    "no address": ("[cameras.left]\nfps = 3", "cameras.left.address is not there; expected one, such as"),
    "no TOML": ("package line3", "is no TOML in UTF-8: Expected '=' after a key"),
    "twice": ("top = 1\ntop = 2", "is no TOML in UTF-8: Cannot overwrite a value"),
    "deep": ("top = " + "[" * 20_000, "is no TOML in UTF-8: "),
    "huge number": ("top = " + "9" * 5_000, "is no TOML in UTF-8: "),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_files(tmp_path: Path, text: str, expected: str) -> None:
    said = said_of(tmp_path / "line3.toml", text)
    assert said.startswith(f"{tmp_path / 'line3.toml'}: ")
    assert expected in said


def test_all_faults_at_once(tmp_path: Path) -> None:
    said = said_of(tmp_path / "l.toml", "batch = 0\nspeed = 1\n[cameras.left]\nfps = 0\n")
    assert len(said.splitlines()) == 5
    for name in ("batch: ", "speed is", "cameras.left.fps: ", "cameras.left.address is"):
        assert f"\n  {name}" in said


@pytest.mark.parametrize(
    "text", ['[cameras]\nleft = "rtsp://u:secret@h/"', '[cameras.left]\naddress = ["rtsp://u:secret@h/"]']
)
def test_no_password_is_shown(tmp_path: Path, text: str) -> None:
    assert "secret" not in said_of(tmp_path / "l.toml", text)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "is no TOML in UTF-8" in said_of(tmp_path / "latin.toml", b'package = "\xff"')
    assert f"has more than {MAX_BYTES:,} bytes" in said_of(tmp_path / "large.toml", b"#" * (MAX_BYTES + 1))
    for path in (tmp_path, tmp_path / "nowhere.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_line_file(path)


def test_what_cannot_be_run(call: Any, tmp_path: Path) -> None:
    """A file that is wrong is an error; wrong usage is that of options."""
    file = tmp_path / "line3.toml"
    for text, said in {
        'package = "p"': "expected either IMAGE ... or --camera folder:PATH",
        '[cameras.left]\naddress = "usb:0"': "no package is named",
        'package = "p.onnx"\nwatch = true\n[cameras.left]\naddress = "usb:0"': "not at an .onnx file alone",
        'package = "p"\nmetrics = "9100"\n[cameras.left]\naddress = "usb:0"': "metrics: received '9100'; expected",
        'package = "p"\nsinks = ["jsonl:-", "jsonl:-"]\n[cameras.left]\naddress = "usb:0"': "and each once",
        "batch = 0": f"partsight: error: {file}: batch: received '0'",
    }.items():
        file.write_text(text)
        ended = call("run", "--config", file)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("partsight: error: ")
        assert said in ended.err
    assert call("run").code == 2
