import contextlib
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import open_sink
from tests.runtime.sinks.kinds import event, read_jsonl
from tests.waiting import HANG_S


def test_torn_last_line_is_cut_off_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    line = event(0).record.to_json()
    path.write_bytes(line + b"\n" + line[:70])
    with caplog.at_level(logging.WARNING), open_sink(f"jsonl:{path}") as sink:
        sink.write(event(1))
    assert read_jsonl(path) == [event(0).record, event(1).record]
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "torn_result_cut"]
    assert "70" in record.getMessage()


def test_torn_first_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"schema_v')
    with open_sink(f"jsonl:{path}") as sink:
        sink.write(event(1))
    assert read_jsonl(path) == [event(1).record]


def test_torn_line_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    line = event(0).record.to_json()
    path.write_bytes(line + b"\n" + line + b"x" * 200_000)
    open_sink(f"jsonl:{path}").close()
    assert path.read_bytes() == line + b"\n"


def test_whole_file_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(event(0).record.to_json() + b"\n")
    open_sink(f"jsonl:{path}").close()
    assert read_jsonl(path) == [event(0).record]
    assert not caplog.records


def test_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"root:x:0:0")
    with pytest.raises(SinkError, match="b'root"):
        open_sink(f"jsonl:{path}")
    assert path.read_bytes() == b"root:x:0:0"


@pytest.mark.skipif(os.name == "nt", reason="needs flock and devices")
def test_two_sinks_on_one_file(tmp_path: Path) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl"), pytest.raises(SinkError, match=r"out\.jsonl"):
        open_sink(f"jsonl:{tmp_path}/out.jsonl")
    with pytest.raises(SinkError, match="jsonl:-"):
        open_sink("jsonl:/dev/null")


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    size = len(event(0).record.to_json()) + 1
    with open_sink(f"jsonl:{path}?rotate_mb={size * 3.5 / 1e6}") as sink:
        for sequence in range(10):
            sink.write(event(sequence))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["out.000001.jsonl", "out.000002.jsonl", "out.000003.jsonl", "out.jsonl"]
    assert [record.sequence for file in files for record in read_jsonl(file)] == list(range(10))


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    (tmp_path / "out.notes.jsonl").write_text("mine")
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?rotate_mb=0.0001&keep=2") as sink:
        for sequence in range(6):
            sink.write(event(sequence))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out.000004.jsonl", "out.000005.jsonl", "out.jsonl", "out.notes.jsonl"]


@contextlib.contextmanager
def no_file_can_be_opened() -> Iterator[None]:
    """The process has as many files open as it may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_NOFILE")
def test_folder_that_cannot_be_listed_for_a_while(tmp_path: Path) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?rotate_mb=0.0001") as sink:
        sink.write(event(0))
        with no_file_can_be_opened(), pytest.raises(SinkError, match="Too many open files"):
            sink.write(event(1))
        sink.write(event(1))
    assert [record.sequence for file in sorted(tmp_path.iterdir()) for record in read_jsonl(file)] == [0, 1]


def test_new_file_that_cannot_be_opened_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    open_file = os.open

    def full(name: Path, flags: int, mode: int = 0o777) -> int:
        if name == path:
            raise OSError(28, "No space left on device")
        return open_file(name, flags, mode)

    with open_sink(f"jsonl:{path}?rotate_mb=0.0001&keep=1") as sink:
        for sequence in range(2):
            sink.write(event(sequence))
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", full)
            for _ in range(3):
                with pytest.raises(SinkError, match="out"):
                    sink.write(event(2))
        assert [file.name for file in tmp_path.iterdir()] == ["out.000002.jsonl"]
        sink.write(event(2))
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["out.000002.jsonl", "out.jsonl"]


def test_old_file_that_cannot_be_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "out.000001.jsonl").mkdir()  # unlink refuses it for every user
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?rotate_mb=0.0001&keep=1") as sink:
        for sequence in range(4):
            sink.write(event(sequence))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out.000001.jsonl", "out.000004.jsonl", "out.jsonl"]
    assert {getattr(record, "event", "") for record in caplog.records} == {"old_file_kept"}


def test_torn_end_is_cut_off_before_the_file_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def tears(fd: int, data: memoryview) -> int:
        write(fd, data[:10])
        raise OSError(5, "Input/output error")

    def fails(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    with open_sink(f"jsonl:{tmp_path}/out.jsonl?rotate_mb=0.0008") as sink:
        sink.write(event(0))
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", tears)
            patched.setattr(os, "ftruncate", fails)
            with pytest.raises(SinkError, match="Input/output error"):
                sink.write(event(1))
        sink.write(event(1, "x" * 300))
    files = sorted(tmp_path.iterdir())
    assert [record.sequence for file in files for record in read_jsonl(file)] == [0, 1]
    assert len(files) == 2


def changed(path: Path, how: str) -> None:
    if how == "moved":
        path.rename(path.with_name("moved"))
    elif how == "removed":
        path.unlink()
    elif how == "folder removed":
        shutil.rmtree(path.parent)
    elif how == "replaced":
        path.with_name("new").touch()
        path.with_name("new").replace(path)
    else:
        os.truncate(path, {"emptied": 0, "cut": 100, "grown": 5000}[how])


@pytest.mark.skipif(os.name == "nt", reason="Windows neither removes nor cuts an open file")
@pytest.mark.parametrize("how", ["moved", "removed", "folder removed", "replaced", "emptied", "cut", "grown"])
def test_file_that_another_program_changes(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "results" / "out.jsonl"
    path.parent.mkdir()
    with open_sink(f"jsonl:{path}") as sink:
        for start in (0, 3):  # the sink logs it each time
            for sequence in range(start, start + 3):
                sink.write(event(sequence))
            changed(path, how)
        sink.write(event(6))
        sink.write(event(7))
    assert [record.sequence for record in read_jsonl(path)] == ([*range(8)] if how == "grown" else [6, 7])
    assert [getattr(record, "event", "") for record in caplog.records].count("file_changed") == 2


def test_failed_piece_is_never_taken_back_by_growing_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    with open_sink(f"jsonl:{path}") as sink:
        sink.write(event(0))

        def cut_meanwhile(fd: int, data: memoryview) -> int:
            os.truncate(path, 0)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", cut_meanwhile)
            with pytest.raises(SinkError, match="No space left"):
                sink.write(event(1))
        assert path.read_bytes() == b""
        sink.write(event(1))
    assert [record.sequence for record in read_jsonl(path)] == [1]


@pytest.mark.skipif(os.name == "nt", reason="names are kept in a journal there")
def test_names_of_new_files_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        fsync(fd)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            found.append(sorted(path.name for path in tmp_path.iterdir()))

    monkeypatch.setattr(os, "fsync", noted)
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?rotate_mb=0.0001") as sink:
        for sequence in range(2):
            sink.write(event(sequence))
    assert found == [["out.jsonl"], ["out.000001.jsonl", "out.jsonl"]]


def test_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def of_files_alone(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    with open_sink(f"jsonl:{tmp_path}/out.jsonl") as sink:
        sink.write(event(0))
    assert read_jsonl(tmp_path / "out.jsonl") == [event(0).record]


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def fails(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(SinkError, match="No locks available"):
        open_sink(f"jsonl:{tmp_path}/out.jsonl")


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
            sink.write(event(sequence))
        assert count(synced) == 6


def test_sync_by_count_and_by_time(tmp_path: Path, synced: threading.Semaphore) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?sync_every=4&sync_s=3600") as sink:
        count(synced)
        for sequence in range(9):
            sink.write(event(sequence))
        assert count(synced) == 2
    assert count(synced) == 1  # the ninth
    with open_sink(f"jsonl:{tmp_path}/out.jsonl?sync_every=100&sync_s=0.01") as sink:
        count(synced)
        sink.write(event(9))
        assert synced.acquire(timeout=HANG_S)


def test_disk_that_fails_late_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def fails(fd: int) -> None:
        tried.set()
        raise OSError(5, "Input/output error")

    with open_sink(f"jsonl:{tmp_path}/out.jsonl?sync_every=100&sync_s=0.01") as sink:
        monkeypatch.setattr(os, "fsync", fails)
        sink.write(event(0))
        assert tried.wait(HANG_S)
        monkeypatch.undo()
        with pytest.raises(SinkError, match="Input/output"):
            sink.write(event(1))
        sink.write(event(1))
    assert [record.sequence for record in read_jsonl(tmp_path / "out.jsonl")] == [0, 1]


def test_disk_that_fails_at_once_keeps_nothing_of_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_sink(f"jsonl:{tmp_path}/out.jsonl") as sink:
        sink.write(event(0))

        def fails(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fails)
            with pytest.raises(SinkError, match="Input/output"):
                sink.write(event(1))
        sink.write(event(2))
    assert [record.sequence for record in read_jsonl(tmp_path / "out.jsonl")] == [0, 2]


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with open_sink("jsonl:-") as sink:
        sink.write(event(0))
        sink.write(event(1, "x" * 100_000))
    sink.close()
    lines = capfd.readouterr().out.splitlines()
    assert [msgspec.json.decode(line)["sequence"] for line in lines] == [0, 1]
    with pytest.raises(SinkError, match="open it again"):
        sink.write(event(2))


@pytest.mark.skipif(os.name == "nt", reason="waits there as long as the reader takes")
def test_reader_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.sinks.jsonl.READER_S", 0.05)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as standard_output, os.fdopen(reading, "rb") as reader:
        monkeypatch.setattr(sys, "stdout", standard_output)
        sink = open_sink("jsonl:-")
        monkeypatch.undo()
        taken = 0
        monkeypatch.setattr("partsight.runtime.sinks.jsonl.READER_S", 0.05)
        with pytest.raises(SinkError, match=r"0\.05 s"):
            while True:
                sink.write(event(taken, "x" * 3001))
                taken += 1
        received: list[bytes] = []
        drain = threading.Thread(target=lambda: received.extend(reader))
        drain.start()
        monkeypatch.setattr("partsight.runtime.sinks.jsonl.READER_S", 10.0)
        sink.write(event(taken, "x" * 3001))
        sink.close()
        standard_output.close()
        drain.join(HANG_S)
    sequences = [msgspec.json.decode(line)["sequence"] for line in received]  # all of them whole
    assert sequences in ([*range(taken + 1)], [*range(taken + 1), taken])


@pytest.mark.skipif(os.name == "nt", reason="pipes differ")
def test_reader_that_is_gone() -> None:
    code = (
        "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w)\n"
        "from partsight.runtime.sinks import open_sink; from tests.runtime.sinks.kinds import event\n"
        "open_sink('jsonl:-').write(event(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SinkGoneError: jsonl:-" in done.stderr
