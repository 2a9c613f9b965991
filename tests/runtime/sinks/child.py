"""A program of its own with a sink: `python -m tests.runtime.sinks.child ADDRESS kill|full`."""

import sys

import numpy as np

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.sinks.kinds import event


def write_and_wait(address: str) -> None:
    """Write 20 results, say so, and wait for the kill."""
    sink = open_sink(address)
    for sequence in range(20):
        sink.write(event(sequence))
    print("written", flush=True)
    sys.stdin.read()


def fill(address: str, limit: int = 200_000) -> None:
    """Write until no file may grow, print how many results were taken and that the error was SinkError's."""
    import resource

    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)  # larger than any file may be
    sink = open_sink(address)
    sink.write(event(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    taken = 1
    refused = 0
    for sequence in range(1, 3000):
        try:
            sink.write(FrameEvent(event(sequence, error="x" * 3000).record, Frame(noise, "usb:0", sequence, 1.0)))
            taken += 1
        except SinkError:
            refused += 1
            if refused == 3:
                break
    print(taken, refused, flush=True)
    sink.close()


if __name__ == "__main__":
    {"kill": write_and_wait, "full": fill}[sys.argv[2]](sys.argv[1])
