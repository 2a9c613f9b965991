"""A file that grows by whole pieces: the base of JSON lines and CSV."""

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from partsight.runtime.core import SinkError, SinkGoneError
from partsight.runtime.sinks.address import Options
from partsight.runtime.sinks.files import check_folder, file_identity, flush_folder, lock_file

_BLOCK = 1 << 20
_SHOWN = 500  # bytes of a torn piece that the log shows

_log = logging.getLogger("partsight.sinks")


class FileOptions(Options, frozen=True, kw_only=True):
    """Options of a file that is appended to.

    Attributes:
        sync_every: Number of results after which they are flushed to the disk, so that a power cut loses none of
            them. A crash of the program alone never loses one.
        sync_s: Seconds after which fewer results are flushed.
        rotate_mb: Size in MB (of 1,000,000 bytes) above which the file is renamed to NAME.000001.SUFFIX,
            NAME.000002.SUFFIX and so on; None for never.
        keep: Number of renamed files to keep, the oldest are removed first; None for all.
    """

    sync_every: Annotated[int, msgspec.Meta(ge=1)] = 1
    sync_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 1.0
    rotate_mb: Annotated[float, msgspec.Meta(gt=0)] | None = None
    keep: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and self.rotate_mb is None:
            raise ValueError("keep has no effect without rotate_mb; give both, or neither")


class AppendedFile:
    """Takes each piece whole or not at all. Several threads may call it."""

    def __init__(
        self, path: Path, options: FileOptions, *, head: bytes, whole: Callable[[Path], int], header: bool
    ) -> None:
        """Open or create the file; cut off the torn end that a crash left.

        Args:
            path: Path of the file; its folder must exist.
            options: Options of the file.
            head: First bytes of every such file; a file with other ones is not ours and stays as it is.
            whole: Function that returns the number of bytes of a file's whole pieces.
            header: True to write `head` into a new file; else the first piece brings it.

        Raises:
            SinkError: the file cannot be opened, is not ours, or another program writes into it.
        """
        self._path, self._options = path, options
        self._head, self._whole, self._header = head, whole, header
        self._changed = threading.Condition()
        self._fd: int | None = None
        self._size = self._unsynced = 0
        self._identity: tuple[int, int] | None = None
        self._surplus: list[Path] = []
        self._closed = False
        self._failure: OSError | None = None
        check_folder(path)
        self._open()
        self._syncer = threading.Thread(target=self._sync_later, name="partsight-sync", daemon=True)
        if options.sync_every > 1:
            self._syncer.start()

    def append(self, data: bytes) -> None:
        """Write a piece; when this returns, a crash of the program does not lose it.

        Raises:
            SinkError: the disk is full or failed, or the file is closed. Nothing of the piece is in the file.
        """
        with self._changed:
            if self._closed:
                raise SinkGoneError(f"{self._path}: this sink is closed; open it again")
            self._raise_failure()
            fd = self._prepare(len(data))
            waiting = self._unsynced + 1
            try:
                _write_all(fd, data)
                if waiting >= self._options.sync_every:
                    os.fsync(fd)
                    waiting = 0
            except OSError as error:
                self._undo()
                raise SinkError(
                    f"{self._path}: {error}; free or repair the disk: the file holds whole results"
                ) from error
            self._size += len(data)
            self._unsynced = waiting
            self._changed.notify()

    def close(self) -> None:
        """Flush the file to the disk and close it. May be called twice.

        Raises:
            SinkError: the disk failed.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify()
        if self._options.sync_every > 1:
            self._syncer.join()
        self._release()
        self._raise_failure()

    def _prepare(self, coming: int) -> int:
        """Return the file for a piece of `coming` bytes."""
        self._check_unchanged()
        fd = self._open()
        if self._is_full(coming):
            self._rotate()
            self._prune()  # first, since the disk may have no room for a new file
            fd = self._open()
        return fd

    def _check_unchanged(self) -> None:
        """Close a file that another program has changed meanwhile; `_open` then repairs it."""
        if self._fd is None:
            return
        with contextlib.suppress(OSError):  # the disk or the network has lost it
            if file_identity(self._path) == self._identity and os.fstat(self._fd).st_size == self._size:
                return
        self._release()
        text = "%s: another program removed, replaced or changed it; partsight opens it again"
        _log.warning(text, self._path, extra={"event": "file_changed"})

    def _open(self) -> int:
        if self._fd is not None:
            return self._fd
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)  # again: another program removed it meanwhile
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        except OSError as error:
            raise SinkError(f"{self._path}: cannot be opened ({error}); name a file that you may write to") from error
        try:
            lock_file(fd, self._path)
            self._size = self._repair(fd)
        except OSError as error:
            os.close(fd)
            raise SinkError(f"{self._path}: cannot be written ({error}); free or repair the disk") from error
        except SinkError:
            os.close(fd)
            raise
        self._fd, self._identity = fd, file_identity(fd)
        return fd

    def _repair(self, fd: int) -> int:
        """Cut off a torn end, give a new file its header, and return the size."""
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise SinkError(f"{self._path}: is a device or a pipe; expected a file, or jsonl:- for standard output")
        size = facts.st_size
        if size == 0:  # it is new
            flush_folder(self._path.parent)
        with self._path.open("rb") as file:
            start = file.read(len(self._head))
        if not self._head.startswith(start):
            raise SinkError(
                f"{self._path}: begins with {start[:40]!r}, expected {self._head[:40]!r}: it is no file of "
                "this version of the sink and stays as it is; name another file"
            )
        whole = self._whole(self._path)
        if whole < size:
            with self._path.open("rb") as file:
                file.seek(whole)
                torn = file.read(_SHOWN)
            os.ftruncate(fd, whole)
            text, extra = "%s: cut off %d bytes of a torn last result: %r", {"event": "torn_result_cut"}
            _log.warning(text, self._path, size - whole, torn, extra=extra)
        if whole == 0 and self._header:
            _write_all(fd, self._head)
            whole = len(self._head)
        os.fsync(fd)
        return whole

    def _undo(self) -> None:
        """Remove the part of a failed piece, or leave that to the next `_open`."""
        try:
            if self._fd is not None and os.fstat(self._fd).st_size > self._size:  # else another program cut it off
                os.ftruncate(self._fd, self._size)
        except OSError:
            self._release()

    def _is_full(self, coming: int) -> bool:
        limit = self._options.rotate_mb
        if limit is None or self._size <= (len(self._head) if self._header else 0):
            return False
        return self._size + coming > limit * 1e6

    def _rotate(self) -> None:
        try:
            aside = self._find_rotated()
            following = aside[-1][0] + 1 if aside else 1
            target = self._path.with_name(f"{self._path.stem}.{following:06d}{self._path.suffix}")
            self._release()
            self._path.rename(target)
        except OSError as error:
            raise SinkError(f"{self._path}: cannot be set aside ({error}); check the rights of its folder") from error
        self._size = 0
        if self._options.keep is not None:
            self._surplus = [*(path for _, path in aside), target][: -self._options.keep]

    def _prune(self) -> None:
        """Remove files beyond `keep`; after an error the next rotation tries again."""
        surplus, self._surplus = self._surplus, []
        for path in surplus:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                text = "%s: exceeds keep= and cannot be removed (%s); the next rotation tries again"
                _log.warning(text, path, error, extra={"event": "old_file_kept"})

    def _find_rotated(self) -> list[tuple[int, Path]]:
        """Return the renamed files, the oldest first."""
        found = []
        for path in self._path.parent.iterdir():
            start, end = f"{self._path.stem}.", self._path.suffix
            number = path.name.removeprefix(start).removesuffix(end)
            if path.name == f"{start}{number}{end}" and number.isascii() and number.isdigit():
                found.append((int(number), path))
        return sorted(found)

    def _release(self) -> None:
        """Flush the file to the disk and close it; the next piece opens it again."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            os.fsync(fd)
            self._unsynced = 0
        except OSError as error:
            self._failure = error
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _sync_later(self) -> None:
        """Flush fewer results than `sync_every`; the next call raises an error."""
        with self._changed:
            while not self._closed:
                self._changed.wait_for(lambda: self._closed or self._unsynced)
                if self._changed.wait_for(lambda: self._closed, self._options.sync_s):
                    return
                try:
                    if self._fd is not None:
                        os.fsync(self._fd)
                except OSError as error:
                    self._failure = error
                self._unsynced = 0

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise SinkError(
                f"{self._path}: the disk may have lost earlier results ({failure}); repair it and check that the "
                "file is whole"
            ) from failure


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
