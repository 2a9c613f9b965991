"""Standard streams: where one is closed, full or gone, the command does its work all the same."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

CLOSED = OSError(errno.EBADF, "it is closed")


class LossyStream(io.TextIOBase):
    """A standard stream that drops text which it cannot write, and keeps the first error."""

    def __init__(self, stream: TextIO | None) -> None:
        """Take the stream; None for one that the process was started without."""
        self._stream = stream
        self.is_missing = stream is None
        self.error: Exception | None = None

    @property
    def is_without_reader(self) -> bool:
        """Whether the first error was that nobody reads any more, as in `partsight inspect ... | head -1`."""
        error = self.error
        # Windows calls a closed pipe an invalid argument.
        is_invalid = os.name == "nt" and isinstance(error, OSError) and error.errno == errno.EINVAL
        return isinstance(error, BrokenPipeError) or is_invalid

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What the stream does with a character that its encoding lacks."""
        return getattr(self._stream, "errors", None)

    def writable(self) -> bool:
        """Return True: it takes any text."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor.

        Raises:
            OSError: it has none.
        """
        if self._stream is None:
            raise io.UnsupportedOperation(str(CLOSED))
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        """Write what the stream holds back, or leave it."""
        self._try("flush")

    def _try(self, method: str, *arguments: str) -> None:
        try:
            if self._stream is not None:
                getattr(self._stream, method)(*arguments)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed meanwhile
            self.error = self.error or error


@contextmanager
def usable_streams() -> Iterator[LossyStream]:
    """Give the process three standard streams that never raise, until the end of the block; yield stdout.

    A missing descriptor is opened on the null device and stays so: else the next file that anything opens would get
    its number, and what libraries print would be written into that file.
    """
    _open_missing()
    before = sys.stdin, sys.stdout, sys.stderr
    # stdout carries any label and path, whatever the system's code page: a JSON line stays JSON. The escape of a half
    # character (an undecodable byte of a file's name) is also JSON's.
    _reconfigure(sys.stdout, encoding="utf-8", errors="backslashreplace")
    _reconfigure(sys.stderr, errors="backslashreplace")
    streams = LossyStream(sys.stdout), LossyStream(sys.stderr)
    sys.stdout, sys.stderr = (cast("TextIO", stream) for stream in streams)
    sys.stdin = sys.stdin or io.StringIO()
    try:
        yield streams[0]
    finally:
        for stream in streams:
            stream.flush()
            if stream.error is not None and not stream.is_missing:
                _discard_rest(stream)
        sys.stdin, sys.stdout, sys.stderr = before


def require_stdout() -> None:
    """Check that the command's result can be printed.

    Raises:
        OutputError: standard output is closed.
    """
    if isinstance(sys.stdout, LossyStream) and sys.stdout.is_missing:
        from partsight.runtime.core import OutputError

        raise OutputError("standard output is closed, so nothing can be printed; send it to a file: `... > FILE`")


def _open_missing() -> None:
    for number in range(3):
        with contextlib.suppress(OSError):  # no null device in a bare chroot: the streams stay as they are
            if not _is_open(number):
                opened = os.open(os.devnull, os.O_RDWR)
                if opened == number:
                    os.set_inheritable(number, True)
                else:
                    os.dup2(opened, number)
                    os.close(opened)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _reconfigure(stream: TextIO | None, **how: Any) -> None:
    if isinstance(stream, io.TextIOWrapper):
        with contextlib.suppress(OSError, ValueError):  # it is flushed first
            stream.reconfigure(**how)


def _discard_rest(stream: LossyStream) -> None:
    """Send what the stream still holds nowhere, or Python would complain about it when it ends."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), stream.fileno())
