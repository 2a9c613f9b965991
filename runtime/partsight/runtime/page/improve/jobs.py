"""Jobs: commissioning and enrolment in a process of their own, next to the line."""

import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from partsight.runtime.core import OutputError, PageError, check_output_folder
from partsight.runtime.page.improve.job_protocol import JobEvent, JobFault, JobKind, JobProgress, JobRequest, JobResult
from partsight.runtime.page.improve.package_shelf import SUFFIX, PackageShelf

MAX_HISTORY = 20
"""Jobs that a page remembers."""

_COMMAND = (sys.executable, "-P", "-m", "partsight.runtime.page.improve.job")
_PARTIAL = ".partial"
_WORDS = {"commission": "commissioned", "enroll": "enrolled"}
_END_S = 10.0
_STDERR_LINES, _LINE_CHARS = 20, 500

_log = logging.getLogger("partsight.page")

Outcome = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobState:
    """A job at one moment.

    Attributes:
        kind: What it does.
        who: Account that started it.
        began, ended: Times of start and end, in seconds since 1970; `ended` is 0 while it runs.
        package_id: Package that it starts from.
        progress: Progress of its present step; None before the first.
        outcome: How it ended.
        error: Why it failed, and what to do.
        result: The new package; None unless it is done.
        cancelled_by: Account that cancelled it; empty if the page was closed.
    """

    kind: JobKind
    who: str
    began: float
    package_id: str
    progress: JobProgress | None = None
    outcome: Outcome = "running"
    error: str = ""
    result: JobResult | None = None
    ended: float = 0.0
    cancelled_by: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.outcome == "running"


OnEnd = Callable[[JobState], None]
"""Hears how a job ended, in a thread of its own."""


class Jobs:
    """Runs one job at a time. Thread-safe."""

    def __init__(self, packages: PackageShelf) -> None:
        """Take the shelf that gets new packages."""
        self._packages = packages
        self._folder = packages.folder
        self._lock = threading.Lock()
        self._history: deque[JobState] = deque(maxlen=MAX_HISTORY)
        self._child: _Child | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def last(self) -> JobState | None:
        """The job that runs, or the one that ended last; None before the first."""
        with self._lock:
            return self._history[-1] if self._history else None

    @property
    def history(self) -> tuple[JobState, ...]:
        """The last jobs, the newest first."""
        with self._lock:
            return tuple(reversed(self._history))

    def start(self, kind: JobKind, feedback: str | Path, who: str, on_end: OnEnd) -> JobState:
        """Start a job on the package that answers now.

        Args:
            kind: What to do.
            feedback: Folder of kept frames.
            who: Account that asks.
            on_end: Function that hears how it ended.

        Raises:
            PageError: another job runs, the page is closed, or the running package lies nowhere any more.
        """
        base = self._packages.active()
        if base is None:
            raise PageError(
                "the folder of the running package is gone, and a job starts from it; put the folder back, or swap to "
                "another package first"
            )
        with self._lock:
            if self._is_closed:
                raise PageError("the page is closing; start the job after the restart")
            if self._child is not None:
                raise PageError("another job runs; wait until it ends, or cancel it first")
            began = time.time()
            request = JobRequest(
                kind=kind,
                package=str(base.facts.path),
                package_id=base.facts.package_id,
                feedback=str(Path(feedback).absolute()),
                out=str(self._new_path(kind, began)),
            )
            state = JobState(kind, who, began, request.package_id)
            child = self._child = _Child(request)
            self._history.append(state)
            self._thread = threading.Thread(
                target=self._follow, args=(child, on_end), name="partsight-job", daemon=True
            )
            self._thread.start()
        return state

    def cancel(self, who: str) -> None:
        """End the running job; nothing happens if none runs."""
        with self._lock:
            child, thread = self._child, self._thread
            if child is None or not self._history[-1].is_running:
                return
            self._history[-1] = replace(self._history[-1], cancelled_by=who, outcome="cancelled", ended=time.time())
            child.end()
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """End a running job. May be called twice."""
        with self._lock:
            self._is_closed = True
        self.cancel("")
        if self._thread is not None:
            self._thread.join()

    def _follow(self, child: "_Child", on_end: OnEnd) -> None:
        """Take the events of a job until it has ended."""
        last: JobEvent | None = None
        for last in child.events():
            if isinstance(last, JobProgress):
                self._change(progress=last)
        error = child.wait()
        self._remove_leftovers()
        if isinstance(last, JobResult):
            with contextlib.suppress(PageError):  # it lies in the folder, and so on the shelf without its maker
                self._packages.add(Path(last.out), self._history[-1].who)
            self._take(last)
        elif isinstance(last, JobFault):
            self._change(outcome="failed", error=last.error, ended=time.time())
        else:
            self._change(outcome="failed", error=error, ended=time.time())
        try:
            on_end(self._history[-1])
        except PageError as error:
            _log.error("the end of a job is not in the audit log: %s", error, extra={"event": "page_failed"})
        finally:
            with self._lock:
                self._child = None

    def _take(self, result: JobResult) -> None:
        """Note the package that a job made, also if somebody cancelled the job when it was there already."""
        with self._lock:
            done = replace(self._history[-1], outcome="done", cancelled_by="", result=result, ended=time.time())
            self._history[-1] = done

    def _change(self, **facts: object) -> None:
        """Change the running job; one that was cancelled stays cancelled."""
        with self._lock:
            if self._history[-1].is_running:
                self._history[-1] = replace(self._history[-1], **facts)  # type: ignore[arg-type]

    def _new_path(self, kind: JobKind, began: float) -> Path:
        stem = f"{time.strftime('%Y%m%dT%H%MZ', time.gmtime(began))}-{_WORDS[kind]}"
        names = (f"{stem}{SUFFIX}", *(f"{stem}-{number}{SUFFIX}" for number in range(2, 1000)))
        return next(path for path in map(self._folder.joinpath, names) if not path.exists())

    def _remove_leftovers(self) -> None:
        """Remove half-written packages of processes that are dead."""
        with contextlib.suppress(OSError, OutputError):
            for path in list(self._folder.glob(f".*{SUFFIX}.*{_PARTIAL}")):
                name = path.name[1:].partition(f"{SUFFIX}.")[0] + SUFFIX
                check_output_folder(self._folder / name)


class _Child:
    """The process of a job."""

    def __init__(self, request: JobRequest) -> None:
        """Start it.

        Raises:
            PageError: the system starts no process.
        """
        pipe = subprocess.PIPE
        priority = getattr(subprocess, "IDLE_PRIORITY_CLASS", 0)
        try:
            self._process = subprocess.Popen(_COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, creationflags=priority)
        except OSError as error:
            raise PageError(f"the job cannot start ({error}); free memory on this machine, then try again") from error
        self._lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self._reader = threading.Thread(target=self._read_stderr, name="partsight-job-log", daemon=True)
        self._reader.start()
        self._decoder = msgspec.json.Decoder(JobEvent)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already: `wait` says why
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()

    def events(self) -> Iterator[JobEvent]:
        """Yield what the job says, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            try:
                for line in lines:
                    yield self._decoder.decode(line)
            except msgspec.DecodeError:  # it was killed half-way through a line
                self.end()

    def end(self) -> None:
        """End the process now."""
        self._process.kill()

    def wait(self) -> str:
        """Wait until the process has ended; return its exit code and what it said last."""
        code = self._process.wait()
        self._reader.join(_END_S)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        return f"the job ended with exit code {code}; its last lines are:\n" + ("\n".join(self._lines) or "-")

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._lines.append(line.decode(errors="replace").rstrip()[:_LINE_CHARS])
