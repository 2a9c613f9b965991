"""The process that runs cases: it may die, hang or swell without harm to the runner."""

import faulthandler
import json
import logging
import mmap
import os
import signal
import struct
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from partsight.runtime.core.errors import PartsightError
from tests.fuzz.surface import Case, WrongError, random_of

STATE = struct.Struct("<qdqqdqqq")
"""Number of the running case, its start (monotonic, s), counts of accepted and refused cases, seconds and number of the
slowest case, count of findings, and the largest growth of the process in bytes."""

STARTING = -1
"""Case number while the surface opens."""

_END_S = 60.0


class State:
    """The child's progress, in a file that child and runner both map."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), STATE.size)

    def read(self) -> tuple[int, float, int, int, float, int, int, int]:
        return STATE.unpack_from(self._map)

    def write(self, *values: float) -> None:
        STATE.pack_into(self._map, 0, *values)


def main(
    surface_name: str, first: int, last: int, state_path: Path, findings_path: Path, output_path: Path, folder: Path
) -> None:
    """Run cases `first` to `last` - 1 of a surface, with stdout and stderr in the file at `output_path`."""
    from tests.fuzz.catalog import find_surface

    with output_path.open("wb") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    warnings.simplefilter("ignore")
    logging.lastResort = None
    state = State(state_path)
    surface = find_surface(surface_name)
    with surface.open(folder) as case, findings_path.open("a", encoding="utf-8") as findings:
        runs = _Runs(surface_name, case, state, findings)
        limit = _limit_memory(surface.memory_mb)
        for number in range(first, last):
            runs.run(number)
        limit.release()
        runs.end()


class _Runs:
    """Runs cases and records them for the runner."""

    def __init__(self, surface: str, case: Case, state: State, findings: Any) -> None:
        self._surface, self._case, self._state, self._findings = surface, case, state, findings
        self._failure: BaseException | None = None  # of another thread
        threading.excepthook = self._on_failure
        sys.unraisablehook = self._on_unraisable
        self._base = _resident_peak()

    def run(self, number: int) -> None:
        _, _, accepted, refused, slowest, slowest_number, found, grown = self._state.read()
        started = time.monotonic()
        self._state.write(number, started, accepted, refused, slowest, slowest_number, found, grown)
        kind, error = self._try(number)
        if error is not None:
            self._record(number, kind, error)
        accepted += kind == "accepted"
        refused += kind == "refused"
        found += error is not None
        took = time.monotonic() - started
        if took > slowest:
            slowest, slowest_number = took, number
        grown = max(grown, _resident_peak() - self._base)
        self._state.write(number, started, accepted, refused, slowest, slowest_number, found, grown)

    def _try(self, number: int) -> tuple[str, BaseException | None]:
        """Run a case; return its outcome, and the error if it is a finding."""
        self._failure = None
        kind = "accepted"
        try:
            self._case(random_of(self._surface, number))
        except PartsightError as error:
            kind = "refused"
            if not str(error):
                return "crash", error
        except MemoryError as error:
            return "memory", error
        except WrongError as error:
            return "wrong", error
        except Exception as error:  # noqa: BLE001 (every other error is a finding)
            return "crash", error
        return ("crash", self._failure) if self._failure is not None else (kind, None)

    def end(self) -> None:
        """Move the start of the last case into the future, so that closing has time."""
        number, _, *rest = self._state.read()
        self._state.write(number, time.monotonic() + _END_S, *rest)

    def _record(self, number: int, kind: str, error: BaseException) -> None:
        lines = traceback.format_exception(error)
        detail = "".join(lines)[-3000:]
        summary = f"{type(error).__name__}: {error}"[:500]
        line = json.dumps({"number": number, "kind": kind, "summary": summary, "detail": detail})
        self._findings.write(line + "\n")
        self._findings.flush()

    def _on_failure(self, args: threading.ExceptHookArgs) -> None:
        self._failure = args.exc_value

    def _on_unraisable(self, args: Any) -> None:
        self._failure = args.exc_value


class _Limit:
    """A limit of the process's memory; it ends before the surface closes."""

    def __init__(self, before: tuple[int, int] | None) -> None:
        self._before = before

    def release(self) -> None:
        if self._before is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, self._before)


def _limit_memory(more_mb: int) -> _Limit:
    """Limit the growth of the process to `more_mb` MB of address space; Windows has no such limit."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return _Limit(None)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_mb * 2**20, before[1]))
    return _Limit(before)


def _resident_peak() -> int:
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
