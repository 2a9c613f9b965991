"""Requests to swap a package, which a second person approves: at most one at a time, kept over a restart."""

import secrets
import threading
import time
from pathlib import Path

import msgspec

from partsight.runtime.core import OutputError, PageError, write_file

_FILE = "swap_request.json"


class SwapRequest(msgspec.Struct, frozen=True):
    """A request to swap a package.

    Attributes:
        number: Name of the request, not guessable, so that nobody approves another one than the one they saw.
        package_id: Package that the line shall take.
        who: Account that asks.
        time: Time of the request, in seconds since 1970.
    """

    number: str
    package_id: str
    who: str
    time: float


class SwapRequests:
    """The open request, in a file of the data folder. Thread-safe."""

    def __init__(self, data: Path) -> None:
        """Take the data folder, and the request that was open before a restart.

        Raises:
            PageError: the file cannot be read.
        """
        self._path = data / _FILE
        self._lock = threading.Lock()
        self._open = self._read()

    @property
    def open(self) -> SwapRequest | None:
        """The open request; None if there is none."""
        return self._open

    def ask(self, package_id: str, who: str) -> SwapRequest:
        """Open a request.

        Raises:
            PageError: another one is open, or the file cannot be written.
        """
        with self._lock:
            if self._open is not None:
                raise PageError(
                    f"{self._open.who} has already asked for package {self._open.package_id}; approve, reject or "
                    "withdraw that request first"
                )
            request = SwapRequest(secrets.token_hex(8), package_id, who, time.time())
            self._write(request)
            return request

    def approve(self, number: str, who: str) -> SwapRequest:
        """Close a request in order to do what it asks for, and return it.

        Raises:
            PageError: it is not open any more, the same account opened it, or the file cannot be written.
        """
        with self._lock:
            request = self._find(number)
            if request.who.casefold() == who.casefold():
                raise PageError(
                    f"{who} asked for package {request.package_id}; another engineer must approve it, with an account "
                    "of their own"
                )
            self._write(None)
            return request

    def close(self, number: str) -> SwapRequest:
        """Close a request without doing what it asks for, and return it.

        Raises:
            PageError: it is not open any more, or the file cannot be written.
        """
        with self._lock:
            request = self._find(number)
            self._write(None)
            return request

    def _find(self, number: str) -> SwapRequest:
        if self._open is None or self._open.number != number:
            raise PageError("this request is not open any more; load the page again to see what became of it")
        return self._open

    def _write(self, request: SwapRequest | None) -> None:
        try:
            write_file(self._path, msgspec.json.encode(request))
        except OutputError as error:
            raise PageError(str(error)) from error
        self._open = request

    def _read(self) -> SwapRequest | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=SwapRequest | None)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise PageError(f"{self._path}: cannot be read ({error}); remove the file, then ask again") from error
