"""`jsonl:PATH`: one line of JSON a result; `jsonl:-` on standard output."""

import contextlib
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import Self

from partsight.runtime.core import ProcessBound, SinkError, SinkGoneError
from partsight.runtime.sinks.address import Address, Options
from partsight.runtime.sinks.appending import AppendedFile, FileOptions
from partsight.runtime.sinks.record import FrameEvent
from partsight.runtime.sinks.sink import Sink

_HEAD = b'{"schema_version":'
BLOCK_BYTES = 1 << 16
READER_S = 5.0
_PIPE_PIECE = 512
"""Bytes that a writable pipe takes without blocking: the smallest PIPE_BUF of POSIX."""


class JsonLinesFile(ProcessBound, unusable=SinkGoneError):
    """Appends to a file."""

    def __init__(self, path: str | Path, options: FileOptions | None = None) -> None:
        """Open or create the file, and cut off a torn last line, which is logged.

        Raises:
            SinkError: the file cannot be opened, holds no results, or another sink writes into it.
        """
        self._file = AppendedFile(Path(path), options or FileOptions(), head=_HEAD, whole=_whole_lines, header=False)

    def write(self, event: FrameEvent) -> None:
        """Append a line.

        Raises:
            SinkError: the disk is full or failed; the file holds whole lines, without this one.
        """
        self._file.append(event.record.to_json() + b"\n")

    def close(self) -> None:
        """Flush the file to the disk and close it. May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StandardOutput(ProcessBound, unusable=SinkGoneError):
    """Prints lines; its reader is responsible for keeping them."""

    def __init__(self) -> None:
        """Take standard output.

        Raises:
            SinkError: the program has no standard output.
        """
        try:
            sys.stdout.flush()
            self._fd = os.dup(sys.stdout.fileno())
        except (OSError, ValueError, AttributeError) as error:
            raise SinkError(f"jsonl:-: there is no standard output ({error}); name a file") from error
        self._waits = os.name != "nt" and not stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._rest = memoryview(b"")
        self._closed = False

    def write(self, event: FrameEvent) -> None:
        """Print a line. It waits at most 5 s for a slow reader, on Windows without limit.

        Raises:
            SinkGoneError: the reader has ended.
            SinkError: the reader is too slow. If it took a part of the line, the next call sends the rest first, so
                that lines stay whole. A line that is written again after this error may come twice.
        """
        if self._closed:
            raise SinkGoneError("jsonl:-: this sink is closed; open it again")
        deadline = time.monotonic() + READER_S
        self._send(self._rest, deadline)
        self._send(memoryview(event.record.to_json() + b"\n"), deadline)

    def close(self) -> None:
        """Close it. May be called twice."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, data: memoryview, deadline: float) -> None:
        is_started = data is self._rest
        while data:
            try:
                self._wait(deadline)
                data = data[os.write(self._fd, data[:_PIPE_PIECE] if self._waits else data) :]
                is_started = True
            except BrokenPipeError as error:
                raise SinkGoneError("jsonl:-: the reader of standard output has ended") from error
            except OSError as error:
                raise SinkError(
                    f"jsonl:-: standard output takes nothing ({error}); check that its reader runs"
                ) from error
            finally:
                if is_started:
                    self._rest = data

    def _wait(self, deadline: float) -> None:
        if self._waits and not select.select([], [self._fd], [], max(0.0, deadline - time.monotonic()))[1]:
            raise TimeoutError(f"its reader took nothing for {READER_S:g} s")


OPTIONS = FileOptions


def open_address(address: Address) -> Sink:
    """Open `jsonl:PATH` or `jsonl:-`.

    Raises:
        SinkError: see `JsonLinesFile` and `StandardOutput`; or an option is wrong.
    """
    if address.place == "-":
        address.read_options(Options)
        return StandardOutput()
    options = address.read_options(FileOptions)
    if not address.place:
        raise SinkError("sink jsonl: names no file; expected jsonl:PATH, or jsonl:- for standard output")
    return JsonLinesFile(address.place, options)


def _whole_lines(path: Path) -> int:
    """Return the offset after the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - BLOCK_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
