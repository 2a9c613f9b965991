"""Core group: the cores of one actor, so that the actors of a machine do not take each other's.

Ray counts cores but binds no process to them: the threads of one actor would run on all cores of the machine.
"""

import os
import socket
from dataclasses import dataclass

import cv2


@dataclass(frozen=True)
class CoreGroup:
    """The cores that this process has for itself.

    Attributes:
        cores: Numbers of the cores; empty if the machine has no free group, and the process uses all cores.
        claim: Name in the kernel that no other process can have; it is free again when this process ends.
    """

    cores: tuple[int, ...] = ()
    claim: socket.socket | None = None


def take_cores(count: int) -> CoreGroup:
    """Bind this process, with the threads that it starts later, to a group of cores that no other actor has.

    Args:
        count: Number of cores, and of OpenCV's threads.
    """
    cv2.setNumThreads(count)
    if not hasattr(os, "sched_setaffinity"):
        return CoreGroup()
    usable = sorted(os.sched_getaffinity(0))
    for start in range(0, len(usable) - count + 1, count):
        claim = _claim(f"partsight-cores-{count}-{usable[start]}")
        if claim is not None:
            cores = tuple(usable[start : start + count])
            os.sched_setaffinity(0, cores)
            return CoreGroup(cores, claim)
    return CoreGroup()


def _claim(name: str) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0{name}")
    except OSError:
        claim.close()
        return None
    return claim
