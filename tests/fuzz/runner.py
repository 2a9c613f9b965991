"""Runs the cases of a surface in child processes, and replaces each child that died, hung or swelled."""

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
_CHECK_EVERY_S = 0.1
_START_S = 120.0
_MAX_FINDINGS = 100  # more mean that the surface is broken, and each one costs a start

# Where possible, children are forks of a process with all imports, which halves their start time.
_processes = cast(SpawnContext, get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn"))
_processes.set_forkserver_preload(["__main__", "tests.fuzz.catalog"])
_processes_lock = threading.Lock()  # starting a process also collects the exit codes of all others


@dataclass(frozen=True)
class Finding:
    """A case with an unexpected outcome.

    Attributes:
        surface: Name of the surface.
        number: Number of the case: `python -m tests.fuzz --surface SURFACE --first NUMBER --cases 1` runs it again.
        kind: `crash`, `hang`, `memory` or `wrong`.
        summary: One line about the outcome.
        detail: Traceback, or the last output of the process.
    """

    surface: str
    number: int
    kind: str
    summary: str
    detail: str


@dataclass
class Tally:
    """Outcome of the cases of a surface.

    Attributes:
        surface: Name of the surface.
        cases: Number of cases.
        accepted, refused: Number of cases that passed, and that raised a typed error.
        findings: Cases with an unexpected outcome.
        stalls: Number of cases that hung once, but not in a second run alone.
        slowest_s, slowest: Seconds and number of the slowest case.
        grown_mb: Largest growth of a process, MB.
        seconds: Duration, starts included.
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
        """Add the outcome of other cases of the same surface."""
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
    """Run cases of many surfaces by their shares; yield the tally of each, in order.

    Args:
        surfaces: Surfaces, as in `catalog.SURFACES`; the runner skips those whose libraries are missing.
        first: Number of the first case of all surfaces; each surface starts at its share of it.
        cases: Number of cases of all surfaces together.
        jobs: Number of child processes at a time, each of another surface.
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
        surface: Surface, as in `catalog.SURFACES`.
        first: Number of the first case.
        cases: Number of cases.
        jobs: Number of child processes at a time.
    """
    started = time.monotonic()
    bounds = [first + cases * part // jobs for part in range(jobs + 1)]
    total = Tally(surface.name)
    with ThreadPoolExecutor(jobs) as pool:
        for tally in pool.map(lambda part: _run_range(surface, *part), itertools.pairwise(bounds)):
            total.add(tally)
    total.seconds = time.monotonic() - started
    return total


def _run_range(surface: Surface, first: int, last: int) -> Tally:
    total = Tally(surface.name)
    while first < last and len(total.findings) < _MAX_FINDINGS:
        with _folder() as folder:
            tally, first = _run_child(surface, first, last, folder)
        if tally.count("hang"):
            _run_again(surface, tally)
        total.add(tally)
    return total


def _run_again(surface: Surface, tally: Tally) -> None:
    """Run the last case, which hung, once more alone, because a stalled machine also looks like a hang."""
    number = tally.findings[-1].number
    with _folder() as folder:
        again, _ = _run_child(surface, number, number + 1, folder)
    if not again.count("hang"):
        tally.findings.pop()
        again.cases, again.slowest_s = 0, 0.0  # the first run counted it
        if tally.accepted + tally.refused + len(tally.findings) == tally.cases:
            again.accepted = again.refused = 0  # it ended between the last check and the kill
        again.stalls = 1
        tally.add(again)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Yield a folder for a child: in memory where possible, because sinks flush their files to the disk."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="partsight-fuzz-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _run_child(surface: Surface, first: int, last: int, folder: Path) -> tuple[Tally, int]:
    """Run cases in one process, until all are done or the runner must end it.

    Returns:
        Their tally, and the number of the next case.
    """
    state_path, findings_path, output_path = folder / "state", folder / "findings", folder / "output"
    state_path.write_bytes(STATE.pack(STARTING, time.monotonic(), 0, 0, 0.0, 0, 0, 0))
    findings_path.touch()
    output_path.touch()
    scratch = folder / "scratch"
    scratch.mkdir()
    state = State(state_path)
    process = _processes.Process(
        target=main, args=(surface.name, first, last, state_path, findings_path, output_path, scratch)
    )
    with _processes_lock, contextlib.chdir(_ROOT):  # the preloaded modules are imported from here
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
    output = output_path.read_bytes().decode(errors="replace")
    if number == STARTING and (hung or code):
        raise RuntimeError(f"surface {surface.name} cannot be opened:\n{output[-3000:]}")
    if hung:
        summary = f"took more than {surface.seconds:g} s"
        findings.append(Finding(surface.name, number, "hang", summary, output[-6000:]))
    elif code:
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        findings.append(Finding(surface.name, number, "crash", f"the process died: {name}", output[-6000:]))
    cases = max(0, number + 1 - first)
    tally = Tally(surface.name, cases, accepted, refused, findings, 0, slowest_s, slowest, grown / 2**20)
    return tally, number + 1


def _wait(process: BaseProcess, state: State, seconds: float) -> bool:
    """Wait until the process ends; end it, and return False, if a case takes longer than `seconds`."""
    while True:
        if _has_ended(process, _CHECK_EVERY_S):
            return True
        number, since, *_ = state.read()
        bound = _START_S if number == STARTING else seconds
        if time.monotonic() - since > bound:
            _end(process)
            return False


def _end(process: BaseProcess) -> None:
    """End a process that hangs, after it prints the stacks of its threads."""
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
