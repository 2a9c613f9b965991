"""A job that is broken at every file operation, and what its folder may look like afterwards."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.injector import Kind

TEMPORARY = "tmp"
"""The system's temporary folder in a job's folder: what libraries leave there is theirs."""

FAULTS = tuple(kind for kind in Kind if kind != Kind.COUNT)

Tree = Mapping[str, str]
"""SHA-256 of each file by its path; empty for a folder."""

_PARTIAL = re.compile(r"\..+\.partial")


@dataclass(frozen=True)
class Job:
    """What is run, again and again, each time with another file operation broken.

    Attributes:
        name: for the table.
        out: what it writes, by its path in the job's folder.
        load: imports what every run needs, once, before any run.
        prepare: puts the old state into the job's folder.
        run: does the work with the folder and the path to write to, and returns the exit code.
        check: raises unless what was written is whole, and can be used.
        replaces: whether it writes `out` in place of one that is there. Else that is refused.
        beside: ends of names of what is written beside `out` and is of no use alone: a next run removes it.
        cache: name of a folder whose files are checked when they are read, so that a power cut may damage them.
        varying: files of that cache that differ from run to run: by their names, what raises unless one is whole.
        faults: that it is to bear.
        kills_readers: whether it is killed at operations that read, too.
    """

    name: str
    out: str
    load: Callable[[], None]
    prepare: Callable[[Path], None]
    run: Callable[[Path, Path], int]
    check: Callable[[Path], None]
    replaces: bool = False
    beside: tuple[str, ...] = ()
    cache: str = ""
    varying: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    faults: tuple[Kind, ...] = FAULTS
    kills_readers: bool = False


@dataclass(frozen=True)
class State:
    """What is found in a job's folder.

    Attributes:
        is_new: whether what the job writes is there.
        wrong: what belongs neither to the old state nor to the new one.
        leftovers: temporary files and folders, which nothing loads.
        damaged: files of the cache.
    """

    is_new: bool
    wrong: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judge:
    """Tells the old state, the new one and what lies between apart.

    Attributes:
        job: whose folder it is.
        before: what was there before the job.
        after: what is there after a run without a fault.
    """

    job: Job
    before: Tree
    after: Tree = field(default_factory=dict)

    def state(self, folder: Path, out: str = "") -> State:
        """Return what is found; `out` names what was written, if it is not the job's own."""
        written = {self.job.out, out or self.job.out}
        found = tree_of(folder)
        wrong, leftovers, damaged = [], [], []
        for path, content in found.items():
            if any(_PARTIAL.fullmatch(part) for part in path.split("/")) or self._is_alone(path, found):
                leftovers.append(path)
            elif self._is_known(path, content) or self._is_of(path, written):
                pass
            elif path in self.after and self.job.cache in path.split("/"):
                check = self.job.varying.get(path.rpartition("/")[2])
                damaged += [path] if check is None or _raises(check, folder / path) else []
            else:
                wrong.append(f"{path} belongs to neither")
        wrong += [f"{path} has changed" for path in self.before if not self._is_kept(path, found)]
        wrong += [fault for path in sorted(written & found.keys()) for fault in self._faults(folder, path, found)]
        return State(self._is_new(out or self.job.out, found), tuple(wrong), tuple(leftovers), tuple(damaged))

    def _is_new(self, out: str, found: Tree) -> bool:
        return found.get(out) == self.after.get(out) if self.job.replaces else out in found

    def _is_alone(self, path: str, found: Tree) -> bool:
        return any(path == f"{self.job.out}{end}" for end in self.job.beside) and self.job.out not in found

    def _is_known(self, path: str, content: str) -> bool:
        return content in (self.before.get(path), self.after.get(path))

    def _is_of(self, path: str, written: set[str]) -> bool:
        """Whether it is what the job writes, which `check` looks at; what it replaces is one of two, to the bit."""
        if self.job.replaces:
            return False
        names = {f"{out}{end}" for out in written for end in ("", *self.job.beside)}
        return any(path == name or path.startswith(f"{name}/") for name in names)

    def _is_kept(self, path: str, found: Tree) -> bool:
        is_replaced = path == self.job.out and path in found and found[path] == self.after.get(path)
        return is_replaced or found.get(path) == self.before[path]

    def _faults(self, folder: Path, path: str, found: Tree) -> list[str]:
        faults = [f"{path}{end} is missing" for end in self.job.beside if f"{path}{end}" not in found]
        error = _raises(self.job.check, folder / path)
        return [*faults, f"{path} is not whole: {error!r}"] if error else faults


def _raises(check: Callable[[Path], None], path: Path) -> Exception | None:
    try:
        check(path)
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it)
        return error
    return None


def tree_of(folder: Path) -> dict[str, str]:
    """Return what is in a folder, without what libraries put into the folder of temporary files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.partition("/")[0] != TEMPORARY:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found
