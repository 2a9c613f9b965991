"""Conflicts between cameras, sinks and the package of a line."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.cli.run.config import CameraConfig, LineConfig
from partsight.cli.run.conflicts import check_devices, check_targets, differences
from partsight.runtime import PageError, SinkError
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.core import CameraError, FrameError
from partsight.runtime.images import PreprocessSpec, Region
from partsight.runtime.package import ModelPackage
from tests.cli.conftest import Ended
from tests.tiny import COLOURS_BGR, SIDE_PX, write_tiny_package

Call = Callable[..., Ended]

LABELS = "number,label\n" + "".join(f"{number},{label}\n" for number, label in enumerate(COLOURS_BGR, 1))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one colour picture of 64×48 px, and a table of the tiny package's labels next to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "first.png"), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path / "photos"


def line(
    *sinks: str,
    camera: str = "usb:0",
    options: CameraOptions | None = None,
    metrics: str | None = None,
    page: str | None = None,
) -> LineConfig:
    cameras = {"left": CameraConfig(camera, options or CameraOptions())}
    return LineConfig(package="p.partsight", cameras=cameras, sinks=sinks or ("jsonl:-",), metrics=metrics, page=page)


def found(config: LineConfig, folder: Path, **preprocess: object) -> list[str]:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, **preprocess)  # type: ignore[arg-type]
    package = folder.parent / "made.partsight"
    if not package.exists():
        write_tiny_package(package, preprocess=spec)
    return list(differences(config, ModelPackage.read(package).manifest))


SAME = {
    "two sinks of one file": (("jsonl:r.jsonl", "csv:./r.jsonl"), "r.jsonl"),
    "by a link": (("sqlite:r.db", "sqlite:link.db?busy_s=1"), "r.db"),
    "two folders of pictures": (("images:kept", "images:kept/?max_files=3"), "kept"),
    "a spool": (("mqtt://broker/a?spool=s.db", "mqtt://broker/b?spool=s.db"), "s.db"),
    "standard output": (("jsonl:-", "csv:-"), "jsonl:- and csv:-"),
    "a port": (("modbus:", "modbus://127.0.0.1:5020?ack_s=0"), "port 5020 of 127.0.0.1"),
    "the port of metrics": (("opcua://127.0.0.1:9100",), "port 9100 of 127.0.0.1"),
    "the port of the page": (("modbus://127.0.0.1:9200",), "port 9200 of 127.0.0.1"),
}


@pytest.mark.parametrize(("sinks", "target"), SAME.values(), ids=SAME)
def test_one_target_for_two_sinks(sinks: tuple[str, ...], target: str, folder: Path) -> None:
    (folder.parent / "link.db").symlink_to("r.db")
    with pytest.raises(SinkError, match=re.escape(target)):
        check_targets(line(*sinks, metrics=":9100", page=":9200?data=page"))


def test_one_port_for_metrics_and_page(folder: Path) -> None:
    with pytest.raises(PageError, match=r"port 9100 of 127\.0\.0\.1"):
        check_targets(line(metrics=":9100", page=":9100?data=page"))
    check_targets(line(metrics=":0", page=":0?data=page"))  # each gets a free one


def test_a_target_for_each_sink(folder: Path) -> None:
    sinks = ("jsonl:-", "jsonl:r.jsonl", "csv:r.csv", "images:kept", "modbus:", "opcua:", "mqtt://broker/a?spool=s.db")
    check_targets(line(*sinks, camera=f"folder:{folder}", metrics=":9100", page=":9200?data=page"))


@pytest.mark.parametrize("kept", ["photos", "photos/kept", "./other/../photos"])
def test_pictures_in_a_cameras_folder(kept: str, folder: Path) -> None:
    with pytest.raises(SinkError, match="photos"):
        check_targets(line(f"images:{kept}", camera=f"folder:{folder}"))
    check_targets(line("images:kept", "jsonl:photos/r.jsonl", camera="folder:photos"))


def test_a_line_that_fits(folder: Path) -> None:
    config = line("modbus:?labels=labels.csv&cameras=left", camera="folder:photos")
    assert found(config, folder, golden_hw=(48, 64)) == []


def test_a_table_and_cameras_that_fit_in_part(folder: Path) -> None:
    (folder.parent / "labels.csv").write_text("number,label\n1,red\n2,pink\n")
    texts = found(line("modbus:?labels=labels.csv&cameras=left,top"), folder)
    assert len(texts) == 3
    assert all(text.startswith("sink modbus:?labels=labels.csv&cameras=left,top: ") for text in texts)
    for part in ("5 of 6", "pink", "top"):
        assert any(part in text for text in texts)


@pytest.mark.parametrize("options", ["labels=other.csv", "labels=none.csv", "labels=labels.csv&cameras=right"])
def test_a_sink_that_cannot_work(options: str, folder: Path) -> None:
    (folder.parent / "other.csv").write_text("number,label\n1,M8\n")
    with pytest.raises(SinkError, match=r"other\.csv|none\.csv|right"):
        found(line(f"modbus:?{options}"), folder)


def test_one_device_for_two_cameras() -> None:
    def named(first: str, second: str) -> LineConfig:
        cameras = {"left": CameraConfig(first, CameraOptions()), "right": CameraConfig(second, CameraOptions())}
        return LineConfig(package="p.partsight", cameras=cameras)

    with pytest.raises(CameraError, match=r"left.*right.*usb:0"):
        check_devices(named("usb:0", "usb:0"))
    check_devices(named("usb:0", "usb:1"))
    check_devices(named("rtsp://camera/one", "rtsp://camera/one"))  # a stream has any number of readers


def test_a_camera_named_twice(folder: Path) -> None:
    with pytest.raises(SinkError, match="left"):
        found(line("modbus:?cameras=left,left"), folder)


CUT = {"region": Region(0, 0, 8, 8), "golden_hw": (480, 640)}


@pytest.mark.parametrize("preprocess", [CUT, {"color": "mono"}], ids=["region", "colour"])
def test_images_that_do_not_fit_the_package(preprocess: dict[str, object], folder: Path) -> None:
    with pytest.raises(FrameError, match=r"camera left: .*first\.png: "):
        found(line(camera="folder:photos"), folder, **preprocess)
    single = LineConfig(package="p.partsight", images=(f"{folder}/first.png",))
    with pytest.raises(FrameError, match=r"camera files: .*first\.png: "):
        found(single, folder, **preprocess)


def test_stretched_images_and_unreadable_ones(folder: Path) -> None:
    assert "64×48 px" in found(line(camera="folder:photos"), folder, golden_hw=(64, 64))[0]
    (folder / "first.png").write_bytes(b"\x89PNG")
    assert "first.png" in found(line(camera="folder:photos"), folder, golden_hw=(64, 64))[0]
    with pytest.raises(CameraError):
        found(line(camera="folder:nowhere"), folder)


def test_a_live_cameras_region_is_its_frames_size(folder: Path) -> None:
    (text,) = found(line(options=CameraOptions(region=(0, 0, 320, 240))), folder, **CUT)
    assert text.startswith("camera left: ") and "320×240 px" in text and "640×480 px" in text
    assert found(line(options=CameraOptions(region=(0, 0, 640, 480))), folder, **CUT) == []


def test_the_command(call: Call, tiny_package: Path, folder: Path) -> None:
    (folder.parent / "labels.csv").write_text("number,label\n1,red\n")
    options = (tiny_package, "--camera", "left=folder:photos", "--check", "--sink")
    ended = call("run", *options, "modbus:?labels=labels.csv")
    assert (ended.code, "5 of 6" in ended.out) == (0, True)
    ended = call("run", *options, "modbus:?labels=labels.csv&cameras=right")
    assert (ended.code, ended.out) == (1, "")
    ended = call("run", *options[:3], "--sink", "images:photos")  # not only with --check
    assert (ended.code, "images:photos" in ended.err) == (1, True)
