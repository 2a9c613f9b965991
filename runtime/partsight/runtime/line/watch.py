"""The watch: looks for a new package at a path, and swaps it in for the one that answers."""

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from partsight.runtime.core import MANIFEST_NAME, SIGNATURE_NAME, PackageError, PartsightError, ProcessBound, read_file
from partsight.runtime.line.line import Line
from partsight.runtime.line.package_swap import Load
from partsight.runtime.package import MAX_MANIFEST_BYTES, package_id_of

_log = logging.getLogger("partsight.line")


@dataclass(frozen=True)
class _Found:
    """The package at a path.

    Attributes:
        package_id: Its id; empty if there is none.
        signature: Its signature; empty if it has none. A package that was refused may be signed later.
    """

    package_id: str = ""
    signature: bytes = b""


@dataclass(frozen=True)
class _FileState:
    """Path, size in bytes and time of change in nanoseconds of a file: they show whether it has changed."""

    path: str
    size: int
    changed_ns: int


class Watch(ProcessBound):
    """Looks at a path from time to time, and swaps the line's package when a new one is there.

    The path is a package's folder, or a link to one. Write the new package under another name, then rename it or turn
    the link, so that nobody ever sees half of it. The watch logs once that it refuses a package, and the old one stays.
    It tries again when a file of the package changes, since a copy may not have been complete. It also logs once that
    it cannot read the path. If something else swaps the line's package, that package stays until a new one is at the
    path.
    """

    def __init__(self, line: Line, path: str | Path, load: Load, every_s: float = 1.0) -> None:
        """Take the line; `start` begins to watch.

        Args:
            line: Line whose package is swapped.
            path: Path to watch.
            load: Function that loads a package, with the options of the line's; see `Line.swap`.
            every_s: Seconds between two looks.
        """
        self._line, self._path, self._load, self._every_s = line, Path(path), load, every_s
        self._used = line.package_id  # the last package of this path that the line took
        self._refused = _Found()
        self._refused_files: frozenset[_FileState] = frozenset()
        self._is_unreadable = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partsight-watch", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching, after the swap under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            found = self._look()
            if found.package_id == self._line.package_id:
                self._used = found.package_id
            if found.package_id in ("", self._used):
                continue
            files = _states_of_files(self._path)
            if found == self._refused and files == self._refused_files:
                continue
            try:
                self._used = self._line.swap(self._path, self._load)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with it, the line goes on with the old one)
                self._refuse(found, files, error)

    def _refuse(self, found: _Found, files: frozenset[_FileState], error: Exception) -> None:
        is_logged = found == self._refused
        self._refused, self._refused_files = found, files
        if isinstance(error.__cause__, OSError):
            self._refused_files = frozenset()  # a disk or a network may come back: try again in any case
        if not is_logged:
            level = logging.ERROR if isinstance(error, PartsightError) else logging.CRITICAL
            extra = {"event": "package_refused", "package": found.package_id, "path": str(self._path)}
            _log.log(level, "the line refuses the package at %s: %s", self._path, error, extra=extra)

    def _look(self) -> _Found:
        """Return the package at the path; none if the path cannot be read, which is logged once."""
        try:
            manifest, signature = self._read(MANIFEST_NAME), self._read(SIGNATURE_NAME)
        except PackageError as error:
            if not self._is_unreadable:
                extra = {"event": "package_unreadable", "package": self._line.package_id, "path": str(self._path)}
                text = "the watched path cannot be read, so package %s stays: %s"
                _log.error(text, self._line.package_id, error, extra=extra)
            self._is_unreadable = True
            return _Found()
        self._is_unreadable = False
        return _Found(package_id_of(manifest) if manifest else "", signature)

    def _read(self, name: str) -> bytes:
        """Return a file's bytes, none if it is not there; raises PackageError if it cannot be read."""
        try:
            return read_file(self._path, name, MAX_MANIFEST_BYTES)
        except PackageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return b""
            raise


def _states_of_files(folder: Path) -> frozenset[_FileState]:
    found = set()
    for inside, _, names in os.walk(folder):
        for name in names:
            path = Path(inside, name)
            with contextlib.suppress(OSError):  # it has gone meanwhile
                state = path.lstat()
                found.add(_FileState(str(path), state.st_size, state.st_mtime_ns))
    return frozenset(found)
