"""Standard streams that never raise: the command works even if a stream is closed or full."""

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
    """A standard stream that drops text if it cannot write it, and keeps the first error."""

    def __init__(self, stream: TextIO | None) -> None:
        """Take the stream; None if the process started without it."""
        self._stream = stream
        self.is_missing = stream is None
        self.error: Exception | None = None

    @property
    def is_without_reader(self) -> bool:
        """Whether the reader has ended, as in `partsight inspect ... | head -1`."""
        error = self.error
        # On Windows the error of a closed pipe is "invalid argument".
        is_invalid = os.name == "nt" and isinstance(error, OSError) and error.errno == errno.EINVAL
        return isinstance(error, BrokenPipeError) or is_invalid

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The stream's handling of characters that its encoding lacks."""
        return getattr(self._stream, "errors", None)

    def writable(self) -> bool:
        """Return True: the stream accepts any text."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor of the stream.

        Raises:
            OSError: The stream has no descriptor.
        """
        if self._stream is None:
            raise io.UnsupportedOperation(str(CLOSED))
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        """Write the buffered text, or drop it."""
        self._try("flush")

    def _try(self, method: str, *arguments: str) -> None:
        try:
            if self._stream is not None:
                getattr(self._stream, method)(*arguments)
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.error = self.error or error


@contextmanager
def usable_streams() -> Iterator[LossyStream]:
    """Give the process three standard streams that never raise, until the end of the block; yield stdout.

    A missing descriptor is opened on the null device. Otherwise the next open file would get its number, and
    output of libraries would go into that file.
    """
    _open_missing()
    before = sys.stdin, sys.stdout, sys.stderr
    # stdout carries any label and path, whatever the system's code page: a JSON line stays JSON. A lone surrogate (an
    # undecodable byte of a file name) gets an escape that is valid in JSON too.
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
    """Check that the command can print its result.

    Raises:
        OutputError: Standard output is closed.
    """
    if isinstance(sys.stdout, LossyStream) and sys.stdout.is_missing:
        from partsight.runtime.core import OutputError

        raise OutputError(
            "standard output is closed, so the result cannot be printed; redirect it to a file: `... > FILE`"
        )


def _open_missing() -> None:
    for number in range(3):
        with contextlib.suppress(OSError):  # without a null device, as in a bare chroot, the streams stay as they are
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
        with contextlib.suppress(OSError, ValueError):  # reconfigure flushes first, which may fail
            stream.reconfigure(**how)


def _discard_rest(stream: LossyStream) -> None:
    """Send the buffered text to the null device. Otherwise Python reports an error at its end."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), stream.fileno())
