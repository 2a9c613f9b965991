"""Processor time and memory of processes, from Linux's /proc, for `page_cost`."""

import contextlib
import os
import threading
from pathlib import Path

_PAGE_THREADS = ("partsight-page", "AnyIO worker thread")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def page_cpu_s() -> float:
    """Return the processor seconds of the threads of the server and of its handlers."""
    ids = [thread.native_id for thread in threading.enumerate() if thread.name.startswith(_PAGE_THREADS)]
    return sum(int(Path(f"/proc/self/task/{each}/schedstat").read_text("ascii").split()[0]) for each in ids) / 1e9


def tree(pids: list[int]) -> list[int]:
    """Return processes and all that they started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    found = list(pids)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_s(pids: list[int]) -> float:
    """Return the processor seconds of processes and of all that they started."""
    ticks = 0
    for pid in tree(pids):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:13]))
    return ticks / _TICKS_PER_S


def peak_mb() -> float:
    """Return the largest resident memory of this process since `forget_peak`, in MB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Let the peak of this process's memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
