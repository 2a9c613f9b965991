"""Breaking one file operation of a job: `faults.c` built, preloaded, and armed in a child that runs the job."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_SOURCE = Path(__file__).with_name("faults.c")
_PRELOAD = "LD_PRELOAD"
_HAS_RAISED = 70  # exit code of a child whose job raised


class Kind(IntEnum):
    """Fault at the chosen operation; values as in `faults.c`."""

    COUNT = 0  # nothing: operations are counted
    ERROR = 1  # it fails with EIO, once
    LOST = 2  # it and every later one that changes something fails with EIO: the disk is gone
    FULL = 3  # the disk is full from then on: a write is short, then ENOSPC
    SHORT = 4  # a write takes half of its bytes and says so; the next one goes on
    KILL = 5  # SIGKILL before it; during a write, in the middle
    POWER = 6  # the same, and unflushed data is lost
    UNREADABLE = 7  # an operation that reads fails with EIO, once
    GONE = 8  # it and every later one that reads fails with EIO: the memory stick was pulled out
    VANISHED = 9  # from then on no path exists any more; open files can still be read
    CUT = 10  # from then on every file ends at its current read position

    @property
    def is_reading(self) -> bool:
        """Whether it meets operations that read, and no others."""
        return self >= Kind.UNREADABLE


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        code: Exit code; negative for the signal that ended it.
        output: Text of stdout and stderr.
        met: Number of operations that each kind of fault could meet, in a run without a fault.
        struck: Number of broken operations.
        operation: Name and path of the first broken operation.
        seconds: Duration of the run.
    """

    code: int
    output: str
    met: dict[Kind, int]
    struck: int
    operation: str
    seconds: float

    @property
    def has_raised(self) -> bool:
        """Whether an exception came out of the job."""
        return self.code == _HAS_RAISED


class _Report(ctypes.Structure):
    _fields_ = (
        ("operations", ctypes.c_long),
        ("struck", ctypes.c_long),
        ("met", ctypes.c_long * len(Kind)),
        ("what", ctypes.c_char * 4096),
    )


def why_not() -> str:
    """Return the reason why this machine cannot inject faults; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    return "" if shutil.which("cc") else "needs a C compiler"


def build(folder: Path) -> Path:
    """Compile the library into a folder and return its path."""
    library = folder / "faults.so"
    options = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["cc", *options, "-o", library, _SOURCE, "-ldl", "-lpthread"], check=True)
    return library


def preload(module: str) -> None:
    """Restart this process with the library preloaded, unless it is loaded already."""
    library = Path(os.environ.get(_PRELOAD, ""))
    if library.name == "faults.so":
        del os.environ[_PRELOAD]  # programs that jobs start run without it
        shutil.rmtree(library.parent)  # it is loaded
        return
    library = build(Path(tempfile.mkdtemp(prefix="partsight-faults-")))
    os.environ[_PRELOAD] = str(library)
    os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


class Injector:
    """Runs jobs in children of this process, which must have the library preloaded."""

    def __init__(self, scratch: Path, log: Path | None = None) -> None:
        """Prepare to run jobs.

        Args:
            scratch: Folder for a job's output, outside the watched folders.
            log: File to append each counted operation to; None for none.
        """
        self._output = scratch / "output.txt"
        self._library = ctypes.CDLL(None)
        self._library.faults_report.restype = ctypes.POINTER(_Report)
        self._report = self._library.faults_report().contents
        self._log_fd = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def run(
        self,
        job: Callable[[], int],
        folder: Path,
        kind: Kind = Kind.COUNT,
        number: int = 0,
        *,
        kills_readers: bool = False,
        timeout_s: float = 1800,
    ) -> Ended:
        """Run a job in a child and break operation `number` (from 1) under `folder`.

        Args:
            job: Work that returns its exit code.
            folder: Folder whose operations count; absolute, without links.
            kind: Fault to inject.
            number: Number of the operation, counting only those that this kind can meet.
            kills_readers: Whether KILL also counts operations that read.
            timeout_s: Limit after which the injector kills the child; long, because the machine may be busy.

        Raises:
            TimeoutError: The job exceeded the limit.
        """
        ctypes.memset(ctypes.byref(self._report), 0, ctypes.sizeof(self._report))
        sys.stdout.flush()
        sys.stderr.flush()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            self._be_child(job, folder, kind, number, kills_readers)
        code = _wait(child, timeout_s)
        return Ended(
            code,
            self._output.read_text(encoding="utf-8", errors="replace"),
            {kind: self._report.met[kind] for kind in Kind},
            self._report.struck,
            self._report.what.decode(errors="replace"),
            time.monotonic() - started,
        )

    def _be_child(self, job: Callable[[], int], folder: Path, kind: Kind, number: int, kills_readers: bool) -> None:
        code = _HAS_RAISED
        try:
            output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            target = os.fsencode(folder), int(kind), ctypes.c_long(number)
            self._library.faults_arm(*target, int(kills_readers), self._log_fd)
            code = job()
            if kind == Kind.POWER:
                self._library.faults_cut()
        except BaseException:  # noqa: BLE001 (the parent reads the traceback)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


@contextmanager
def unwatched() -> Iterator[None]:
    """Exempt a job's operations from faults, in its child."""
    library = ctypes.CDLL(None)
    library.faults_watch(0)
    try:
        yield
    finally:
        library.faults_watch(1)


def _wait(child: int, timeout_s: float) -> int:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise TimeoutError(f"the job has not ended after {timeout_s:g} s")
