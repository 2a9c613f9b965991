import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from partsight.runtime.errors import SinkError
from partsight.runtime.sinks import open_sink
from tests.runtime.sinks.kinds import read_jsonl, told


def test_torn_last_line_is_cut_off_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    line = told(0).record.to_json()
    path.write_bytes(line + b"\n" + line[:70])
    with caplog.at_level(logging.WARNING), open_sink(f"jsonl:{path}") as sink:
        sink.write(told(1))
    assert read_jsonl(path) == [told(0).record, told(1).record]
    assert "cut off 70 bytes of a torn last result" in caplog.text


def test_torn_first_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"schema_v')
    with open_sink(f"jsonl:{path}") as sink:
        sink.write(told(1))
    assert read_jsonl(path) == [told(1).record]


def test_torn_line_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    line = told(0).record.to_json()
    path.write_bytes(line + b"\n" + line + b"x" * 200_000)
    open_sink(f"jsonl:{path}").close()
    assert path.read_bytes() == line + b"\n"


def test_whole_file_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(told(0).record.to_json() + b"\n")
    open_sink(f"jsonl:{path}").close()
    assert read_jsonl(path) == [told(0).record]
    assert not caplog.records


def test_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"root:x:0:0")
    with pytest.raises(SinkError, match=r"begins with b'root.*not a file of this sink"):
        open_sink(f"jsonl:{path}")
    assert path.read_bytes() == b"root:x:0:0"


@pytest.mark.skipif(os.name == "nt", reason="needs flock and devices")
def test_two_sinks_on_one_file(tmp_path: Path) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl"), pytest.raises(SinkError, match="another sink writes into it"):
        open_sink(f"jsonl:{tmp_path}/out.jsonl")
    with pytest.raises(SinkError, match="is a device or a pipe"):
        open_sink("jsonl:/dev/null")


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    size = len(told(0).record.to_json()) + 1
    with open_sink(f"jsonl:{path}?rotate_mb={size * 3.5 / 1e6}") as sink:
        for sequence in range(10):
            sink.write(told(sequence))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["out.000001.jsonl", "out.000002.jsonl", "out.000003.jsonl", "out.jsonl"]
    assert [record.sequence for file in files for record in read_jsonl(file)] == list(range(10))


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    (tmp_path / "out.notes.jsonl").write_text("mine")
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?rotate_mb=0.0001&keep=2") as sink:
        for sequence in range(6):
            sink.write(told(sequence))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out.000004.jsonl", "out.000005.jsonl", "out.jsonl", "out.notes.jsonl"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Counts calls of fsync."""
    calls = threading.Semaphore(0)
    fsync = os.fsync

    def counted(fd: int) -> None:
        fsync(fd)
        calls.release()

    monkeypatch.setattr(os, "fsync", counted)
    return calls


def count(calls: threading.Semaphore) -> int:
    number = 0
    while calls.acquire(blocking=False):
        number += 1
    return number


def test_sync_of_every_result(tmp_path: Path, synced: threading.Semaphore) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl") as sink:
        count(synced)
        for sequence in range(6):
            sink.write(told(sequence))
        assert count(synced) == 6


def test_sync_by_count_and_by_time(tmp_path: Path, synced: threading.Semaphore) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?sync_every=4&sync_s=3600") as sink:
        count(synced)
        for sequence in range(9):
            sink.write(told(sequence))
        assert count(synced) == 2
    assert count(synced) == 1  # the ninth
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?sync_every=100&sync_s=0.01") as sink:
        count(synced)
        sink.write(told(9))
        assert synced.acquire(timeout=10)


def test_disk_that_fails_late_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def fails(fd: int) -> None:
        tried.set()
        raise OSError(5, "Input/output error")

    with open_sink(f"jsonl:{tmp_path}/out.jsonl?sync_every=100&sync_s=0.01") as sink:
        monkeypatch.setattr(os, "fsync", fails)
        sink.write(told(0))
        assert tried.wait(10)
        monkeypatch.undo()
        with pytest.raises(SinkError, match=r"did not keep earlier results for sure .*Input/output"):
            sink.write(told(1))
        sink.write(told(1))
    assert [record.sequence for record in read_jsonl(tmp_path / "out.jsonl")] == [0, 1]


def test_disk_that_fails_at_once_keeps_nothing_of_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl") as sink:
        sink.write(told(0))

        def fails(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fails)
            with pytest.raises(SinkError, match="Input/output error; free or mend the disk"):
                sink.write(told(1))
        sink.write(told(2))
    assert [record.sequence for record in read_jsonl(tmp_path / "out.jsonl")] == [0, 2]


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with open_sink("jsonl:-") as sink:
        sink.write(told(0))
        sink.write(told(1, "x" * 100_000))
    sink.close()
    lines = capfd.readouterr().out.splitlines()
    assert [msgspec.json.decode(line)["sequence"] for line in lines] == [0, 1]
    with pytest.raises(SinkError, match="closed"):
        sink.write(told(2))


@pytest.mark.skipif(os.name == "nt", reason="waits there as long as the reader takes")
def test_reader_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.sinks.jsonl._READER_S", 0.05)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as standard_output, os.fdopen(reading, "rb") as reader:
        monkeypatch.setattr(sys, "stdout", standard_output)
        sink = open_sink("jsonl:-")
        monkeypatch.undo()
        taken = 0
        monkeypatch.setattr("partsight.runtime.sinks.jsonl._READER_S", 0.05)
        with pytest.raises(SinkError, match=r"took nothing for 0\.05 s"):
            while True:
                sink.write(told(taken, "x" * 3001))
                taken += 1
        received: list[bytes] = []
        drain = threading.Thread(target=lambda: received.extend(reader))
        drain.start()
        monkeypatch.setattr("partsight.runtime.sinks.jsonl._READER_S", 10.0)
        sink.write(told(taken, "x" * 3001))
        sink.close()
        standard_output.close()
        drain.join(10)
    sequences = [msgspec.json.decode(line)["sequence"] for line in received]  # all of them whole
    assert sequences in ([*range(taken + 1)], [*range(taken + 1), taken])


@pytest.mark.skipif(os.name == "nt", reason="pipes differ")
def test_reader_that_is_gone() -> None:
    code = (
        "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w)\n"
        "from partsight.runtime.sinks import open_sink; from tests.runtime.sinks.kinds import told\n"
        "open_sink('jsonl:-').write(told(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SinkGoneError: jsonl:-: the reader of standard output has ended" in done.stderr
