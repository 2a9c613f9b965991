"""A job that is broken at every file operation, and the states in which its folder may be left."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.injector import Kind

TEMPORARY = "tmp"
"""The system's temporary folder in a job's folder. The judge ignores files that libraries leave there."""

FAULTS = tuple(kind for kind in Kind if kind != Kind.COUNT)

Tree = Mapping[str, str]
"""SHA-256 of each file by its path; empty for a folder."""

_PARTIAL = re.compile(r"\..+\.partial")


@dataclass(frozen=True)
class Job:
    """Work that a campaign repeats, each time with another file operation broken.

    Attributes:
        name: Name in the table.
        out: Path of the output, relative to the job's folder.
        load: Imports the modules of every run, once, before any run.
        prepare: Puts the old state into the job's folder.
        run: Does the work with the folder and the output's path, and returns the exit code.
        check: Raises unless the output is complete and usable.
        replaces: Whether the job replaces an `out` that exists. Otherwise it refuses to.
        companions: Suffixes of files next to `out` that are useless without it. The next run removes them.
        cache: Name of a folder whose readers check each file, so that a power cut may damage its files.
        varying: Checks of those cache files that differ from run to run, by file name. A check raises if it fails.
        faults: Faults that the job must withstand.
        kills_readers: Whether the campaign also kills the job at operations that read.
    """

    name: str
    out: str
    load: Callable[[], None]
    prepare: Callable[[Path], None]
    run: Callable[[Path, Path], int]
    check: Callable[[Path], None]
    replaces: bool = False
    companions: tuple[str, ...] = ()
    cache: str = ""
    varying: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    faults: tuple[Kind, ...] = FAULTS
    kills_readers: bool = False


@dataclass(frozen=True)
class State:
    """Content of a job's folder after a run.

    Attributes:
        is_new: Whether the job's output is there.
        wrong: Deviations from both the old state and the new one.
        leftovers: Temporary files and folders, which nothing loads.
        damaged: Damaged files of the cache.
    """

    is_new: bool
    wrong: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judge:
    """Distinguishes the old state, the new state and any state between them.

    Attributes:
        job: Job that owns the folder.
        before: Content before the job.
        after: Content after a run without a fault.
    """

    job: Job
    before: Tree
    after: Tree = field(default_factory=dict)

    def state(self, folder: Path, out: str = "") -> State:
        """Return the folder's state; `out` is the output's path if it differs from `job.out`."""
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
        return any(path == f"{self.job.out}{end}" for end in self.job.companions) and self.job.out not in found

    def _is_known(self, path: str, content: str) -> bool:
        return content in (self.before.get(path), self.after.get(path))

    def _is_of(self, path: str, written: set[str]) -> bool:
        """Whether `check` examines `path` as an output; a replaced file must equal the old or the new one."""
        if self.job.replaces:
            return False
        names = {f"{out}{end}" for out in written for end in ("", *self.job.companions)}
        return any(path == name or path.startswith(f"{name}/") for name in names)

    def _is_kept(self, path: str, found: Tree) -> bool:
        is_replaced = path == self.job.out and path in found and found[path] == self.after.get(path)
        return is_replaced or found.get(path) == self.before[path]

    def _faults(self, folder: Path, path: str, found: Tree) -> list[str]:
        faults = [f"{path}{end} is missing" for end in self.job.companions if f"{path}{end}" not in found]
        error = _raises(self.job.check, folder / path)
        return [*faults, f"{path} is not whole: {error!r}"] if error else faults


def _raises(check: Callable[[Path], None], path: Path) -> Exception | None:
    try:
        check(path)
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it)
        return error
    return None


def tree_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder, except in its folder of temporary files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.partition("/")[0] != TEMPORARY:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found
