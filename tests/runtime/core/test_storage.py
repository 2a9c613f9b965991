import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime.core.errors import OutputError
from partsight.runtime.core.storage import check_output_folder, new_folder, write_file
from tests.processes import running

posix_only = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")

KILLED_IN_THE_BLOCK = """
import os, signal, sys
from pathlib import Path
from partsight.runtime.core.storage import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "half.bin").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""

READ_ONLY_FILE_OF_ANOTHER_USER = """
import os, sys
from pathlib import Path
from partsight.runtime.core.storage import new_folder
os.setuid(65534)
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "a.txt").write_text("whole")
    (folder / "a.txt").chmod(0o444)
"""

WAITS_IN_THE_BLOCK = """
import sys
from pathlib import Path
from partsight.runtime.core.storage import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "a.txt").write_text("whole")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process can grow over 1 MiB: a write that really fails."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "out"
    with new_folder(target) as folder:
        assert not target.exists()
        assert folder.parent == target.parent
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("whole")
        assert not target.exists()
    assert (target / "sub" / "a.txt").read_text() == "whole"
    assert names(target.parent) == ["out"]


def record_flushes(monkeypatch: pytest.MonkeyPatch, target: Path) -> list[tuple[int, bool]]:
    """Return a list that records each flush: inode, and whether `target` existed."""
    flushed: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_ino, target.exists())))
    return flushed


@posix_only
def test_everything_is_on_the_disk_before_the_folder_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, the folders that hold their names, and at last the name of the folder itself."""
    target = tmp_path / "out"
    flushed = record_flushes(monkeypatch, target)
    with new_folder(target) as folder:
        (folder / "sub").mkdir()
        for name in ("a.txt", "sub/b.txt"):
            (folder / name).write_text("whole")
    inside = [path.stat().st_ino for path in (target, *target.rglob("*"))]
    assert sorted(inode for inode, was_there in flushed if not was_there) == sorted(inside)
    assert [inode for inode, was_there in flushed if was_there] == [tmp_path.stat().st_ino]


def test_a_file_is_on_the_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = record_flushes(monkeypatch, tmp_path / "a.bin")
    write_file(tmp_path / "a.bin", b"whole")
    assert flushed == [((tmp_path / "a.bin").stat().st_ino, False)]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("half")
        raise error
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"out: .*No space left"),
        new_folder(tmp_path / "out") as f,
    ):
        (f / "a.txt").write_text("whole")
        (f / "model.onnx").symlink_to("/dev/full")
        (f / "model.onnx").write_bytes(b"does not fit")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link to nowhere"])
def test_existing_output_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match=re.escape(str(target))), new_folder(target):
        pytest.fail("the block must not run")
    with pytest.raises(OutputError, match=re.escape(str(target))):
        check_output_folder(target)
    assert names(tmp_path) == ["out"]


def test_output_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(OutputError, match=re.escape(str(target))), new_folder(target) as folder:
        (folder / "a.txt").write_text("late")
        target.mkdir()
        (target / "a.txt").write_text("first")
    assert (target / "a.txt").read_text() == "first"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("inside", ["file/out", "file/deep/out", "x" * 300, "x" * 250])
def test_unwritable_place(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / inside))):
        check_output_folder(tmp_path / inside)
    with pytest.raises(OutputError), new_folder(tmp_path / inside):
        pytest.fail("the block must not run")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / inside))):
        write_file(tmp_path / inside, b"")
    assert names(tmp_path) == ["file"]


def test_check_leaves_nothing_in_the_parent(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "runs" / "first")
    assert names(tmp_path / "runs") == []


@posix_only
@pytest.mark.parametrize("name", ["line3.partsight", "line [3] *.partsight"])
def test_a_killed_process_leaves_only_a_partial_that_the_next_call_removes(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_BLOCK, target], check=False)
    assert killed.returncode == -9
    (leftover,) = names(tmp_path)
    assert leftover.startswith(f".{name}.")
    assert leftover.endswith(".partial")
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("whole")
    assert names(tmp_path) == [name]
    assert names(target) == ["a.txt"]


def test_a_leftover_with_this_processs_own_number_is_removed(tmp_path: Path) -> None:
    """In a container, the process that was killed and the next one have the same number."""
    leftover = tmp_path / f".out.{os.getpid()}.partial"
    leftover.mkdir()
    (leftover / "half.bin").write_bytes(b"half")
    with new_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("whole")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a.txt"]


@pytest.mark.parametrize("other", ["out", "out.partsight"])
def test_what_another_process_is_writing_is_left_alone(tmp_path: Path, other: str) -> None:
    command = (sys.executable, "-c", WAITS_IN_THE_BLOCK, tmp_path / other)
    with running(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out"):
            raise ZeroDivisionError
        writer.communicate("go on\n")
    assert writer.returncode == 0
    assert (tmp_path / other / "a.txt").read_text() == "whole"
    assert names(tmp_path) == [other]


def test_two_writers_in_one_process_never_mix(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with new_folder(target) as folder:
        (folder / "first.txt").write_text("first")
        failed: list[BaseException] = []

        def second() -> None:
            try:
                with new_folder(target) as other:
                    (other / "second.txt").write_text("second")
            except OutputError as error:
                failed.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failed) == 1
    assert names(target) == ["first.txt"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("name", [".out..partial", ".out.notes.partial", ".out.9²9.partial", ".other.99999999.partial"])
def test_folders_that_are_not_leftovers_are_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with new_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == sorted([name, "out"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to become someone else")
def test_read_only_files_are_taken_by_a_user_who_is_not_root() -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o777)
        target = Path(parent) / "out"
        subprocess.run([sys.executable, "-c", READ_ONLY_FILE_OF_ANOTHER_USER, target], check=True)
        assert names(target) == ["a.txt"]


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_file(path, b"first, the longer one")
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(path.parent) == ["a.json"]


@posix_only
def test_others_may_read_the_file_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_bytes(b"")
    write_file(tmp_path / "a.json", b"")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain.json").stat().st_mode


@posix_only
def test_a_write_that_fails_keeps_the_file_as_it_was(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"a\.bin: .*File too large"):
        write_file(path, bytes(2**21))
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a.bin"]


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(OutputError, match=r"a\.bin: "):
        write_file(tmp_path / "a.bin", b"")
    assert names(tmp_path) == ["a.bin"]


def test_a_reader_sees_one_whole_version(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    versions = [bytes([value]) * 200_000 for value in range(2)]
    write_file(path, versions[0])
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(60):
        write_file(path, versions[round_ % 2])
    stop.set()
    reader.join()
    assert seen <= set(versions)
