"""Watching a path for a new package, and putting it in place of the one that answers."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from partsight.runtime.core import MANIFEST_NAME, SIGNATURE_NAME, PackageError, PartsightError, ProcessBound, read_file
from partsight.runtime.line.line import Line
from partsight.runtime.package import MAX_MANIFEST_BYTES, package_id_of
from partsight.runtime.recognition import Recognizer

_log = logging.getLogger("partsight.line")


class Watch(ProcessBound):
    """Looks at a path from time to time, and swaps the line's package when another is there.

    The path is a package's folder, or a link to one: write the new package under another name, then rename it or turn
    the link, so that nobody ever sees half of it. A package that is refused is told once, and the old one stays; it is
    tried again when a file of it has changed: it may have been copied there, and not all of it had come. A path that
    cannot be read is told once, until it can.
    """

    def __init__(
        self, line: Line, path: str | Path, load: Callable[[str | Path], Recognizer], every_s: float = 1.0
    ) -> None:
        """Take the line; `start` begins to watch.

        Args:
            line: whose package is swapped.
            path: to watch.
            load: how a package is loaded, with the options of the line's.
            every_s: seconds between looks.
        """
        self._line, self._path, self._load, self._every_s = line, Path(path), load, every_s
        self._refused = ("", b"")
        self._refused_files: frozenset[tuple[str, int, int]] = frozenset()
        self._is_unreadable = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partsight-watch", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def close(self) -> None:
        """Watch no longer; a swap under way comes to its end."""
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
            if found[0] in ("", self._line.package_id):
                continue
            files = _files(self._path)
            if found == self._refused and files == self._refused_files:
                continue
            try:
                self._line.swap(self._path, self._load)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with it, the line goes on with the old)
                self._refuse(found, files, error)

    def _refuse(self, found: tuple[str, bytes], files: frozenset[tuple[str, int, int]], error: Exception) -> None:
        is_told = found == self._refused
        self._refused, self._refused_files = found, files
        if isinstance(error.__cause__, OSError):
            self._refused_files = frozenset()  # a disk or a network that may come back: tried again in any case
        if not is_told:
            level = logging.ERROR if isinstance(error, PartsightError) else logging.CRITICAL
            extra = {"event": "package_refused", "package": found[0], "path": str(self._path)}
            _log.log(level, "the package at %s is refused: %s", self._path, error, extra=extra)

    def _look(self) -> tuple[str, bytes]:
        """Return the id of the package at the path, and its signature: one that is refused may be signed after all.

        The id is empty if none is there, the signature if it has none.
        """
        try:
            found, signature = self._read(MANIFEST_NAME), self._read(SIGNATURE_NAME)
        except PackageError as error:
            if not self._is_unreadable:
                extra = {"event": "package_unreadable", "package": self._line.package_id, "path": str(self._path)}
                _log.error("package %s goes on: %s", self._line.package_id, error, extra=extra)
            self._is_unreadable = True
            return "", b""
        self._is_unreadable = False
        return package_id_of(found) if found else "", signature

    def _read(self, name: str) -> bytes:
        """Return a file's bytes, none if it is not there; raises PackageError if it cannot be read."""
        try:
            return read_file(self._path, name, MAX_MANIFEST_BYTES)
        except PackageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return b""
            raise


def _files(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Return what tells of each file in a folder whether it has changed: its path, size and time in nanoseconds."""
    found = set()
    for inside, _, names in os.walk(folder):
        for name in names:
            path = Path(inside, name)
            with contextlib.suppress(OSError):  # it has gone meanwhile
                state = path.lstat()
                found.add((str(path), state.st_size, state.st_mtime_ns))
    return frozenset(found)
