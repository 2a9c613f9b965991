"""The examples run as their first lines describe."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import pytest

from partsight.runtime import ModelPackage
from partsight.runtime.feedback import read_feedback
from tests.cli.command import python
from tests.processes import running
from tests.runtime.calibration.commissioning import lines
from tests.runtime.cameras.rigs import http_rig
from tests.tiny import solid
from tests.waiting import HANG_S, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples are not part of this copy of the source")
NEEDS_GNU = pytest.mark.skipif(sys.platform != "linux", reason="needs GNU coreutils")


def test_each_has_its_line_in_the_readme() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__"))} - {"README.md"}
    assert {name for name in files if f"[{name}]({name})" not in text} == set()


def test_embed(tiny_package: Path, tmp_path: Path) -> None:
    for colour in ("red", "blue", (128, 128, 128)):
        cv2.imwrite(str(tmp_path / f"{colour}.png"), solid(colour))
    done = python(str(EXAMPLES / "embed.py"), str(tiny_package), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [line.split()[-4] for line in done.stdout.splitlines()] == ["unknown", "blue", "red"]


@pytest.mark.parametrize(
    "program", ["embed.py", "feedback_circle.py", "show_answers.py", "two_cameras_plc.py", "bundle/recognize.py"]
)
def test_without_arguments_a_program_prints_its_usage(program: str) -> None:
    done = python(str(EXAMPLES / program))
    assert done.returncode in (1, 2)
    assert f"{Path(program).name} " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_picture_of_answers(matching_package: Path, tmp_path: Path) -> None:
    """The program accepts files and folders."""
    (tmp_path / "photos").mkdir()
    for colour in ("red", "blue"):
        cv2.imwrite(str(tmp_path / "photos" / f"{colour}.png"), solid(colour))
    out, script = tmp_path / "a.png", str(EXAMPLES / "show_answers.py")
    done = python(
        script, str(matching_package), str(tmp_path / "photos"), str(tmp_path / "photos" / "red.png"), "--out", str(out)
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(out)), done.stderr
    height, width = cv2.imread(str(out)).shape[:2]
    assert width > height  # three columns of two pictures
    done = python(script, str(matching_package), "no.png")
    assert (done.returncode, "no.png" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_a_running_line_learns_from_its_own_frames(tmp_path: Path) -> None:
    """One run of the line: its package refuses many frames, and the package that takes its place refuses few."""
    package, frames, work = lines.write_package(tmp_path / "old.partsight"), tmp_path / "frames", tmp_path / "work"
    lines.write_frames(frames, 12)
    unknown = tmp_path / "unknown"
    for label in lines.LABELS:
        lines.save(unknown / f"{label}.png", lines.part(label, seed=7))
    done = python(str(EXAMPLES / "feedback_circle.py"), str(package), str(frames), str(work), "--unknown", str(unknown))
    assert done.returncode == 0, done.stderr
    before, after = (list(map(int, re.findall(r"(\d+) of \d+ frames", line))) for line in done.stdout.splitlines()[:2])
    assert after[0] <= before[0] / 2
    assert after[1] == len(lines.LABELS)  # of unknown parts it accepts none
    feedback = read_feedback(work / "kept")
    records = [frame.record for frame in feedback.frames if frame.record]
    assert [record.package_id for record in records[-1:] + records[:1]] == [
        ModelPackage.read(work / "commissioned.partsight").package_id,
        ModelPackage.read(package).package_id,
    ]
    assert len({record.run for record in records}) == 1
    learned = {frame.label for frame in feedback.of("confirmed")}
    shown = {Path(record.source).parent.name for frame in feedback.of("open") if (record := frame.record)}
    assert learned | shown == {*lines.LABELS, "unknown"}
    assert learned & shown == set()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def registers(port: int, count: int) -> list[int]:
    """Read registers as a PLC does."""
    from pymodbus.client import ModbusTcpClient

    with ModbusTcpClient("127.0.0.1", port=port) as client:
        answer = client.read_holding_registers(0, count=count)
        client.write_coil(0, False)
    return [] if answer.isError() else list(answer.registers)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills there")
def test_two_cameras_and_a_plc(tiny_package: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymodbus")
    database, port = tmp_path / "results.db", free_port()
    with http_rig(tmp_path) as rig:
        command = [sys.executable, str(EXAMPLES / "two_cameras_plc.py"), str(tiny_package), rig.address, rig.address]
        with running(
            *command, f"127.0.0.1:{port}", database, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            printed = [process.stdout.readline().split() for _ in range(20)]
            layout, outcome, _, camera = registers(port, 4)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, err
    assert {words[0] for words in printed} == {"left", "right"}
    assert (layout, outcome) == (1, 2)  # all of these frames are grey, which is no part
    assert camera in (1, 2)
    *lines, counters = out.splitlines()
    with sqlite3.connect(database) as rows:
        assert rows.execute("select count(*) from result").fetchone() == (len(printed) + len(lines),)
    assert counters.startswith("LineCounters(cameras={'left': CameraCounters(")


STAND_IN = """#!/usr/bin/env bash
case "$1" in
    train) mkdir -p "$4" ;;
    export) [ -e "$2" ] && cp -r "$TINY" "$4" && echo "$(date +%N)" >> "$4/report.html" ;;
    inspect) [ -z "${DAMAGED:-}" ] ;;
esac
"""


@pytest.fixture
def swap(tiny_package: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The script, with a stand-in for `partsight`, since training takes its time."""
    command = tmp_path / "bin" / "partsight"
    command.parent.mkdir()
    command.write_text(STAND_IN)
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [EXAMPLES / "retrain_export_swap.sh", *arguments],
            env=os.environ | {"PATH": path, "TINY": str(tiny_package)} | environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    return run


def is_over(second: int) -> bool:
    return int(time.time()) != second


@NEEDS_GNU
def test_swap_and_back(swap: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    link, seen = tmp_path / "line3.partsight", []
    for _ in range(2):
        done = swap("golden", "line3.partsight")
        assert done.returncode == 0, done.stderr
        seen.append(link.readlink())
        assert (link / "manifest.json").is_file()
        wait_until(partial(is_over, int(time.time())))  # packages are named by the second
    first, second = seen
    assert first != second
    for expected in (first, second, first):
        assert swap("--back", "line3.partsight").returncode == 0
        assert link.readlink() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bin",
        "line3.partsight",
        "line3.partsight.before",
        "packages",
    ]


@NEEDS_GNU
def test_nothing_is_swapped_where_a_step_fails(
    swap: Callable[..., subprocess.CompletedProcess[str]], tiny_package: Path, tmp_path: Path
) -> None:
    link = tmp_path / "line3.partsight"
    link.symlink_to(tiny_package)
    assert swap("golden", link, DAMAGED="1").returncode != 0
    assert swap("--back", link).returncode == 1
    assert link.readlink() == tiny_package
    assert not (tmp_path / "line3.partsight.before").is_symlink()
    folder = Path(shutil.copytree(tiny_package, tmp_path / "folder.partsight"))
    done = swap("golden", folder)
    assert (done.returncode, folder.name in done.stderr) == (1, True)
    assert swap("golden").returncode == 2


def test_the_lines_file(tiny_package: Path, tmp_path: Path) -> None:
    """With the tiny package, which has no int8, and a table of its labels."""
    text = (EXAMPLES / "line3.toml").read_text("utf-8").replace("labels=labels.csv", f"labels={tmp_path}/labels.csv")
    (tmp_path / "labels.csv").write_text("number,label\n1,red\n", "utf-8")
    (tmp_path / "line3.toml").write_text(text, "utf-8")
    config, options = str(tmp_path / "line3.toml"), ("--provider", "cpu", "--precision", "fp32")
    done = python("-m", "partsight.cli", "run", str(tiny_package), "--config", config, *options, "--check")
    assert done.returncode == 0, done.stderr
    for fact in ("usb:0 exposure_us=2000", "5 of 6", "200 ms"):
        assert fact in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_service(tmp_path: Path) -> None:
    """With a command that is there."""
    unit = tmp_path / "partsight-line.service"
    text = (EXAMPLES / unit.name).read_text("utf-8")
    assert text.count("=/opt/partsight/bin/partsight") == 1
    unit.write_text(text.replace("/opt/partsight/bin/partsight", sys.executable))
    for command in (("verify",), ("security", "--offline=true", "--threshold=20")):
        done = subprocess.run(["systemd-analyze", *command, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
