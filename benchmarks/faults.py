"""Does a line lose a result when what is around it fails?

Each scenario runs a line with real parts, breaks one of them again and again, and then counts from sequence numbers:
every frame that the line accepted must be at every sink, and every fault in a counter. What cannot be broken on this
machine is left out, and the table says why. The exit code is 1 if anything was lost.

Example:
    python benchmarks/faults.py line3.partsight --data /data/parts
    python benchmarks/faults.py line3.partsight --data /data/parts --times 5 --only camera broker
"""

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import _speed
from _common import write_results
from _fault_parts import (
    MOSQUITTO,
    Key,
    Subscriber,
    broker_process,
    camera_process,
    doubled,
    free_port,
    keys_of_lines,
    keys_of_rows,
)
from _line_rig import Answers, PacedCamera

from partsight.runtime import Recognizer
from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.core import progress_bar
from partsight.runtime.line import Line, LineCounters, Policy
from partsight.runtime.sinks import FrameEvent, open_sink

_FPS = 20.0


class CannotError(Exception):
    """A fault cannot be injected on this machine."""


@dataclass(frozen=True)
class Row:
    """What was found of one fault.

    Attributes:
        injected: how often.
        seen, accepted: frames that the line saw, and that it answered or told as failed.
        kept: results at each sink.
        lost: accepted frames that are missing at one of them.
        told_twice: results that came more than once, where a sink may not do so.
        counters: that showed the fault.
    """

    fault: str
    injected: int
    seen: int
    accepted: int
    kept: dict[str, int]
    lost: int
    told_twice: int
    counters: str


@dataclass
class Scene:
    """What scenarios share.

    Attributes:
        args: of the command.
        folder: of this scenario's own.
        tick: to be called for each fault.
    """

    args: argparse.Namespace
    folder: Path
    tick: Callable[[], object]
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def recognizer(self) -> Recognizer:
        """Load the package."""
        return Recognizer(self.args.package, provider=self.args.provider, precision=self.args.precision, batch_size=4)

    def images(self) -> list[Path]:
        """Return frames of the line."""
        return _speed.line_paths(self.args.data, 24)

    def paced(self, seconds: float) -> PacedCamera:
        """Return a camera of the process's own."""
        frames = _speed.line_frames(self.args.data, 24, None)
        return PacedCamera(frames, _FPS, round(seconds * _FPS))

    @property
    def lines(self) -> Path:
        """The file of JSON lines."""
        return self.folder / "results.jsonl"

    @property
    def rows(self) -> Path:
        """The database."""
        return self.folder / "results.db"

    def files(self) -> dict[str, str]:
        """Return the addresses of both."""
        return {"jsonl": f"jsonl:{self.lines}", "sqlite": f"sqlite:{self.rows}"}


def camera(scene: Scene) -> Row:
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


def broker(scene: Scene) -> Row:
    """Kill the broker and start it again."""
    if MOSQUITTO is None:
        raise CannotError("mosquitto is not installed")
    port, answers = free_port(), Answers()
    process = broker_process(port, scene.folder)
    subscriber = Subscriber(port, "line3")
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


def disk(scene: Scene) -> Row:
    """Fill the disk of a sink, and free it."""
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


def callback(scene: Scene) -> Row:
    """Raise in the callback, at random."""
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


def sigterm(scene: Scene) -> Row:
    """Send SIGTERM to `partsight run` in the midst of its work."""
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
        _, said = process.communicate(timeout=60)
        counts = [[int(text) for text in found] for found in _COUNTS.findall(said)]
        seen += sum(found[0] for found in counts)
        event = sum(found[1] + found[2] + found[3] for found in counts)
        accepted += event
        for keys in (keys_of_lines(lines), keys_of_rows(rows)):
            lost += event - len(set(keys))
            twice += doubled(keys)
        scene.tick()
    kept = {"jsonl and sqlite": accepted - lost}
    return Row("SIGTERM in mid-load", scene.args.times, seen, accepted, kept, lost, twice, "its last lines on stderr")


_COUNTS = re.compile(r"(\d+) frames: (\d+) recognised, (\d+) unknown,.* (\d+) failed")

SCENARIOS: dict[str, Callable[[Scene], Row]] = {
    "camera": camera,
    "broker": broker,
    "disk": disk,
    "callback": callback,
    "sigterm": sigterm,
}


def main(arguments: list[str] | None = None) -> int:
    """Run all scenarios, write what was found, and return 1 if anything was lost."""
    args = _parse(arguments)
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    names = args.only or list(SCENARIOS)
    with progress_bar(len(names) * args.times, "breaking", "fault") as bar:
        for name in names:
            bar.set_postfix_str(name)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    rows.append(SCENARIOS[name](Scene(args, Path(folder), bar.update)))
                except CannotError as error:
                    left_out[name] = str(error)
    text = _table(rows) + _speed.left_out_text(left_out)
    print(text)
    write_results(args.out, args.name, {"rows": [asdict(row) for row in rows], "left_out": left_out}, text)
    return 1 if any(row.lost or row.told_twice for row in rows) else 0


def _row(
    fault: str, injected: int, counters: LineCounters, answers: Answers, kept: dict[str, list[Key]], shown: str
) -> Row:
    cameras = counters.cameras.values()
    accepted = sum(it.recognised + it.unknown + it.failed for it in cameras)
    accounted = accepted + sum(it.skipped + it.late + it.partial for it in cameras)
    if counters.seen != accounted or accepted != len(answers.times):
        raise AssertionError(
            f"{fault}: {counters.seen} seen, {accounted} accounted, {len(answers.times)} answers heard"
        )
    lost = sum(len(set(answers.keys) - set(keys)) for keys in kept.values())
    twice = doubled(answers.keys) + sum(doubled(keys) for keys in kept.values())
    sizes = {name: len(keys) for name, keys in kept.items()}
    return Row(fault, injected, counters.seen, accepted, sizes, lost, twice, shown)


def _wait(until: Callable[[], bool], timeout_s: float = 30.0) -> None:
    ends = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > ends:
            return  # what it was for shows in the counts
        time.sleep(0.02)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 4 MB: room for all results, with what fills it up removed."""
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


def _table(rows: Sequence[Row]) -> str:
    head = ("fault", "times", "frames seen", "accepted", "at the sinks", "lost", "twice", "shown by the counters")
    return _speed.markdown(
        head,
        [
            (
                row.fault,
                str(row.injected),
                f"{row.seen:,}",
                f"{row.accepted:,}",
                ", ".join(f"{name} {count:,}" for name, count in row.kept.items()),
                str(row.lost),
                str(row.told_twice),
                row.counters,
            )
            for row in rows
        ],
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _speed.parser(__doc__, "faults", rounds=None, frames=None)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--times", type=int, default=20, help="each fault is injected (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=tuple(SCENARIOS), help="these scenarios alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
