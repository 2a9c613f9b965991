"""A comparer as the recogniser sees it."""

import json
import os
import subprocess
import sys
import threading
import time
from typing import BinaryIO, cast

import msgspec
import numpy as np

from partsight.runtime.comparers.messages import (
    Compared,
    Frame,
    Golden,
    Ready,
    Refused,
    Reply,
    Setup,
    receive_reply,
    send,
)
from partsight.runtime.errors import ComparerError
from partsight.runtime.images import Pixels
from partsight.runtime.session import FloatArray
from partsight.runtime.verification import Verified

_START_S = 60.0
_END_S = 5.0
# It looks for partsight where this process found it, as this one's `sys.path` may have been changed by hand.
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from partsight.runtime.comparers.child import main
main()
"""


class Comparer:
    """A process that compares frames with golden images, one at a time. Not thread-safe.

    Attributes:
        takes_frames: whether it has the golden images; who gives them sets it.
    """

    def __init__(self, setup: Setup) -> None:
        """Start it; `wait_ready` waits until it works.

        Raises:
            ComparerError: the system starts no such process, or Python does not know its own interpreter.
        """
        if not sys.executable:
            raise ComparerError(
                _told(f"Python knows no interpreter (sys.executable is {sys.executable!r}), as within another program")
            )
        # Imports pass over what else stands there, such as objects of pathlib.
        path = [entry for entry in sys.path if isinstance(entry, str)]
        command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(path)]
        # A second thread for its products would take the core of another comparer.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise ComparerError(_told(f"{sys.executable!r} cannot be started ({error})")) from error
        self.takes_frames = False
        self._setup = setup
        self._busy_since: float | None = None

    @property
    def busy_s(self) -> float:
        """For how long it has been at a frame or golden image, in seconds; 0 if at none. May be asked by any thread."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended. May be asked by any thread."""
        return self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Of the process, as the system knows it."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Wait until it has started.

        Raises:
            ComparerError: it ended instead, or took a minute.
        """
        watch = threading.Timer(_START_S, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            self._send(self._setup)
            reply = self._receive()
        except ComparerError as error:
            raise ComparerError(_told("it ended at its start, and said why on standard error")) from error
        finally:
            watch.cancel()
        if not isinstance(reply, Ready):
            raise ComparerError(_told(f"its first answer was {type(reply).__name__}"))

    def give(self, index: int, data: bytes) -> None:
        """Give it the golden image of a class, of `encode_reference`.

        Raises:
            ComparerError: it is gone.
        """
        self._busy_since = time.monotonic()
        self._send(Golden(index, data))
        self._busy_since = None

    def compare(self, pixels: Pixels, score: FloatArray, threshold: float) -> Verified | None:
        """Compare a frame; see `verification.verify`.

        Returns:
            None if it lacks a golden image for that.

        Raises:
            ComparerError: it is gone.
        """
        self._busy_since = time.monotonic()
        self._send(Frame(pixels.tobytes(), np.asarray(score, np.float32).tobytes(), threshold))
        reply = self._receive()
        self._busy_since = None
        if isinstance(reply, Refused):
            return None
        if not isinstance(reply, Compared):
            raise ComparerError(f"received {type(reply).__name__}; expected what it says of the frame")
        return reply.verified

    def kill(self) -> None:
        """End it at once; whoever waits for its answer gets a ComparerError. May be called by any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it, and wait until it has ended."""
        for stream in (self._input, self._output):
            try:
                stream.close()
            except OSError:  # what was not sent is of no use any more
                continue
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _input(self) -> BinaryIO:
        return cast(BinaryIO, self._process.stdin)

    @property
    def _output(self) -> BinaryIO:
        return cast(BinaryIO, self._process.stdout)

    def _send(self, message: Setup | Golden | Frame) -> None:
        try:
            send(message, self._input)
        except (OSError, ValueError) as error:
            raise ComparerError(f"it takes nothing any more ({error})") from error

    def _receive(self) -> Reply:
        try:
            reply = receive_reply(self._output)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ComparerError(f"its answer cannot be read ({error})") from error
        if reply is None:
            raise ComparerError("it has ended")
        return reply


def _told(reason: str) -> str:
    return (
        f"a process that compares frames does not start: {reason}; expected a Python interpreter that can import "
        "partsight, and memory for it: use fewer comparers, or none"
    )
