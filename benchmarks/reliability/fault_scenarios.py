"""Scenarios of `faults.py`: each injects one fault next to a line again and again, and counts the results."""

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common.frames import line_frames, line_paths
from benchmarks.reliability.fault_parts import (
    MOSQUITTO,
    BrokerSubscriber,
    Key,
    broker_process,
    camera_process,
    doubled,
    free_port,
    keys_of_lines,
    keys_of_rows,
)
from benchmarks.reliability.line_rig import Answers, PacedCamera
from partsight.runtime import Recognizer
from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.line import Line, LineCounters, Policy
from partsight.runtime.sinks import FrameEvent, open_sink

_FPS = 20.0


class CannotError(Exception):
    """This machine cannot inject a fault."""


@dataclass(frozen=True)
class FaultRow:
    """Counts of one fault.

    Attributes:
        injected: Number of injected faults.
        seen, accepted: Number of frames that the line saw, and that it answered or recorded as failed.
        kept: Number of results at each sink.
        lost: Number of accepted frames that are missing at a sink.
        repeated: Number of repeated results at sinks that must not repeat them.
        counters: Counters of the line that show the fault, as text.
    """

    fault: str
    injected: int
    seen: int
    accepted: int
    kept: dict[str, int]
    lost: int
    repeated: int
    counters: str


@dataclass
class FaultScene:
    """Context of a scenario.

    Attributes:
        args: Arguments of the command.
        folder: Folder for this scenario alone.
        tick: Function to call after each fault.
    """

    args: argparse.Namespace
    folder: Path
    tick: Callable[[], object]
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def recognizer(self) -> Recognizer:
        """Load the package."""
        return Recognizer(self.args.package, provider=self.args.provider, precision=self.args.precision, batch_size=4)

    def images(self) -> list[Path]:
        """Return image files of the line."""
        return line_paths(self.args.data, 24)

    def paced(self, seconds: float) -> PacedCamera:
        """Return a camera inside this process, which sends frames for `seconds` seconds."""
        frames = line_frames(self.args.data, 24, None)
        return PacedCamera(frames, _FPS, round(seconds * _FPS))

    @property
    def lines(self) -> Path:
        """Path of the file of JSON lines."""
        return self.folder / "results.jsonl"

    @property
    def rows(self) -> Path:
        """The database."""
        return self.folder / "results.db"

    def files(self) -> dict[str, str]:
        """Return the addresses of both sinks."""
        return {"jsonl": f"jsonl:{self.lines}", "sqlite": f"sqlite:{self.rows}"}


def camera(scene: FaultScene) -> FaultRow:
    """Kill a camera and start it again."""
    port, answers = free_port(), Answers()
    process = camera_process(port, _FPS, scene.images())
    options = CameraOptions(timeout_s=1.0)
    sinks = {name: open_sink(address) for name, address in scene.files().items()}
    openers = {"killed": lambda: open_camera(f"http://127.0.0.1:{port}/", options), "other": lambda: other}
    other = scene.paced(scene.args.times * 3)
    with Line(scene.recognizer(), openers, sinks, on_result=answers) as line:
        for _ in range(scene.args.times):
            before = line.counters().cameras["killed"]
            _wait(lambda before=before: line.counters().cameras["killed"].seen > before.seen + 5)  # type: ignore[misc]
            process.kill()
            time.sleep(scene.rng.uniform(0.1, 0.5))
            process.start()
            _wait(lambda before=before: line.counters().cameras["killed"].reopened > before.reopened)  # type: ignore[misc]
            scene.tick()
    process.kill()
    counters = line.counters()
    kept = {"jsonl": keys_of_lines(scene.lines), "sqlite": keys_of_rows(scene.rows)}
    shown = f"opened again {counters.cameras['killed'].reopened} times"
    return _row("camera killed and started again", scene.args.times, counters, answers, kept, shown)


def broker(scene: FaultScene) -> FaultRow:
    """Kill the broker and start it again."""
    if MOSQUITTO is None:
        raise CannotError("mosquitto is not installed")
    port, answers = free_port(), Answers()
    process = broker_process(port, scene.folder)
    subscriber = BrokerSubscriber(port, "line3")
    sinks = {
        "mqtt": open_sink(
            f"mqtt://127.0.0.1:{port}/line3?spool={scene.folder / 'spool.db'}&close_s=30&needs_subscriber=true"
        )
    }
    source = scene.paced(scene.args.times * 1.5)
    with Line(scene.recognizer(), {"paced": lambda: source}, sinks, on_result=answers) as line:
        for _ in range(scene.args.times):
            time.sleep(scene.rng.uniform(0.3, 0.8))
            process.kill()
            time.sleep(scene.rng.uniform(0.1, 0.4))
            process.start()
            scene.tick()
        line.wait()
    subscriber.wait_for(len(set(answers.keys)))
    subscriber.close()
    process.kill()
    shown = f"none: nothing was refused; {doubled(subscriber.keys)} messages came twice, as QoS 1 may"
    kept = {"mqtt subscriber": list(dict.fromkeys(subscriber.keys))}
    return _row("broker killed and started again", scene.args.times, line.counters(), answers, kept, shown)


def disk(scene: FaultScene) -> FaultRow:
    """Fill the disk of a sink, and free it again."""
    answers, source = Answers(), scene.paced(scene.args.times * 1.5)
    with _small_disk(scene.folder / "disk") as small:
        scene_files = {"jsonl": f"jsonl:{small / 'results.jsonl'}", "sqlite": f"sqlite:{scene.rows}"}
        sinks = {name: open_sink(address) for name, address in scene_files.items()}
        with Line(scene.recognizer(), {"paced": lambda: source}, sinks, on_result=answers) as line:
            for _ in range(scene.args.times):
                before = line.counters().sinks["jsonl"].refusals
                _fill(small / "filler")
                _wait(lambda before=before: line.counters().sinks["jsonl"].refusals > before, 5.0)  # type: ignore[misc]
                (small / "filler").unlink()
                time.sleep(scene.rng.uniform(0.1, 0.5))
                scene.tick()
            line.wait()
        kept = {"jsonl": keys_of_lines(small / "results.jsonl"), "sqlite": keys_of_rows(scene.rows)}
    shown = f"refusals {line.counters().sinks['jsonl'].refusals}"
    return _row("disk full under a sink, and freed", scene.args.times, line.counters(), answers, kept, shown)


def callback(scene: FaultScene) -> FaultRow:
    """Raise errors in the callback, at random."""
    answers, source = Answers(), scene.paced(scene.args.times * 0.5)
    raised = 0

    def listen(_: FrameEvent) -> None:
        nonlocal raised
        if scene.rng.random() < 0.2:
            raised += 1
            raise ValueError("a fault of the user's own")

    sinks = {name: open_sink(address) for name, address in scene.files().items()}
    line = Line(scene.recognizer(), {"paced": lambda: source}, sinks, policy=Policy("queue", 8), on_result=answers)
    line.listen(listen)
    with line:
        line.wait()
    counters = line.counters()
    if counters.callback_errors != raised:
        raise AssertionError(f"the callback raised {raised} times and {counters.callback_errors} were counted")
    kept = {"jsonl": keys_of_lines(scene.lines), "sqlite": keys_of_rows(scene.rows)}
    return _row("callback that raises", raised, counters, answers, kept, f"callback errors {counters.callback_errors}")


def sigterm(scene: FaultScene) -> FaultRow:
    """Send SIGTERM to `partsight run` while it works."""
    if os.name == "nt":
        raise CannotError("SIGTERM kills on Windows")
    seen = accepted = lost = twice = 0
    for number in range(scene.args.times):
        lines, rows = scene.folder / f"{number}.jsonl", scene.folder / f"{number}.db"
        command = [
            *(sys.executable, "-m", "partsight.cli", "run", str(scene.args.package), "--batch", "4"),
            *("--camera", f"a=folder:{scene.args.data / 'line'}", "--camera", f"b=folder:{scene.args.data / 'line'}"),
            *("--sink", f"jsonl:{lines}", "--sink", f"sqlite:{rows}", "--provider", scene.args.provider),
            *("--precision", scene.args.precision),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        _wait(lambda lines=lines: lines.exists() and lines.stat().st_size > 0, 60.0)  # type: ignore[misc]
        time.sleep(scene.rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=60)
        counts = [[int(text) for text in found] for found in _COUNTS.findall(output)]
        seen += sum(found[0] for found in counts)
        event = sum(found[1] + found[2] + found[3] for found in counts)
        accepted += event
        for keys in (keys_of_lines(lines), keys_of_rows(rows)):
            lost += event - len(set(keys))
            twice += doubled(keys)
        scene.tick()
    kept = {"jsonl and sqlite": accepted - lost}
    return FaultRow(
        "SIGTERM in mid-load", scene.args.times, seen, accepted, kept, lost, twice, "its last lines on stderr"
    )


_COUNTS = re.compile(r"(\d+) frames: (\d+) recognised, (\d+) unknown,.* (\d+) failed")


def _row(
    fault: str, injected: int, counters: LineCounters, answers: Answers, kept: dict[str, list[Key]], shown: str
) -> FaultRow:
    cameras = counters.cameras.values()
    accepted = sum(it.recognised + it.unknown + it.failed for it in cameras)
    accounted = accepted + sum(it.skipped + it.expired + it.partial for it in cameras)
    if counters.seen != accounted or accepted != len(answers.times):
        raise AssertionError(
            f"{fault}: {counters.seen} seen, {accounted} accounted, {len(answers.times)} answers heard"
        )
    lost = sum(len(set(answers.keys) - set(keys)) for keys in kept.values())
    twice = doubled(answers.keys) + sum(doubled(keys) for keys in kept.values())
    sizes = {name: len(keys) for name, keys in kept.items()}
    return FaultRow(fault, injected, counters.seen, accepted, sizes, lost, twice, shown)


def _wait(until: Callable[[], bool], timeout_s: float = 30.0) -> None:
    ends = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > ends:
            return  # the counts show the failure
        time.sleep(0.02)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 4 MB, which holds all results until `_fill` fills it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotError(f"a small disk cannot be mounted ({error})") from error
    if done.returncode:
        raise CannotError(f"a small disk cannot be mounted ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)


SCENARIOS: dict[str, Callable[[FaultScene], FaultRow]] = {
    "camera": camera,
    "broker": broker,
    "disk": disk,
    "callback": callback,
    "sigterm": sigterm,
}
