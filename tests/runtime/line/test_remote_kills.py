"""A line whose server is killed and started again, under load."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import Line
from tests.runtime.line.belts import Belt
from tests.runtime.line.running import BLOCK
from tests.runtime.line.scripted import ListSink
from tests.waiting import HANG_S, wait_until

PROTOCOLS = ("http", "grpc")


@dataclass
class ServerProcess:
    """A server in a process of its own, which can be killed and started again at the same ports."""

    package: Path
    ports: tuple[int, int] = field(default_factory=lambda: (_free_port(), _free_port()))

    def __enter__(self) -> "ServerProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "tests.kserve_server", "tiny", f"1={self.package}"]
        command += ["--http", str(self.ports[0]), "--grpc", str(self.ports[1])]
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().split() == [str(port) for port in self.ports]

    def kill(self) -> None:
        """End the process at once, as a power cut does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def address(self, protocol: str, **options: object) -> str:
        """Return the provider for a recogniser."""
        port = self.ports[PROTOCOLS.index(protocol)]
        query = "&".join(f"{name}={value}" for name, value in {"protocol": protocol, **options}.items())
        return f"kserve://127.0.0.1:{port}/tiny?{query}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Killed:
    """A line after its end: two cameras, and what they showed."""

    line: Line
    sink: ListSink
    belts: dict[str, Belt]

    def check(self) -> None:
        """Check that each frame has exactly one record, in order, with its own answer or none."""
        counters = self.line.counters()
        for name, belt in self.belts.items():
            records = [record for record in self.sink.records if record.camera == name]
            assert [record.sequence for record in records] == list(range(belt.shown))
            for number, record in enumerate(records):
                assert record.label == (None if record.outcome == "failed" else belt.colour(number))
            camera = counters.cameras[name]
            assert (camera.seen, camera.recognised + camera.failed) == (belt.shown, belt.shown)
            outcomes = [record.outcome for record in records]
            assert (camera.recognised, camera.failed) == (outcomes.count("recognised"), outcomes.count("failed"))

    def counts(self) -> str:
        """Return the counts for people."""
        counters = self.line.counters()
        cameras = ", ".join(
            f"{name}: {camera.seen} shown, {camera.recognised} recognised, {camera.failed} failed"
            for name, camera in counters.cameras.items()
        )
        return f"{cameras}; {counters.remote_retries} retries, {counters.remote_failures} batches not answered"


def run_with_kills(
    package: Path, protocol: str, kills: int, timeout_s: float, is_done: Callable[[Line], Any]
) -> Killed:
    """Run a line of two cameras while its server is killed and started again.

    Args:
        package: Package of line and server.
        protocol: Protocol of the line.
        kills: Number of kills.
        timeout_s: Time for each batch.
        is_done: Condition on the line after each kill, before the server starts again.
    """
    over = threading.Event()
    belts = {"left": Belt(0, over), "right": Belt(3, over)}
    sink = ListSink()
    with ServerProcess(package) as server:
        recognizer = Recognizer(package, provider=server.address(protocol, timeout_s=timeout_s), batch_size=4)
        cameras = {name: (lambda belt=belt: belt) for name, belt in belts.items()}
        with Line(recognizer, cameras, {"list": sink}, policy=BLOCK) as line:
            for _ in range(kills):
                _wait_for_more(sink)
                server.kill()
                wait_until(lambda: is_done(line))
                server.start()
            _wait_for_more(sink)
            over.set()
            assert line.wait(HANG_S)
    return Killed(line, sink, belts)


def _wait_for_more(sink: ListSink) -> None:
    """Wait until a dozen more frames are recognised."""
    seen = len(sink.records)

    def has_more() -> bool:
        return sum(record.outcome == "recognised" for record in sink.records[seen:]) >= 12

    wait_until(has_more)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_killed_server_loses_no_frame(
    matching_package: Path, protocol: str, kills: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The line waits for a server that comes back in time, and answers each frame once, in order."""
    expected = 1

    def is_lost(_: Line) -> bool:
        nonlocal expected
        events = [getattr(record, "event", "") for record in caplog.records]
        if events.count("server_lost") < expected:
            return False
        expected += 1
        return True

    killed = run_with_kills(matching_package, protocol, kills, HANG_S, is_lost)
    print(f"\n{kills} kills, {protocol}: {killed.counts()}")
    killed.check()
    counters = killed.line.counters()
    assert [camera.failed for camera in counters.cameras.values()] == [0, 0]
    assert (counters.remote_failures, counters.remote_retries >= kills) == (0, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.long)])
def test_a_server_that_comes_back_too_late(matching_package: Path, protocol: str, kills: int) -> None:
    """The line records as failed what nobody answers in time, and answers again as soon as it can."""
    before = 0

    def has_failed(line: Line) -> bool:
        nonlocal before
        if (now := line.counters().remote_failures) == before:
            return False
        before = now
        return True

    killed = run_with_kills(matching_package, protocol, kills, 0.3, has_failed)
    print(f"\n{kills} kills, {protocol}, 0.3 s: {killed.counts()}")
    killed.check()
    assert killed.line.counters().remote_failures >= kills
