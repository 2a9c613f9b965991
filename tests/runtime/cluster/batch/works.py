"""Work for actors in tests: it must be importable in their processes."""

import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from partsight.runtime.core import PackageError


def double(item: int) -> int:
    return 2 * item


def refuse(item: int) -> int:
    if item == 3:
        raise PackageError(f"item {item}: refused")
    return item


def fail(item: int) -> int:
    return 1 // (item - 3)


def hang(item: int) -> int:
    if item == 3:
        threading.Event().wait()
    return item


def cores(item: int) -> tuple[int, frozenset[int], int]:
    """Return this process, its cores, and OpenCV's threads."""
    return os.getpid(), frozenset(os.sched_getaffinity(0)), cv2.getNumThreads()


@dataclass
class OnceKilled:
    """Work during which the actor dies, once in all.

    Attributes:
        mark: File that says that an actor has died.
        at: Item on which it dies.
    """

    mark: Path
    at: int
    _calls: list[int] = field(default_factory=list, init=False)

    def __call__(self, item: int) -> tuple[int, int]:
        if item == self.at and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self._calls.append(item)
        return item, os.getpid()
