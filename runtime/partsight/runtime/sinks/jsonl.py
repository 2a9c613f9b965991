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
_BLOCK = 1 << 16
_READER_S = 5.0
_PIPE_PIECE = 512
"""Bytes that a pipe which can be written takes without blocking: PIPE_BUF of POSIX at the least."""


class JsonLines(ProcessBound, unusable=SinkGoneError):
    """Appends to a file."""

    def __init__(self, path: str | Path, options: FileOptions | None = None) -> None:
        """Open or create the file; a torn last line is cut off, and the log says so.

        Raises:
            SinkError: it cannot be opened, holds something else, or another sink writes into it.
        """
        self._file = AppendedFile(Path(path), options or FileOptions(), head=_HEAD, whole=_whole_lines, header=False)

    def write(self, event: FrameEvent) -> None:
        """Append a line.

        Raises:
            SinkError: the disk is full or failed; the file holds whole lines, and not this one.
        """
        self._file.append(event.record.to_json() + b"\n")

    def close(self) -> None:
        """Bring everything to the disk. May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StandardOutput(ProcessBound, unusable=SinkGoneError):
    """Prints lines; they are kept if whoever reads them keeps them."""

    def __init__(self) -> None:
        """Take standard output.

        Raises:
            SinkError: there is none.
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
        """Print a line, which waits 5 s at most for a reader that is behind (on Windows, as long as it takes).

        Raises:
            SinkGoneError: the reader has ended.
            SinkError: the reader is too slow. The end of a line that it took a part of is sent before the next
                line, so that lines stay whole: one that is written again after this error may come twice.
        """
        if self._closed:
            raise SinkGoneError("jsonl:-: this sink is closed; open it again")
        deadline = time.monotonic() + _READER_S
        self._send(self._rest, deadline)
        self._send(memoryview(event.record.to_json() + b"\n"), deadline)

    def close(self) -> None:
        """Let go. May be called twice."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, data: memoryview, deadline: float) -> None:
        begun = data is self._rest
        while data:
            try:
                self._wait(deadline)
                data = data[os.write(self._fd, data[:_PIPE_PIECE] if self._waits else data) :]
                begun = True
            except BrokenPipeError as error:
                raise SinkGoneError("jsonl:-: the reader of standard output has ended") from error
            except OSError as error:
                raise SinkError(f"jsonl:-: standard output takes nothing ({error}); is its reader alive?") from error
            finally:
                if begun:
                    self._rest = data

    def _wait(self, deadline: float) -> None:
        if self._waits and not select.select([], [self._fd], [], max(0.0, deadline - time.monotonic()))[1]:
            raise TimeoutError(f"its reader took nothing for {_READER_S:g} s")


def open_address(address: Address) -> Sink:
    """Open `jsonl:PATH` or `jsonl:-`.

    Raises:
        SinkError: see `JsonLines` and `StandardOutput`; or an option is wrong.
    """
    if address.place == "-":
        address.read_options(Options)
        return StandardOutput()
    options = address.read_options(FileOptions)
    if not address.place:
        raise SinkError("sink jsonl: names no file; expected jsonl:PATH, or jsonl:- for standard output")
    return JsonLines(address.place, options)


def _whole_lines(path: Path) -> int:
    """Return where the last whole line ends."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
