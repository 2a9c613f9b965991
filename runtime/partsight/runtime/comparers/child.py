"""The process of a comparer: golden images and frames in on standard input, what the comparison says out on standard
output, until standard input ends."""

import contextlib
import os
import signal
from typing import BinaryIO

import cv2
import numpy as np

from partsight.runtime.comparers.messages import Compared, Frame, Golden, Ready, Refused, Setup, receive_told, send
from partsight.runtime.errors import PackageError
from partsight.runtime.images import Pixels
from partsight.runtime.outlines import Outlines
from partsight.runtime.references import References, decode_reference
from partsight.runtime.verification import verify


def main() -> None:
    """Serve the process that started this one."""
    # Whoever ends a line, by Ctrl-C or by its service, ends all of its processes. This one still has frames to compare,
    # and ends with its input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    told, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    cv2.setNumThreads(1)  # each comparer has a core of its own
    serve(told, replies)


def serve(told: BinaryIO, replies: BinaryIO) -> None:
    """Answer messages until they end.

    Args:
        told: a `Setup`, then `Golden` and `Frame` as they come.
        replies: where answers to the setup and to frames go.
    """
    setup = receive_told(told)
    if not isinstance(setup, Setup):
        return
    goldens: dict[int, bytes] = {}
    references = _references(setup, goldens)
    send(Ready(), replies)
    while (message := receive_told(told)) is not None:
        if isinstance(message, Golden):
            goldens[message.index] = message.data
            with contextlib.suppress(PackageError):  # a frame that needs it gets to know
                references.levels([message.index])  # now, while no frame waits
        elif isinstance(message, Frame):
            send(_compare(message, references, setup), replies)


def _references(setup: Setup, goldens: dict[int, bytes]) -> References:
    def load(index: int) -> Pixels:
        data = goldens.get(index)
        if data is None:
            raise PackageError(f"the golden image of class {index} is not here")
        return decode_reference(data, f"class {index}")

    size_hw, outlines = setup.spec.size_hw, None
    if setup.outlines is not None:
        outlines = Outlines.from_bytes(setup.outlines, setup.classes, size_hw, "outlines")
    return References(load, size_hw, outlines)


def _compare(message: Frame, references: References, setup: Setup) -> Compared | Refused:
    pixels = np.frombuffer(message.pixels, np.uint8).reshape(*setup.spec.size_hw, 3)
    score = np.frombuffer(message.score, np.float32)
    try:
        return Compared(verify(pixels, score, references, setup.spec, message.threshold))
    except PackageError as error:
        return Refused(str(error))
