"""Every fault at every file operation of a job, one at a time, and the state that each leaves."""

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
    """Outcome of one kind of fault in one job; `problems` lists each deviation from the expected outcome.

    Attributes:
        operations: Number of the job's operations that the fault can meet.
        injected: Number of runs in which one was broken.
        old, new, between: Number of runs that left the old state, the new one, or neither. `between` must be 0.
        unreported: Number of runs that failed without one line that names the failure; must be 0.
        again: Number of next runs that worked and repaired a damaged cache; must be `injected`.
        left: Number of next runs that left temporary files; must be 0.
        seconds: Duration of all runs.
    """

    job: str
    fault: Kind
    operations: int = 0
    injected: int = 0
    old: int = 0
    new: int = 0
    between: int = 0
    unreported: int = 0
    again: int = 0
    left: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Campaign:
    """Breaks one job. Create it before any thread starts, because each run forks this process."""

    def __init__(self, job: Job, scratch: Path, log: Path | None = None) -> None:
        """Prepare the old state, and run the job once without a fault.

        Raises:
            RuntimeError: The job fails even without a fault.
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
            raise RuntimeError(f"{job.name} leaves {state} without any fault")

    def row(self, fault: Kind, every: int = 1, first: int = 1, again: bool = True) -> Row:
        """Break every N-th operation in turn, of those that the job does without a fault.

        Args:
            fault: Fault to inject.
            every: Step N between broken operations; 1 for all.
            first: Number of the first operation to break.
            again: Whether to run the job again after each fault.
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
            return  # a full disk does not break operations that take no space
        where = f"{self.job.name}, {fault.name}, operation {number} ({ended.operation or 'after the end'})"
        state = self.judge.state(self._folder)
        wrong = state.wrong if fault == Kind.POWER else (*state.wrong, *state.damaged)
        row.injected += 1
        row.between += bool(wrong)
        row.new += state.is_new and not wrong
        row.old += not state.is_new and not wrong
        row.problems += [f"{where}: {deviation}" for deviation in wrong]
        if error := self._unreported(ended, state, fault):
            row.unreported += 1
            row.problems.append(f"{where}: {error}")
        if again:
            self._again(row, where, state)

    def _unreported(self, ended: Ended, state: State, fault: Kind) -> str:
        """Return the fault in how a job ended; empty if there is none."""
        last = ended.output.strip().rpartition("\n")[2]
        if fault in _DEADLY:
            return "" if ended.code == -9 else f"ended with {ended.code} and not by the kill: {last}"
        if ended.code == 0:
            return "" if state.is_new else "exit code 0 without output"
        message = ended.output.partition("partsight: error: ")[2]
        if ended.code == 1 and str(self._folder) in message and "Traceback" not in ended.output:
            return ""
        return f"ended with {ended.code}, without an error line of partsight that names a path: {last}"

    def _again(self, row: Row, where: str, before: State) -> None:
        """Run the job again, to another name if its output exists and it does not replace it."""
        out = f"{self.job.out}_again" if before.is_new and not self.job.replaces else self.job.out
        ended = self._run(lambda: self.job.run(self._folder, self._folder / out))
        state = self.judge.state(self._folder, out)
        wrong = (*state.wrong, *state.damaged)
        if ended.code == 0 and state.is_new and not wrong:
            row.again += 1
        else:
            last = ended.output.strip().rpartition("\n")[2]
            row.problems.append(f"{where}: the next run ended with {ended.code}, {wrong}: {last}")
        is_elsewhere = self.job.companions and before.is_new  # the key of the first run keeps its public key
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
            raise RuntimeError(f"{self.job.name} ends with {ended.code} without any fault:\n{ended.output}")
        return ended

    def _restore(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._template, self._folder, symlinks=True)


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Direct temporary files into a folder."""
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
