"""The contract of every sink; see `partsight.runtime.sinks.sink`."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import SINKS, open_sink
from partsight.runtime.sinks.record import Record
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import KINDS, LIVE, ODD_LABELS, Kind, Live, event, failed
from tests.waiting import HANG_S

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    if chosen.library:
        pytest.importorskip(chosen.library)
    return chosen


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of results are brought to the disk one by one here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True) as made:
        yield Path(made)


def child(address: str, what: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.runtime.sinks.child", address, what]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_thousand_results_in_order(kind: Kind, folder: Path) -> None:
    written = [event(sequence) for sequence in range(1000)]
    with open_sink(kind.address(folder)) as sink:
        for one in written:
            sink.write(one)
    assert kind.read(folder) == [one.record for one in written]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kill_right_after_write(kind: Kind, folder: Path) -> None:
    with child(kind.address(folder), "kill") as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "written\n"
        program.send_signal(signal.SIGKILL)
    assert kind.read(folder) == [event(sequence).record for sequence in range(20)]
    with open_sink(kind.address(folder)) as sink:  # and it goes on
        sink.write(event(20))
    assert kind.read(folder) == [event(sequence).record for sequence in range(21)]


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_full_disk(kind: Kind, folder: Path) -> None:
    with child(kind.address(folder), "full") as program:
        output, _ = program.communicate(timeout=HANG_S)
    taken, refused = (int(word) for word in output.split())
    assert program.returncode == 0
    assert refused == 3
    kept = kind.read(folder)
    assert [record.sequence for record in kept] == list(range(taken))
    assert kept[0] == event(0).record


def test_odd_labels(kind: Kind, folder: Path) -> None:
    written = [event(sequence, label) for sequence, label in enumerate(ODD_LABELS)]
    with open_sink(kind.address(folder)) as sink:
        for one in written:
            sink.write(one)
    assert kind.read(folder) == [one.record for one in written]


def test_scores_that_are_no_numbers(kind: Kind, folder: Path) -> None:
    with open_sink(kind.address(folder)) as sink:
        for sequence, number in enumerate((float("nan"), float("inf"), None)):
            sink.write(event(sequence, None, score=number, margin=number, top=(), latency_ms=number))
    for record in kind.read(folder):
        assert (record.score, record.margin, record.latency_ms) == (None, None, None)
        assert record.outcome == "unknown"


def test_failed_frame(kind: Kind, folder: Path) -> None:
    with open_sink(kind.address(folder)) as sink:
        sink.write(failed(0))
        sink.write(event(1))
    expected: list[Record] = [failed(0).record] if kind.keeps_failed else []
    assert kind.read(folder) == [*expected, event(1).record]


def test_close_twice_and_write_after(kind: Kind, folder: Path) -> None:
    sink = open_sink(kind.address(folder))
    sink.write(event(0))
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="open it again"):
        sink.write(event(1))
    assert kind.read(folder) == [event(0).record]


def test_unknown_option(kind: Kind, folder: Path) -> None:
    address = kind.address(folder)
    wrong = f"{address}{'&' if '?' in address else '?'}pasword=secret"
    with pytest.raises(SinkError, match="pasword") as caught:
        open_sink(wrong)
    assert "secret" not in str(caught.value)


def test_place_that_cannot_be_written(kind: Kind, folder: Path) -> None:
    (folder / "file").write_text("")
    address = kind.address(folder / "file")  # a file where a folder is needed
    with pytest.raises(SinkError, match="file"):
        open_sink(address)


@pytest.fixture(params=LIVE, ids=lambda live: live.name)
def live(request: pytest.FixtureRequest) -> Live:
    chosen: Live = request.param
    pytest.importorskip(chosen.library)
    return chosen


def test_live_shows_the_last_of_a_thousand(live: Live) -> None:
    port = free_port()
    with open_sink(f"{live.scheme}://:{port}{live.options}") as sink:
        for sequence in range(1000):
            sink.write(event(sequence))
        assert live.last(port) == (999, 1000)
        odd = [event(sequence, label) for sequence, label in enumerate(ODD_LABELS)]
        numbers = [event(9, None, score=number, margin=number, top=()) for number in (float("nan"), float("inf"), None)]
        for one in (*odd, *numbers, failed(12)):
            sink.write(one)
        assert live.last(port) == (12, 1000 + len(odd) + len(numbers) + 1)


def test_live_close_twice_and_write_after(live: Live) -> None:
    port = free_port()
    sink = open_sink(f"{live.scheme}://127.0.0.1:{port}{live.options}")
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="open it again"):
        sink.write(event(1))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))  # let go


def test_live_unknown_option(live: Live) -> None:
    with pytest.raises(SinkError, match="pasword"):
        open_sink(f"{live.scheme}://?pasword=secret")


def test_every_sink_is_tested() -> None:
    assert {kind.name for kind in KINDS} | {live.name for live in LIVE} | {"mqtts"} == set(SINKS)
