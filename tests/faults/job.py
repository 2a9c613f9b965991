"""A job that is broken at every file operation, and what its folder may look like afterwards."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TEMPORARY = "tmp"
"""The system's temporary folder in a job's folder: what libraries leave there is theirs."""

Tree = Mapping[str, str]
"""SHA-256 of each file by its path; empty for a folder."""

_PARTIAL = re.compile(r"\..+\.partial")


@dataclass(frozen=True)
class Job:
    """What is run, again and again, each time with another file operation broken.

    Attributes:
        name: for the table.
        out: what it writes, by its path in the job's folder.
        load: imports and patches what every run needs, once, before any run.
        prepare: puts the old state into the job's folder.
        run: does the work with the folder and the path to write to, and returns the exit code.
        check: raises unless what was written is whole, and can be used.
        varying: files of a cache that may differ from run to run, by their names.
    """

    name: str
    out: str
    load: Callable[[], None]
    prepare: Callable[[Path], None]
    run: Callable[[Path, Path], int]
    check: Callable[[Path], None]
    varying: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """What is found in a job's folder.

    Attributes:
        is_new: whether what the job writes is there.
        wrong: what belongs neither to the old state nor to the new one.
        leftovers: temporary files and folders, which nothing loads.
    """

    is_new: bool
    wrong: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


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
        out = out or self.job.out
        found = tree_of(folder)
        wrong, leftovers = [], []
        for path, content in found.items():
            if any(_PARTIAL.fullmatch(part) for part in path.split("/")):
                leftovers.append(path)
            elif not self._is_known(path, content) and not _is_in(path, (self.job.out, out)):
                wrong.append(f"{path} belongs to neither")
        wrong += [f"{path} has changed" for path, content in self.before.items() if found.get(path) != content]
        is_new = out in found
        wrong += self._faults(folder, {self.job.out, out} & found.keys())
        return State(is_new, tuple(wrong), tuple(leftovers))

    def _is_known(self, path: str, content: str) -> bool:
        expected = self.before.get(path, self.after.get(path))
        return expected == content or (expected is not None and path.rpartition("/")[2] in self.job.varying)

    def _faults(self, folder: Path, written: set[str]) -> list[str]:
        faults = []
        for path in sorted(written):
            try:
                self.job.check(folder / path)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with it)
                faults.append(f"{path} is not whole: {error!r}")
        return faults


def tree_of(folder: Path) -> dict[str, str]:
    """Return what is in a folder, without what libraries put into the folder of temporary files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.partition("/")[0] != TEMPORARY:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def _is_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
