"""`partsight run` as a line: cameras, sinks, policies, and an orderly end."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from partsight.cli.run.line import sinks_by_name
from partsight.runtime import ProviderError, Recognizer
from tests.cli.conftest import Ended
from tests.processes import running
from tests.runtime.cameras.rigs import http_rig
from tests.tiny import COLOURS_BGR, solid
from tests.waiting import HANG_S

Call = Callable[..., Ended]
COLOURS = list(COLOURS_BGR)


def write_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:05d}.png"), solid(COLOURS[index % len(COLOURS)], 40, 40))
    return folder


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_two_cameras_and_two_sinks(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    left, right = write_photos(tmp_path / "left", 20), write_photos(tmp_path / "right", 30)
    lines, rows = tmp_path / "results.jsonl", tmp_path / "results.db"
    cameras = ["--camera", f"left=folder:{left}", "--camera", f"right=folder:{right}"]
    ended = call("run", tiny_package, *cameras, "--sink", f"jsonl:{lines}", "--sink", f"sqlite:{rows}")
    assert (ended.code, ended.out) == (0, "")
    for name, count in (("left", "20"), ("right", "30")):
        (counts,) = re.findall(rf"^{name}: (.*)$", ended.err, re.MULTILINE)
        assert re.findall(r"\d+", counts) == [count, count, "0", "0"]  # frames: recognised, unknown, failed
    found = records(lines)
    for name, count in (("left", 20), ("right", 30)):
        own = [record for record in found if record["camera"] == name]
        assert [record["sequence"] for record in own] == list(range(count))
        assert [record["label"] for record in own] == [COLOURS[index % len(COLOURS)] for index in range(count)]
    with sqlite3.connect(rows) as database:
        table = database.execute("select name from sqlite_master where type = 'table'").fetchone()[0]
        assert database.execute(f"select count(*) from {table}").fetchone() == (50,)


def test_a_frame_that_cannot_be_read_is_counted(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    (photos / "00001.png").write_bytes(b"no picture")
    lines = tmp_path / "results.jsonl"
    ended = call("run", tiny_package, "--camera", f"folder:{photos}", "--sink", f"jsonl:{lines}")
    assert ended.code == 4
    assert re.search(r"\b4 .*\b3 .*\b0 .*\b1 ", ended.err)  # frames: recognised, unknown, failed
    by_sequence = {record["sequence"]: record for record in records(lines)}
    assert (by_sequence[1]["outcome"], by_sequence[1]["source"]) == ("failed", str(photos / "00001.png"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills there")
@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGTERM], 0),
        ([getattr(signal, "SIGHUP", None)], 0),
        ([signal.SIGINT], 130),
        ([signal.SIGTERM, signal.SIGTERM], 0),
        ([signal.SIGINT, signal.SIGTERM], 130),
    ],
)
def test_a_signal_ends_the_line_after_all_accepted_frames(
    tiny_package: Path, tmp_path: Path, numbers: list[signal.Signals], code: int
) -> None:
    photos, lines = write_photos(tmp_path / "photos", 4000), tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "partsight.cli", "run", str(tiny_package), "--camera", f"a=folder:{photos}"]
    with running(*command, "--batch", "2", "--sink", f"jsonl:{lines}", stderr=subprocess.PIPE) as process:
        while not lines.exists() or not lines.read_bytes():
            assert process.poll() is None
        for number in numbers:
            process.send_signal(number)
        _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == code, err
    found = [record["sequence"] for record in records(lines)]
    assert found == list(range(len(found)))
    assert 0 < len(found) < 4000
    # The camera may have read one more frame, which the line did not accept.
    assert f"{len(found)} recognised, 0 unknown, 0 failed" in err
    assert err.strip().startswith((f"a: {len(found)} frames: ", f"a: {len(found) + 1} frames: "))


def test_the_totals_of_a_line_that_failed(
    call: Call, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, start = write_photos(tmp_path / "photos", 9), Recognizer.start_batch

    def fail_later(recognizer: Recognizer, frames: Any) -> Any:
        if any((frame == solid("green", 40, 40)).all() for frame in frames):
            raise ProviderError("the card is gone")
        return start(recognizer, frames)

    monkeypatch.setattr(Recognizer, "start_batch", fail_later)
    ended = call("run", tiny_package, "--camera", f"a=folder:{photos}", "--batch", "1", "--sink", f"jsonl:{tmp_path}/r")
    assert ended.code == 1
    *_, totals, error = ended.err.splitlines()
    assert totals.startswith("a: ") and f"{len(records(tmp_path / 'r'))} recognised" in totals
    assert error == "partsight: error: the card is gone"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--policy", "queue:x"], "--policy"),
        (["--region", "0,0,0,0"], "(0, 0, 0, 0)"),
        (["--camera", "camera0=folder:x"], "NAME=ADDRESS"),
    ],
)
def test_wrong_usage(call: Call, tiny_package: Path, tmp_path: Path, options: list[str], named: str) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    ended = call("run", tiny_package, "--camera", f"folder:{photos}", *options)
    assert ended.code == 2
    assert named in ended.err


def test_sinks_with_the_same_name() -> None:
    addresses = [f"mqtt://u:1/s3cret@broker/t?spool={name}.db" for name in "ab"]
    named = sinks_by_name(["jsonl:-", *addresses])
    assert list(named) == ["jsonl:-", "mqtt:***@broker/t", "mqtt:***@broker/t (3)"]
    assert list(named.values()) == ["jsonl:-", *addresses]


@pytest.mark.parametrize("address", ["gopro:1", "left=gopro:1", "usb"])
def test_an_unknown_camera_is_an_error_at_once(call: Call, tiny_package: Path, address: str) -> None:
    ended = call("run", tiny_package, "--camera", address)
    assert ended.code == 1
    assert address.rpartition("=")[2] in ended.err
    assert "folder:PATH" in ended.err


def test_an_unknown_sink(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    ended = call("run", tiny_package, "--camera", f"folder:{photos}", "--sink", "pigeon:home")
    assert ended.code == 1
    assert "pigeon" in ended.err
    assert "jsonl:" in ended.err


def test_a_file_alone_cannot_be_watched(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    ended = call("run", tiny_package / "model.fp32.onnx", "--camera", f"folder:{photos}", "--watch")
    assert ended.code == 2
    assert "--watch" in ended.err
    assert "model.fp32.onnx" in ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ there")
def test_a_reader_that_ends_next_to_another_sink_is_an_error(tiny_package: Path, tmp_path: Path) -> None:
    """The reader may have enough, but the other sink has not."""
    photos, lines = write_photos(tmp_path / "photos", 2000), tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "partsight.cli", "run", str(tiny_package), "--camera", f"folder:{photos}"]
    command += ["--sink", "jsonl:-", "--sink", f"jsonl:{lines}"]
    with running(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        first = json.loads(process.stdout.readline())
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err.startswith("camera0: ")
    assert err.splitlines()[-1].startswith("partsight: error: jsonl:-: ")
    found = records(lines)
    assert found[0] == first
    assert [record["sequence"] for record in found] == list(range(len(found)))


def test_a_log_of_json(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    """Each line of stderr is an object, the totals at the end too."""
    photos = write_photos(tmp_path / "photos", 3)
    (photos / "00001.png").write_bytes(b"no picture")
    ended = call("run", tiny_package, "--camera", f"a=folder:{photos}", "--log", "json")
    assert ended.code == 4
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert [(event["event"], event["camera"]) for event in events] == [("camera_open", "a"), ("camera_total", "a")]
    assert (events[-1]["recognised"], events[-1]["failed"], events[-1]["waiting"]) == (2, 1, 0)


def test_a_run_whose_frames_are_refused_checks_the_set_up(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for level in range(6):
        cv2.imwrite(str(photos / f"{level}.png"), solid((20 * level, 20 * level, 20 * level), 40, 40))
    arguments = ("run", tiny_package, "--camera", f"a=folder:{photos}", "--threshold", "2", "--log", "json")
    events = [json.loads(line) for line in call(*arguments).err.splitlines()]
    (event,) = [event for event in events if event["event"] == "nothing_fits"]
    assert (event["camera"], event["level"], event["frames"], event["accepted_after"]) == ("a", "WARNING", 6, 0)


def test_an_error_in_a_log_of_json(call: Call, tmp_path: Path) -> None:
    ended = call("run", tmp_path / "nowhere\n.partsight", "a.png", "--log", "json")
    (event,) = [json.loads(line) for line in ended.err.splitlines()]
    assert (ended.code, event["event"], event["level"]) == (1, "error", "CRITICAL")
    assert str(tmp_path) in event["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT kills there")
def test_a_missing_stream_is_logged_once(tiny_package: Path) -> None:
    """However often the line tries to open it; libraries write nothing to stderr."""
    command = [sys.executable, "-m", "partsight.cli", "run", str(tiny_package), "--log", "json"]
    with (
        socket.create_server(("127.0.0.1", 0)) as refusing,
        running(
            *command, "--camera", f"c=http://127.0.0.1:{refusing.getsockname()[1]}/x", stderr=subprocess.PIPE
        ) as process,
    ):
        for _ in range(2):
            refusing.accept()[0].close()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    events = [json.loads(line)["event"] for line in err.splitlines()]
    # Another thread logs that the package has no golden images.
    assert [event for event in events if event != "health_unwatched"] == ["camera_waiting", "camera_total"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills there")
def test_a_live_camera_with_metrics(matching_package: Path, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    lines = tmp_path / "results.jsonl"
    with http_rig(tmp_path) as rig:
        command = [sys.executable, "-m", "partsight.cli", "run", str(matching_package), "--camera", f"c={rig.address}"]
        command += ["--sink", f"jsonl:{lines}", "--metrics", "127.0.0.1:0", "--log", "json"]
        with running(*command, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            served = json.loads(process.stderr.readline())
            while not lines.read_bytes():
                assert process.poll() is None
            with urllib.request.urlopen(served["url"]) as answer:
                page = answer.read().decode()
            process.send_signal(signal.SIGTERM)
            events = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert (process.returncode, served["event"]) == (0, "metrics_served")
    assert 'partsight_frames_total{camera="c",outcome="unknown"}' in page
    assert 'partsight_unknown_share{camera="c"} 1.0' in page
    assert [event["event"] for event in events] == ["camera_open", "camera_total"]
    assert events[-1]["unknown"] == len(records(lines))


def test_a_file_configures_the_line(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    photos, file = write_photos(tmp_path / "photos", 3), tmp_path / "line3.toml"
    file.write_text(
        f'package = "{tiny_package}"\nsinks = ["jsonl:{tmp_path}/a.jsonl", "sqlite:{tmp_path}/b.db"]\n'
        f'[cameras.left]\naddress = "folder:{photos}"\n[cameras.right]\naddress = "folder:{photos}"\n'
    )
    ended = call("run", "--config", file)
    assert (ended.code, ended.out) == (0, "")
    assert sorted((record["camera"], record["sequence"]) for record in records(tmp_path / "a.jsonl")) == [
        (name, sequence) for name in ("left", "right") for sequence in range(3)
    ]
    assert (tmp_path / "b.db").exists()
