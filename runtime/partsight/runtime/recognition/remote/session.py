"""The remote session: one model on a server, as `Session` is one on this machine."""

import contextlib
import math
import random
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from partsight.runtime.core import Pixels, ProviderError, RemoteError, import_extra
from partsight.runtime.inference import Provider
from partsight.runtime.recognition.remote.address import RemoteAddress
from partsight.runtime.recognition.remote.connection import Connection, LostError, ModelFacts, Request
from partsight.runtime.recognition.remote.credentials import read_token, tls_context, warn_of_exposure
from partsight.runtime.recognition.remote.grpc_connection import GrpcConnection
from partsight.runtime.recognition.remote.http_connection import HttpConnection
from partsight.runtime.recognition.remote.watch import ServerWatch

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0

Tensors = Mapping[str, np.ndarray]
Value = TypeVar("Value")


class RemoteSession:
    """One model on a server. Thread-safe: each call has a connection of its own while it runs.

    An attempt that fails takes its connection along, so that nothing of it can arrive later.

    Attributes:
        address: Address of the model.
        provider: Provider with the name that the caller gave.
        reason: Why the network runs there, in words.
        watch: Whether the server answers.
    """

    def __init__(self, address: RemoteAddress) -> None:
        """Read the credentials; the first request connects.

        Raises:
            ProviderError: A file of the credentials cannot be used.
            DependencyError: tritonclient is not installed.
        """
        self.address = address
        self.provider = Provider(address.text, "tritonclient", "pip install 'partsight[triton]'", ("fp32",))
        self.reason = "named by the caller"
        self.watch = ServerWatch(str(address))
        import_extra(f"tritonclient.{address.options.protocol}", "triton")
        self._context = tls_context(address)
        read_token(address)
        warn_of_exposure(address)
        self._retries_end_at = math.inf
        self._idle: deque[Connection] = deque()  # append and pop are atomic: threads share it without a lock
        # When the last call that holds the session has ended. Not at exit: a forked copy must leave them alone.
        weakref.finalize(self, _close, self._idle).atexit = False

    def describe(self) -> ModelFacts:
        """Wait until the server is ready, and return the model's metadata.

        Raises:
            RemoteError: The server is away, or does not have the model.
        """
        ends_at = self.end_of_call()
        self._call(lambda connection, limit_s: connection.check_ready(limit_s), ends_at)
        return self._call(lambda connection, limit_s: connection.describe(self.address.version, limit_s), ends_at)

    def infer(
        self, version: str, batch: Pixels, outputs: Sequence[str], read: Callable[[Tensors], Value], ends_at: float
    ) -> Value:
        """Ask the model about a batch, and return what `read` makes of the outputs.

        Args:
            version: Version of the model; empty for the server's choice.
            batch: Prepared frames, (n, height, width, 3) uint8 BGR.
            outputs: Names of the outputs; an answer without one of them is refused.
            read: Function that checks the outputs and reads them; it may raise RemoteError.
            ends_at: End of the last attempt, by `time.monotonic`.

        Raises:
            RemoteError: The server is away or too slow, refuses the request, or answers another one.
        """

        def ask(connection: Connection, limit_s: float) -> Value:
            request = Request(uuid.uuid4().hex, version, batch, outputs)
            response = connection.infer(request, limit_s)
            if response.id != request.id:
                raise RemoteError(
                    f"{self.address}: answered request {response.id!r}; expected {request.id!r}: the server, or a "
                    "gateway before it, must return the id of each request"
                )
            missing = [name for name in outputs if response.tensors.get(name) is None]
            if missing:
                raise RemoteError(f"{self.address}: its answer lacks {', '.join(missing)}; serve a partsight model")
            return read(response.tensors)

        return self._call(ask, ends_at)

    def end_soon(self) -> None:
        """Repeat attempts for at most `timeout_s` more, all calls together; later, each call has one attempt."""
        self._retries_end_at = min(self._retries_end_at, self.end_of_call())

    def end_of_call(self) -> float:
        """Return the time at which a call that starts now must have its answer, by `time.monotonic`."""
        return time.monotonic() + self.address.options.timeout_s

    def _call(self, ask: Callable[[Connection, float], Value], ends_at: float) -> Value:
        """Ask until there is an answer or the time is up; each attempt is another request."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                value = self._attempt(ask, min(self.address.attempt_s, max(0.001, ends_at - time.monotonic())))
            except LostError as error:
                self.watch.note_failure(str(error))
                # Lines that lost the same server must not all come back at the same moment.
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S) * random.uniform(0.5, 1)
                if time.monotonic() + pause_s >= min(ends_at, self._retries_end_at):
                    limit_s = self.address.options.timeout_s
                    raise RemoteError(
                        f"{self.address}: {error}; no answer within timeout_s={limit_s:g}: check that the server runs "
                        "and that this machine reaches it"
                    ) from error
            except RemoteError as error:
                self.watch.note_failure(str(error))
                raise
            else:
                self.watch.note_answer()
                return value
            time.sleep(pause_s)
            self.watch.note_retry()

    def _attempt(self, ask: Callable[[Connection, float], Value], limit_s: float) -> Value:
        connection = self._take()
        try:
            value = ask(connection, limit_s)
        except BaseException:
            connection.close()
            _close(self._idle)  # they may be dead, too
            raise
        self._idle.append(connection)
        return value

    def _take(self) -> Connection:
        """Return an idle connection, or a new one if there is none with the token of this moment."""
        try:
            token = read_token(self.address)
            with contextlib.suppress(IndexError):
                while (connection := self._idle.pop()).token != token:
                    connection.close()
                return connection
            if self.address.options.protocol == "grpc":
                return GrpcConnection(self.address, token)
            return HttpConnection(self.address, self._context, token)
        except (ProviderError, OSError) as error:  # another program may be writing the file at this moment
            raise LostError(str(error).removeprefix(f"provider {self.address}: ")) from error


def _close(connections: deque[Connection]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            connections.pop().close()
