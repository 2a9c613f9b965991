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
    """What happens at the chosen operation; as in `faults.c`."""

    COUNT = 0  # nothing: operations are counted
    ERROR = 1  # it fails with EIO, once
    LOST = 2  # it and every later one that changes something fails with EIO: the disk is gone
    FULL = 3  # the disk is full from then on: a write comes short, then ENOSPC
    SHORT = 4  # a write takes half of its bytes and says so; the next one goes on
    KILL = 5  # SIGKILL before it, in the middle of a write
    POWER = 6  # the same, and what was not flushed to the disk is lost
    UNREADABLE = 7  # an operation that reads fails with EIO, once
    GONE = 8  # it and every later one that reads fails with EIO: the memory stick was pulled out
    VANISHED = 9  # from then on nothing is found under its name any more; what is open can still be read
    CUT = 10  # from then on every file ends where it has been read to

    @property
    def is_reading(self) -> bool:
        """Whether it meets operations that read, and no others."""
        return self >= Kind.UNREADABLE


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        code: its exit code; negative for the signal that ended it.
        said: what it wrote to stdout and stderr.
        met: how many operations each kind of fault could meet; of a run without a fault.
        struck: how many of them were broken.
        what: the first of those, and where.
        seconds: how long it ran.
    """

    code: int
    said: str
    met: dict[Kind, int]
    struck: int
    what: str
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
    """Return why faults cannot be injected here; empty if they can."""
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
    """Start this process's module again with the library preloaded, unless it is."""
    library = Path(os.environ.get(_PRELOAD, ""))
    if library.name == "faults.so":
        del os.environ[_PRELOAD]  # what the jobs start shall run without
        shutil.rmtree(library.parent)  # it is loaded
        return
    library = build(Path(tempfile.mkdtemp(prefix="partsight-faults-")))
    os.environ[_PRELOAD] = str(library)
    os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


class Injector:
    """Runs jobs in children of this process, which must have the library preloaded."""

    def __init__(self, scratch: Path, log: Path | None = None) -> None:
        """Take a folder outside those that are watched.

        Args:
            scratch: where what a job says is kept.
            log: file to append each counted operation to; None for none.
        """
        self._said = scratch / "said.txt"
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
            job: returns its exit code.
            folder: outside of which nothing counts; absolute, without links.
            kind: what happens.
            number: of the operation, among those that this kind can meet.
            kills_readers: count operations that read, too, where `kind` is KILL.
            timeout_s: after which the child is killed; long, because the machine may have other work.

        Raises:
            TimeoutError: it was.
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
            self._said.read_text(encoding="utf-8", errors="replace"),
            {kind: self._report.met[kind] for kind in Kind},
            self._report.struck,
            self._report.what.decode(errors="replace"),
            time.monotonic() - started,
        )

    def _be_child(self, job: Callable[[], int], folder: Path, kind: Kind, number: int, kills_readers: bool) -> None:
        code = _HAS_RAISED
        try:
            said = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            place = os.fsencode(folder), int(kind), ctypes.c_long(number)
            self._library.faults_arm(*place, int(kills_readers), self._log_fd)
            code = job()
            if kind == Kind.POWER:
                self._library.faults_cut()
        except BaseException:  # noqa: BLE001 (whatever it is, the parent reads of it)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


@contextmanager
def unwatched() -> Iterator[None]:
    """Let a job do meanwhile, in its child, what no fault shall meet."""
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
