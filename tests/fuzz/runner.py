"""Runs the cases of a surface in child processes, and starts a new one where the last one died, hung or swelled."""

import contextlib
import itertools
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import connection, get_all_start_methods, get_context
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from tests.fuzz.child import STARTING, STATE, State, main
from tests.fuzz.surface import Surface

_ROOT = Path(__file__).parents[2]
_GLANCE_S = 0.1
_START_S = 120.0
_MAX_FINDINGS = 100  # then the surface is broken, and each further one would cost a start

# Children are forked, where that can be, from a process that has imported what they need: that is half of their start.
_processes = cast(SpawnContext, get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn"))
_processes.set_forkserver_preload(["__main__", "tests.fuzz.catalog"])
_processes_lock = threading.Lock()  # starting one looks after all others, and takes their exit codes


@dataclass(frozen=True)
class Finding:
    """A case that should have gone another way.

    Attributes:
        surface: of the case.
        number: of it: `python -m tests.fuzz --surface SURFACE --first NUMBER --cases 1` runs it again.
        kind: `crash`, `hang`, `memory` or `wrong`.
        what: happened, in a line.
        detail: traceback, or what the process said last.
    """

    surface: str
    number: int
    kind: str
    what: str
    detail: str


@dataclass
class Tally:
    """What came of the cases of a surface.

    Attributes:
        surface: its name.
        cases: how many ran.
        accepted, refused: how many of them were taken for good, and were given a typed error.
        findings: what should not have been.
        stalls: cases that hung, and did not when they were run again alone.
        slowest_s, slowest: seconds of the slowest case, and its number.
        grown_mb: by how much a process grew at most.
        seconds: that it took, starts included.
    """

    surface: str
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    findings: list[Finding] = field(default_factory=list)
    stalls: int = 0
    slowest_s: float = 0.0
    slowest: int = 0
    grown_mb: float = 0.0
    seconds: float = 0.0

    def add(self, other: "Tally") -> None:
        """Take in what came of other cases of the same surface."""
        self.cases += other.cases
        self.accepted += other.accepted
        self.refused += other.refused
        self.findings += other.findings
        self.stalls += other.stalls
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest
        self.grown_mb = max(self.grown_mb, other.grown_mb)

    def count(self, kind: str) -> int:
        """Return how many findings are of a kind."""
        return sum(finding.kind == kind for finding in self.findings)


def run_shares(surfaces: Sequence[Surface], first: int, cases: int, jobs: int) -> Iterator[Tally]:
    """Run cases of many surfaces, of each as many as its share says; yield what came of each, in their order.

    Args:
        surfaces: see `catalog.SURFACES`; those whose libraries are missing are passed over.
        first: number of the first case of all; of each surface, its share of that.
        cases: of all surfaces together.
        jobs: child processes at a time, each of another surface.
    """

    there = [surface for surface in surfaces if surface.is_there]
    ends = list(itertools.accumulate(surface.share for surface in there))

    def part(surface: Surface, end: int) -> Tally:
        ours = cases * end // ends[-1] - cases * (end - surface.share) // ends[-1]  # by ends: they sum up to `cases`
        return run(surface, first * surface.share // ends[-1], ours)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(part, there, ends)


def run(surface: Surface, first: int, cases: int, jobs: int = 1) -> Tally:
    """Run cases `first` to `first + cases - 1` of a surface.

    Args:
        surface: see `catalog.SURFACES`.
        first: number of the first case.
        cases: how many.
        jobs: child processes at a time.
    """
    began = time.monotonic()
    bounds = [first + cases * part // jobs for part in range(jobs + 1)]
    total = Tally(surface.name)
    with ThreadPoolExecutor(jobs) as pool:
        for tally in pool.map(lambda part: _run_range(surface, *part), itertools.pairwise(bounds)):
            total.add(tally)
    total.seconds = time.monotonic() - began
    return total


def _run_range(surface: Surface, first: int, last: int) -> Tally:
    total = Tally(surface.name)
    while first < last and len(total.findings) < _MAX_FINDINGS:
        with _folder() as folder:
            tally, first = _run_child(surface, first, last, folder)
        if tally.count("hang"):
            _look_again(surface, tally)
        total.add(tally)
    return total


def _look_again(surface: Surface, tally: Tally) -> None:
    """Run the last case, which hung, once more by itself: a machine that stood still is not the case's fault."""
    number = tally.findings[-1].number
    with _folder() as folder:
        again, _ = _run_child(surface, number, number + 1, folder)
    if not again.count("hang"):
        tally.findings.pop()
        again.cases, again.slowest_s = 0, 0.0  # it was counted
        if tally.accepted + tally.refused + len(tally.findings) == tally.cases:
            again.accepted = again.refused = 0  # it had come to its end between the last glance and the kill
        again.stalls = 1
        tally.add(again)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder for a child: in memory where that can be, for sinks bring to the disk what they write."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="partsight-fuzz-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _run_child(surface: Surface, first: int, last: int, folder: Path) -> tuple[Tally, int]:
    """Run cases in one process, until all are done or it has to be ended.

    Returns:
        What came of them, and the number of the next case.
    """
    state_path, findings_path, said_path = folder / "state", folder / "findings", folder / "said"
    state_path.write_bytes(STATE.pack(STARTING, time.monotonic(), 0, 0, 0.0, 0, 0, 0))
    findings_path.touch()
    said_path.touch()
    scratch = folder / "scratch"
    scratch.mkdir()
    state = State(state_path)
    process = _processes.Process(
        target=main, args=(surface.name, first, last, state_path, findings_path, said_path, scratch)
    )
    with _processes_lock, contextlib.chdir(_ROOT):  # where what is imported beforehand is looked for
        process.start()
    hung = not _wait(process, state, surface.seconds)
    with _processes_lock:
        process.join()
        code = process.exitcode or 0
        process.close()
    number, _, accepted, refused, slowest_s, slowest, _, grown = state.read()
    findings = [
        Finding(surface.name, **json.loads(line)) for line in findings_path.read_text(encoding="utf-8").splitlines()
    ]
    said_last = said_path.read_bytes().decode(errors="replace")
    if number == STARTING and (hung or code):
        raise RuntimeError(f"surface {surface.name} cannot be opened:\n{said_last[-3000:]}")
    if hung:
        what = f"took more than {surface.seconds:g} s"
        findings.append(Finding(surface.name, number, "hang", what, said_last[-6000:]))
    elif code:
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        findings.append(Finding(surface.name, number, "crash", f"the process died: {name}", said_last[-6000:]))
    cases = max(0, number + 1 - first)
    tally = Tally(surface.name, cases, accepted, refused, findings, 0, slowest_s, slowest, grown / 2**20)
    return tally, number + 1


def _wait(process: BaseProcess, state: State, seconds: float) -> bool:
    """Wait until the process ends; end it, and return False, if a case takes longer than `seconds`."""
    while True:
        if _has_ended(process, _GLANCE_S):
            return True
        number, since, *_ = state.read()
        bound = _START_S if number == STARTING else seconds
        if time.monotonic() - since > bound:
            _end(process)
            return False


def _end(process: BaseProcess) -> None:
    """End a process that hangs; what its threads are at goes into what it said."""
    if hasattr(signal, "SIGUSR1") and process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
        _has_ended(process, 0.5)
    with _processes_lock:
        process.kill()


def _has_ended(process: BaseProcess, wait_s: float) -> bool:
    return bool(connection.wait([process.sentinel], wait_s))


def usable_cores() -> int:
    """Return how many processes may run at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
