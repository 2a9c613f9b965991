"""Every fault at every file operation of a job, one at a time, and what came of it."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.injector import Ended, Injector, Kind
from tests.faults.job import TEMPORARY, Job, Judge, State, tree_of

_DEADLY = (Kind.KILL, Kind.POWER)


@dataclass
class Row:
    """What came of one kind of fault in one job; `problems` says what should not have come of it.

    Attributes:
        operations: that the job does, of those that the fault can meet.
        injected: runs in which one was broken.
        old, new, between: what the job's folder held then. `between` must be 0.
        untold: runs that neither succeeded nor ended with one line that says what could not be done; must be 0.
        again: next runs that worked, and made anew what a power cut had damaged of the cache; must be `injected`.
        left: next runs that left temporary files behind; must be 0.
        seconds: that all runs took.
    """

    job: str
    fault: Kind
    operations: int = 0
    injected: int = 0
    old: int = 0
    new: int = 0
    between: int = 0
    untold: int = 0
    again: int = 0
    left: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Campaign:
    """Breaks one job. Make it before anything has started a thread: each run is a fork of this process."""

    def __init__(self, job: Job, scratch: Path, log: Path | None = None) -> None:
        """Prepare the old state, and run the job once without a fault.

        Raises:
            RuntimeError: the job does not work even so.
        """
        self.job = job
        self._folder, self._template = scratch / "job", scratch / "template"
        self._injector = Injector(scratch, log)
        job.load()
        (self._folder / TEMPORARY).mkdir(parents=True)
        self._must_work(self._prepare)
        self._folder.rename(self._template)
        self._restore()
        self.judge = Judge(job, tree_of(self._template))
        self.operations = self._must_work(self._work).met
        self.judge = Judge(job, self.judge.before, tree_of(self._folder))
        state = self.judge.state(self._folder)
        if not state.is_new or state.wrong or state.leftovers:
            raise RuntimeError(f"without any fault {job.name} leaves {state}")

    def row(self, fault: Kind, every: int = 1, first: int = 1, again: bool = True) -> Row:
        """Break every N-th operation in turn, of those that the job does without a fault.

        Args:
            fault: what happens there.
            every: N; 1 for all.
            first: number of the first operation to break.
            again: whether the job is run again after each fault.
        """
        last = self.operations[fault]
        row, started = Row(self.job.name, fault, last), time.monotonic()
        for number in range(first, last + 1, every):
            self._inject(row, fault, number, again)
        if fault == Kind.POWER:
            self._inject(row, fault, last + 1, again)  # after the end
        row.seconds = round(time.monotonic() - started, 1)
        return row

    def _inject(self, row: Row, fault: Kind, number: int, again: bool) -> None:
        self._restore()
        ended = self._run(self._work, fault, number)
        if not ended.struck and fault != Kind.POWER:
            return  # a disk that is full does not meet what takes no space
        where = f"{self.job.name}, {fault.name}, operation {number} ({ended.what or 'after the end'})"
        state = self.judge.state(self._folder)
        wrong = state.wrong if fault == Kind.POWER else (*state.wrong, *state.damaged)
        row.injected += 1
        row.between += bool(wrong)
        row.new += state.is_new and not wrong
        row.old += not state.is_new and not wrong
        row.problems += [f"{where}: {what}" for what in wrong]
        if error := self._untold(ended, state, fault):
            row.untold += 1
            row.problems.append(f"{where}: {error}")
        if again:
            self._again(row, where, state)

    def _untold(self, ended: Ended, state: State, fault: Kind) -> str:
        """Return what is wrong with how a job ended; empty if nothing is."""
        last = ended.said.strip().rpartition("\n")[2]
        if fault in _DEADLY:
            return "" if ended.code == -9 else f"ended with {ended.code} and not by the kill: {last}"
        if ended.code == 0:
            return "" if state.is_new else "says that it is done, and is not"
        told = ended.said.partition("partsight: error: ")[2]
        if ended.code == 1 and str(self._folder) in told and "Traceback" not in ended.said:
            return ""
        return f"ended with {ended.code}, without an error of partsight's that names a path: {last}"

    def _again(self, row: Row, where: str, before: State) -> None:
        """Run the job again; where it was done already and does not replace what is there, to another name."""
        out = f"{self.job.out}_again" if before.is_new and not self.job.replaces else self.job.out
        ended = self._run(lambda: self.job.run(self._folder, self._folder / out))
        state = self.judge.state(self._folder, out)
        wrong = (*state.wrong, *state.damaged)
        if ended.code == 0 and state.is_new and not wrong:
            row.again += 1
        else:
            last = ended.said.strip().rpartition("\n")[2]
            row.problems.append(f"{where}: the next run ended with {ended.code}, {wrong}: {last}")
        is_elsewhere = self.job.beside and before.is_new  # a second name of a public key, which stays beside that key
        if state.leftovers and not is_elsewhere:
            row.left += 1
            row.problems.append(f"{where}: after the next run there is still {state.leftovers[0]}")

    def _prepare(self) -> int:
        self.job.prepare(self._folder)
        return 0

    def _work(self) -> int:
        return self.job.run(self._folder, self._folder / self.job.out)

    def _run(self, work: Callable[[], int], fault: Kind = Kind.COUNT, number: int = 0) -> Ended:
        with _temporary(self._folder / TEMPORARY):
            return self._injector.run(work, self._folder, fault, number, kills_readers=self.job.kills_readers)

    def _must_work(self, work: Callable[[], int]) -> Ended:
        ended = self._run(work)
        if ended.code != 0:
            raise RuntimeError(f"{self.job.name} ends with {ended.code} without any fault:\n{ended.said}")
        return ended

    def _restore(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._template, self._folder, symlinks=True)


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Have temporary files in a folder meanwhile."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    variable = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable
