"""`partsight run` of image files and folders: one record a frame, in order."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import onnxruntime
import pytest

from partsight.cli.main import main
from partsight.runtime import SinkGoneError
from partsight.runtime.line import sink_worker
from partsight.runtime.sinks.jsonl import StandardOutput
from partsight.runtime.sinks.record import FrameEvent, Record
from tests.cli.command import partsight
from tests.cli.conftest import Ended
from tests.tiny import solid

Call = Callable[..., Ended]
has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def records(ended: Ended) -> list[dict[str, Any]]:
    """The records on stdout, each in the form that all sinks share."""
    assert ended.out == "" or ended.out.endswith("\n")
    return [msgspec.to_builtins(msgspec.json.decode(line, type=Record)) for line in ended.out.splitlines()]


def test_a_folder(call: Call, tiny_package: Path, photos: Path) -> None:
    """All images of the folder and its subfolders, in the order of their paths; no other file."""
    ended = call("run", tiny_package, "--camera", f"folder:{photos}")
    assert ended.code == 0
    answers = records(ended)
    names = ["1_red.png", "2_blue.bmp", "more/3_grey.png", "more/4_green.PNG"]
    assert [answer["source"] for answer in answers] == [str(photos / name) for name in names]
    assert [answer["sequence"] for answer in answers] == [0, 1, 2, 3]
    assert [answer["label"] for answer in answers] == ["red", "blue", None, "green"]
    assert [answer["outcome"] for answer in answers] == ["recognised", "recognised", "unknown", "recognised"]
    assert re.fullmatch(r"camera0: 4 .*\b3 .*\b1 .*\b0 .*\n", ended.err)  # frames: recognised, unknown, failed


def test_image_files_in_the_order_given(call: Call, tiny_package: Path, photos: Path) -> None:
    given = [photos / "more/4_green.PNG", photos / "1_red.png", photos / "more/4_green.PNG"]
    ended = call("run", tiny_package, *given)
    assert ended.code == 0
    assert [answer["source"] for answer in records(ended)] == [str(path) for path in given]
    assert [answer["label"] for answer in records(ended)] == ["green", "red", "green"]
    assert {answer["camera"] for answer in records(ended)} == {"files"}


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
def test_a_frame_that_cannot_be_read_has_its_line(call: Call, tiny_package: Path, photos: Path, batch: int) -> None:
    red = photos / "1_red.png"
    broken, missing, grey, small = (photos / f"{name}.png" for name in ("broken", "missing", "grey", "small"))
    broken.write_bytes(red.read_bytes()[:60])
    cv2.imwrite(str(grey), solid("red")[:, :, 0])
    cv2.imwrite(str(small), solid("red", 1, 1))
    ended = call("run", tiny_package, missing, red, broken, grey, small, photos / "2_blue.bmp", "--batch", batch)
    assert ended.code == 4
    answers = records(ended)
    assert [answer["sequence"] for answer in answers] == list(range(6))
    for index, datum in {0: "missing.png", 2: "broken.png", 3: "mono", 4: "1×1 px"}.items():
        assert (answers[index]["outcome"], answers[index]["label"]) == ("failed", None)
        assert datum in answers[index]["error"]
    names = ["missing", "1_red", "broken", "grey", "small", "2_blue"]
    assert [Path(answer["source"]).stem for answer in answers] == names
    assert [answers[index]["label"] for index in (1, 5)] == ["red", "blue"]
    warning, total = ended.err.splitlines()  # only of the frame that does not fit the package
    assert "WARNING camera files: " in warning
    assert total.startswith("files: ")
    assert re.findall(r"\d+", total) == ["6", "2", "0", "4"]  # frames: recognised, unknown, failed


def test_stdout_has_only_records(tiny_package: Path, photos: Path) -> None:
    done = partsight("run", tiny_package, "--camera", f"folder:{photos}", "--batch", "1")
    assert done.returncode == 0
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["red", "blue", None, "green"]
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("camera0: ")


def test_threshold(call: Call, tiny_package: Path, photos: Path) -> None:
    strict = records(call("run", tiny_package, photos / "1_red.png", "--threshold", "1.5"))[0]
    assert (strict["label"], strict["outcome"], strict["top"][0]["label"]) == (None, "unknown", "red")
    generous = records(call("run", tiny_package, photos / "more/3_grey.png", "--threshold", "-1"))[0]
    assert generous["outcome"] == "recognised"
    assert generous["label"] == generous["top"][0]["label"]


def test_top(call: Call, tiny_package: Path, photos: Path) -> None:
    for count, expected in ((1, 1), (3, 3), (50, 6)):
        (answer,) = records(call("run", tiny_package, photos / "1_red.png", "--top", count))
        scores = [item["score"] for item in answer["top"]]
        assert len(scores) == expected
        assert scores == sorted(scores, reverse=True)
        assert answer["margin"] > 0


def test_a_model_file_alone(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("run", tiny_package / "model.fp32.onnx", photos / "1_red.png", "--threads", 1)
    assert ended.code == 0
    assert [answer["label"] for answer in records(ended)] == ["red"]


def test_options_may_stand_between_images(call: Call, tiny_package: Path, photos: Path) -> None:
    red, blue = photos / "1_red.png", photos / "2_blue.bmp"
    for arguments in (
        ("--top", 1, tiny_package, red, blue),
        (tiny_package, "--top", 1, red, blue),
        (tiny_package, red, "--top", 1, blue),
    ):
        ended = call("run", *arguments)
        assert ended.code == 0
        assert [answer["label"] for answer in records(ended)] == ["red", "blue"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not text")
def test_a_name_that_is_not_text(tiny_package: Path, photos: Path) -> None:
    """Every line stays JSON in UTF-8."""
    name = os.fsencode(photos) + b"/\xff.png"
    shutil.copy(photos / "1_red.png", name)
    done = partsight("run", tiny_package, os.fsdecode(name))
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert (answer["label"], answer["source"]) == ("red", f"{photos}/\\udcff.png")  # as an escape


def test_a_precision_that_the_package_lacks(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("run", tiny_package, photos / "1_red.png", "--precision", "fp16")
    assert (ended.code, ended.out) == (1, "")
    assert "fp16" in ended.err
    assert "fp32" in ended.err


@pytest.mark.skipif(has_cuda, reason="this ONNX Runtime was built with CUDA")
def test_cuda_on_a_machine_without_it(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("run", tiny_package, photos / "1_red.png", "--provider", "cuda")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("partsight: error: ")
    assert "'cuda'" in ended.err
    assert "pip install 'partsight[gpu]'" in ended.err


def test_an_unknown_provider(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("run", tiny_package, photos / "1_red.png", "--provider", "tpu")
    assert (ended.code, ended.out) == (1, "")
    for name in ("'tpu'", "cpu", "openvino", "cuda", "tensorrt"):
        assert name in ended.err


def test_an_altered_package(call: Call, tiny_package: Path, photos: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(tiny_package, tmp_path / "altered.partsight"))
    with (package / "model.fp32.onnx").open("ab") as file:
        file.write(b"\0")
    ended = call("run", package, photos / "1_red.png")
    assert (ended.code, ended.out) == (1, "")
    assert "model.fp32.onnx" in ended.err
    assert "SHA-256" in ended.err


def test_an_option_that_a_camera_lacks(call: Call, tiny_package: Path, photos: Path) -> None:
    """It is an error at once: folders are opened before anything else."""
    ended = call("run", tiny_package, "--camera", f"folder:{photos}", "--gain-db", "3")
    assert (ended.code, ended.out) == (1, "")
    assert "gain_db" in ended.err


def test_images_to_a_sink(call: Call, tiny_package: Path, photos: Path, tmp_path: Path) -> None:
    ended = call("run", tiny_package, photos / "1_red.png", "--sink", f"jsonl:{tmp_path / 'results.jsonl'}")
    assert (ended.code, ended.out) == (0, "")
    assert json.loads((tmp_path / "results.jsonl").read_text())["label"] == "red"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_under_the_results(
    tiny_package: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line waits for it; at the end only for a while."""
    monkeypatch.setattr(sink_worker, "END_S", 0.3)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["run", str(tiny_package), "--camera", f"folder:{photos}"]) == 4
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("sink jsonl:-: 4 ")


def test_a_broker_that_is_never_reached(call: Call, tiny_package: Path, photos: Path, tmp_path: Path) -> None:
    sink = f"mqtt://127.0.0.1:1/line3?spool={tmp_path / 'spool.db'}&close_s=0"
    ended = call("run", tiny_package, "--camera", f"folder:{photos}", "--sink", sink)
    assert ended.code == 4
    assert ended.err.splitlines()[-1].startswith(f"sink {sink}: 4 ")
    ended = call("run", tiny_package, "--camera", f"folder:{photos}", "--sink", sink, "--log", "json")
    assert ended.code == 4
    total = json.loads(ended.err.splitlines()[-1])
    assert (total["event"], total["sink"], total["undelivered"]) == (
        "sink_total",
        sink,
        8,
    )  # four of each run


def test_a_missing_folder_for_the_results(call: Call, tiny_package: Path, photos: Path, tmp_path: Path) -> None:
    for more in ([], ["--check"]):
        ended = call("run", tiny_package, photos / "1_red.png", "--sink", f"sqlite:{tmp_path}/no/r.db", *more)
        assert (ended.code, ended.out) == (1, "")
        assert f"{tmp_path}/no" in ended.err
    assert not (tmp_path / "no").exists()


def test_a_reader_that_ends_after_the_last_frame(
    call: Call, tiny_package: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as quiet as a reader that ends earlier."""

    def write(_: StandardOutput, event: FrameEvent) -> None:
        time.sleep(0.3)  # until the line has ended
        raise SinkGoneError("gone")

    monkeypatch.setattr(StandardOutput, "write", write)
    ended = call("run", tiny_package, photos / "1_red.png")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_the_same_sink_twice(call: Call) -> None:
    ended = call("run", "line.partsight", "a.png", "--sink", "jsonl:-", "--sink", "jsonl:-")
    assert ended.code == 2
    assert "jsonl:-, jsonl:-" in ended.err
    mistyped = ("--sink", "mqtt:line:s3cret@host/t")
    assert "s3cret" not in call("run", "line.partsight", "a.png", *mistyped, *mistyped).err


def test_a_missing_package_leaves_no_file(call: Call, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    ended = call("run", tmp_path / "nothing", photos / "1_red.png", "--sink", f"jsonl:{out}")
    assert ended.code == 1
    assert not out.exists()


CAMERAS = {"gopro:0": "gopro:0", "folder:": "folder:", "folder:nowhere": "nowhere: ", "folder:empty": "empty: "}


@pytest.mark.parametrize(("address", "named"), CAMERAS.items(), ids=CAMERAS)
def test_cameras_that_do_not_exist(
    call: Call, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, named: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    ended = call("run", tiny_package, "--camera", address)
    assert (ended.code, ended.out) == (1, "")
    assert named in ended.err


WRONG_VALUES = {
    "--batch": ["0", "-1", "1.5", "many", "²", ""],
    "--threads": ["0", "-2", "all"],
    "--top": ["0", "none"],
    "--threshold": ["nan", "inf", "high", ""],
    "--precision": ["fp64"],
    "--policy": ["newest", "queue:x", "queue:0", "latest:3", "=latest", ""],
    "--log": ["xml"],
    "--deadline-ms": ["0", "soon", "=5"],
    "--region": ["1,2,3"],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in WRONG_VALUES.items() for value in values]
)
def test_wrong_values(call: Call, option: str, value: str) -> None:
    ended = call("run", "line.partsight", "a.png", f"{option}={value}")
    assert (ended.code, ended.out) == (2, "")
    assert f"argument {option}: " in ended.err
    assert repr(value) in ended.err


def test_images_or_a_camera(call: Call, photos: Path) -> None:
    for arguments, received in (((), "neither"), (("a.png", "--camera", "folder:photos"), "both")):
        ended = call("run", "line.partsight", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert received in ended.err
        assert "--camera" in ended.err
    for option in ("--fps=3", "--trigger=software"):
        ended = call("run", "line.partsight", "a.png", option)
        assert ended.code == 2
        assert option[2:].partition("=")[0] in ended.err
    ended = call("run", "line.partsight", photos)
    assert ended.code == 2
    assert f"--camera folder:{photos}" in ended.err
    ended = call("run", "line.partsight", "usb:0")
    assert ended.code == 2
    assert "--camera usb:0" in ended.err


def test_the_old_name_of_the_deadline_warns(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("run", tiny_package, photos / "1_red.png", "--takt-ms", "60000")
    assert ended.code == 0
    assert "WARNING --takt-ms" in ended.err
    assert "--deadline-ms" in ended.err
    assert "--takt-ms" not in call("run", "--help").out
    ended = call("run", tiny_package, "a.png", "--takt-ms", "5", "--check")
    assert ("--takt-ms" in ended.out, "5 ms" in ended.out) == (True, True)
