"""Packages and frames of a fleet: the scripts of examples/fleet, with rclone and rsync."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import msgspec
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.cameras import Frame
from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.line import Line, Watch
from partsight.runtime.package.sign import sign_package
from partsight.runtime.sinks import FrameEvent, Record, open_sink
from tests.cli.command import partsight
from tests.examples.fleet import FLEET, HAS_EXAMPLES, needs
from tests.runtime.line.scripted import ScriptedCamera
from tests.runtime.package.signed import new_key, public, signed_copy
from tests.tiny import ONE_THREAD, solid, tiny_manifest, write_tiny_package
from tests.waiting import HANG_S, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
pytestmark = HAS_EXAMPLES


def test_the_page_names_each_file() -> None:
    text = PAGE.read_text("utf-8")
    assert {path.name for path in FLEET.iterdir() if f"(../examples/fleet/{path.name})" not in text} == set()


# Packages


class Share:
    """A plant's share with signed packages, and lines that pull from it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.share = folder, folder / "share"
        self.key = new_key(folder / "factory")
        (self.share / "lines").mkdir(parents=True)
        (self.share / "packages").mkdir()

    def package(self, name: str, threshold: float, *, is_signed: bool = True) -> Path:
        """Put a package on the share."""
        decision = msgspec.structs.replace(tiny_manifest().decision, threshold=threshold)
        package = write_tiny_package(self.share / "packages" / name, decision=decision)
        if is_signed:
            sign_package(package, self.key)
        return package

    def name(self, line: str, package: str) -> None:
        """Name the package for a line."""
        (self.share / "lines" / line).write_text(f"{package}\n", "utf-8")

    def link(self, line: str) -> Path:
        """Return the link that a line watches."""
        (self.folder / line).mkdir(exist_ok=True)
        return self.folder / line / "line.partsight"

    def pull(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run the script on the line's machine."""
        arguments = [self.share, line, self.link(line), public(self.folder / "factory")]
        return subprocess.run(
            [FLEET / "pull_package.sh", *arguments], capture_output=True, text=True, check=False, timeout=HANG_S
        )


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Share:
    command = tmp_path / "bin" / "partsight"  # as an installation has it on the PATH
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nexec "$PYTHON" -m partsight.cli "$@"\n', "ascii")
    command.chmod(0o755)
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    return Share(tmp_path)


@contextmanager
def line_of(share: Share, line: str) -> Iterator[Line]:
    """A line that watches its link."""

    def load(path: str | Path) -> Recognizer:
        return Recognizer(path, engine=ONE_THREAD, trusted_keys=[share.key.public])

    camera = ScriptedCamera([solid("red")], ends=False)
    with (
        Line(load(share.link(line)), {"c": lambda: camera}) as running_line,
        Watch(running_line, share.link(line), load, every_s=0.01),
    ):
        yield running_line


@needs("rclone", "flock")
def test_packages_roll_out_line_by_line_and_back(share: Share) -> None:
    share.package("one", 0.5)
    share.package("two", 0.6)
    for name in ("line3", "line4"):
        share.name(name, "one")
        assert share.pull(name).returncode == 0
        assert share.pull(name).stdout == ""  # nothing to do
    with ExitStack() as stack:
        lines = {name: stack.enter_context(line_of(share, name)) for name in ("line3", "line4")}
        one = lines["line3"].package_id
        share.name("line3", "two")
        for name in lines:
            assert share.pull(name).returncode == 0
        wait_until(lambda: lines["line3"].counters().swaps == 1)
        assert (lines["line3"].package_id == one, lines["line4"].package_id == one) == (False, True)
        share.name("line3", "one")
        shutil.rmtree(share.share / "packages")  # the line has it still
        assert share.pull("line3").returncode == 0
        wait_until(lambda: lines["line3"].package_id == one)


@needs("rclone", "flock")
def test_a_package_that_is_not_whole_or_not_signed_changes_nothing(share: Share) -> None:
    share.package("good", 0.5)
    share.name("line3", "good")
    assert share.pull("line3").returncode == 0
    before = share.link("line3").resolve()

    half = share.package("half", 0.6)
    (half / "model.fp32.onnx").rename(share.folder / "model.fp32.onnx")
    altered = share.package("altered", 0.7)
    (altered / "gallery" / "red.png").write_bytes((altered / "gallery" / "blue.png").read_bytes())
    share.package("unsigned", 0.8, is_signed=False)
    for name in ("half", "altered", "unsigned", "missing", "../packages/good", "", "a b"):
        share.name("line3", name)
        done = share.pull("line3")
        assert done.returncode != 0, name
        assert done.stderr
        assert share.link("line3").resolve() == before
        assert not (before.parent / name).exists() or name == "../packages/good" or not name

    (share.folder / "model.fp32.onnx").rename(half / "model.fp32.onnx")  # its copy has ended
    share.name("line3", "half")
    assert share.pull("line3").returncode == 0
    assert share.link("line3").resolve().name == "half"


@needs("rclone", "flock")
def test_a_copy_that_was_interrupted_goes_on(share: Share) -> None:
    package = share.package("one", 0.5)
    share.name("line3", "one")
    partial = share.link("line3").parent / "packages" / "one.partial"
    partial.mkdir(parents=True)
    shutil.copy2(package / "manifest.json", partial / "manifest.json")
    (partial / "left_over").touch()  # of another package of this name
    assert share.pull("line3").returncode == 0
    assert not partial.exists()


def test_a_package_that_is_copied_straight_to_the_watched_path_is_taken_when_it_is_whole(share: Share) -> None:
    """A share may be watched without the script: the line refuses each half of a copy."""
    first = signed_copy(share.package("first", 0.5), share.link("line3"), share.key)
    new = share.package("second", 0.6)
    with line_of(share, "line3") as line:
        before = line.package_id
        names = ["manifest.json", "signature.json", "model.fp32.onnx"]  # the other files are those of the first
        for name in names[:-1]:
            shutil.copy2(new / name, first / name)
        wait_until(lambda: line.counters().refused_swaps > 0)
        assert line.package_id == before
        shutil.copy2(new / names[-1], first / names[-1])
        wait_until(lambda: line.counters().swaps == 1)
        assert line.package_id != before


def test_the_lines_file_is_right(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    signed_copy(share.package("one", 0.5), tmp_path / "line3.partsight", share.key)
    done = partsight("run", "--config", FLEET / "line3.toml", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"signed by key {share.key.public.key_id}" in done.stdout
    assert "partsight/line3/results" in done.stdout


# Frames to review


def kept_by(folder: Path, count: int, run: str) -> None:
    """Let the sink of a line keep frames that it refused."""
    with open_sink(f"images:{folder}") as sink:
        for sequence in range(count):
            record = Record(
                outcome="unknown", camera="left", source="usb:0", sequence=sequence, run=run, timestamp=1e9 + sequence
            )
            sink.write(FrameEvent(record, Frame(solid("red"), "usb:0", sequence, record.timestamp)))


def collect(kept: Path, plant: Path) -> None:
    done = subprocess.run(
        [FLEET / "collect_frames.sh", kept, plant], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs("rsync")
def test_frames_of_many_lines_are_collected_reviewed_and_merged(tmp_path: Path) -> None:
    plant = tmp_path / "plant" / "frames"
    for line in ("line3", "line4"):  # of equal names of cameras, numbers and times
        kept_by(tmp_path / line, 4, run=line)
        collect(tmp_path / line, plant / line)
    frame = read_feedback(plant / "line3").frames[0]
    decide(plant / "line3", frame, "confirmed", "red")
    for line in ("line3", "line4"):
        kept_by(tmp_path / line, 2, run=f"{line} again")
        collect(tmp_path / line, plant / line)
        assert list((tmp_path / line).iterdir()) == []
        assert len(read_feedback(plant / line).frames) == 6  # the reviewed one came once
    merged = tmp_path / "merged"
    for line in ("line3", "line4"):
        shutil.copytree(plant / line, merged, dirs_exist_ok=True)
    feedback = read_feedback(merged)
    assert (len(feedback.frames), len(feedback.of("confirmed")), dict(feedback.faults)) == (12, 1, {})
    assert all(frame.record for frame in feedback.frames)
    done = partsight("review", plant / "line3", "--list")
    assert done.returncode == 0, done.stderr


@needs("rsync")
def test_a_frame_is_collected_with_its_record_or_not_at_all(tmp_path: Path) -> None:
    kept, plant = tmp_path / "kept", tmp_path / "plant"
    kept_by(kept, 1, run="a")
    whole = {path.name for path in kept.iterdir()}
    unfinished = {"20251124T201817284113Z_left_9_5d2f00c1.json", "20251124T201817284113Z_left_9_5d2f00c1.png.partial"}
    for name in unfinished:  # the sink is about to write this picture
        (kept / name).write_text("{}", "utf-8")
    (kept / "confirmed" / "red").mkdir(parents=True)
    cv2.imwrite(str(kept / "confirmed" / "red" / "reviewed.png"), solid("red"))
    collect(kept, plant)
    assert {path.name for path in plant.iterdir()} == whole
    assert {path.name for path in kept.iterdir()} == {*unfinished, "confirmed"}
    collect(kept, plant)  # nothing to move


@needs("rsync")
def test_a_frame_whose_record_was_moved_before_an_interruption_follows(tmp_path: Path) -> None:
    kept, plant = tmp_path / "kept", tmp_path / "plant"
    kept_by(kept, 1, run="a")
    (record,) = kept.glob("*.json")
    plant.mkdir()
    record.rename(plant / record.name)
    collect(kept, plant)
    assert [frame.record is not None for frame in read_feedback(plant).frames] == [True]
