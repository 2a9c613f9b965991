"""A job in a process of its own: `python -m partsight.runtime.page.improve.job`; see `job_protocol`.

It has the lowest priority, so that the line goes first. It ends when its standard input ends: the page was closed, or
its process was killed.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from partsight.runtime.core import PageError, PartsightError, Task, log_progress_every, progress, sha256_bytes
from partsight.runtime.feedback import confirmed_frames
from partsight.runtime.package import ModelPackage
from partsight.runtime.page.improve.improvement import MAX_IMAGES, find_new_parts
from partsight.runtime.page.improve.job_protocol import (
    JobEvent,
    JobFault,
    JobProgress,
    JobRequest,
    JobResult,
    NewPart,
    RateChange,
)

_EVERY_S = 0.5
_NICENESS = 19
_PARENT_GONE = 3
_RATES = ("refused", "wrong", "siblings", "unknown")


class _Events(logging.Handler):
    """Writes events; as a handler of the log, also the progress of partsight's own functions."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(logging.INFO)
        self._out, self._lock = out, threading.Lock()

    def send(self, event: JobEvent) -> None:
        with self._lock:
            self._out.write(msgspec.json.encode(event) + b"\n")
            self._out.flush()

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", "") == "progress":
            facts = {name: record.__dict__[name] for name in JobProgress.__struct_fields__}
            self.send(JobProgress(**facts))


def main() -> int:
    """Do one job and return the exit code: 0 if the last event says how it ended."""
    _go_last()
    # A library that prints must not end up among the events, nor read the request.
    events = _Events(os.fdopen(os.dup(1), "wb"))
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    request = msgspec.json.decode(requests.readline(), type=JobRequest)
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    log = logging.getLogger("partsight")
    log.setLevel(logging.INFO)
    log.addHandler(events)
    log_progress_every(_EVERY_S)
    try:
        events.send(do(request))
    except PartsightError as error:
        events.send(JobFault(str(error)))
    return 0


def do(request: JobRequest) -> JobResult:
    """Do what a request asks for.

    Raises:
        PartsightError: it is not possible; the text says why.
    """
    package = ModelPackage.read(request.package)
    if package.package_id != request.package_id:
        raise _changed(request, package.package_id)
    work: Callable[[JobRequest, ModelPackage], JobResult] = _commission if request.kind == "commission" else _enroll
    return work(request, package)


def _commission(request: JobRequest, package: ModelPackage) -> JobResult:
    from partsight.runtime.calibration import commission  # noqa: PLC0415 (an enrolment does without)

    done = commission(package.path, confirmed_frames(request.feedback), request.out)
    new = done.package
    _check_origin(request, new.manifest.provenance.commissionings[-1].from_package)
    rates = (RateChange(name, getattr(done.before, name), getattr(done.after, name)) for name in _RATES)
    return JobResult(
        package_id=new.package_id,
        out=request.out,
        verdict=done.verdict,
        rates=tuple(rate for rate in rates if rate.after is not None),
        tasks=tuple(_for_page(done.tasks)),
        taught=done.used.taught,
        parts=done.used.parts,
        unknown=done.used.unknown,
        faults=tuple(f"{path}: {cause}" for path, cause in done.used.faults.items()),
    )


def _for_page(tasks: Iterable[Task]) -> Iterator[Task]:
    """Yield the tasks for a person at the page, which has buttons to commission, to swap and to go back."""
    for task in tasks:
        if task.command.startswith("partsight commission") and "--undo" not in task.command:
            yield Task(task.text)
        elif not task.command.startswith(("partsight run", "partsight commission")):
            yield task


def _enroll(request: JobRequest, package: ModelPackage) -> JobResult:
    from partsight.runtime.enrolment import enroll  # noqa: PLC0415 (a commissioning does without)

    found = find_new_parts(confirmed_frames(request.feedback), package.manifest.labels)
    if not found:
        raise PageError(
            f"{request.feedback}: every confirmed frame shows a part that package {package.package_id} has; name a new "
            "part on the screen Refused first"
        )
    additions = {label: _distinct(frame.path for frame in frames)[:MAX_IMAGES] for label, frames in found.items()}
    done = enroll(package.path, request.out, additions=additions, track=_track)
    _check_origin(request, done.package.manifest.provenance.enrolments[-1].from_package)
    parts = (
        NewPart(
            label=part.label,
            images=part.images,
            right=part.right,
            refused=part.refused,
            wrong=part.wrong,
            lookalike=part.lookalike.label if part.lookalike else "",
            is_confusable=bool(part.lookalike and part.lookalike.is_confusable),
            is_twin=bool(part.lookalike and part.lookalike.is_twin),
            misfits=part.misfits,
        )
        for part in done.parts
    )
    return JobResult(
        package_id=done.package.package_id, out=request.out, new_parts=tuple(parts), harmed=tuple(done.harmed)
    )


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Return image files without those that are copies of an earlier one: a part cannot have an image twice."""
    return list({_sum_of(path): path for path in reversed(list(paths))}.values())[::-1]


def _sum_of(path: Path) -> str:
    try:
        return sha256_bytes(path.read_bytes())
    except OSError:  # enrolment says why
        return str(path)


def _track(items: Sequence[int], work: str) -> Iterable[int]:
    yield from progress(items, len(items), work, "×32")


def _check_origin(request: JobRequest, found: str) -> None:
    """Refuse a package that was made from another one: somebody replaced the folder meanwhile."""
    if found != request.package_id:
        raise _changed(request, found)


def _changed(request: JobRequest, found: str) -> PageError:
    return PageError(
        f"{request.package}: holds package {found}, and the line answers with {request.package_id}; leave the folder "
        "of the running package as it is, or swap to the package there first"
    )


def _go_last() -> None:
    """Let every other process go first; on Windows the parent says so."""
    with contextlib.suppress(OSError):  # a container may forbid it
        if hasattr(os, "nice"):
            os.nice(_NICENESS)
        if hasattr(os, "SCHED_IDLE"):  # Linux: a thread of the line that wakes up takes the core at once
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends this process


def _end_with_parent(requests: BinaryIO) -> None:
    """End at once when nobody can send further requests; a half-written package has a name that nothing reads."""
    while requests.read(4096):
        pass
    os._exit(_PARENT_GONE)


if __name__ == "__main__":
    sys.exit(main())
