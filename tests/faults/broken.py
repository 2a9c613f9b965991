"""Jobs that are broken on purpose, and one that works: a campaign must notice the difference."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from partsight.runtime.core.errors import OutputError
from partsight.runtime.core.storage import write_file
from tests.faults.command import main
from tests.faults.job import Job

_WHOLE = b"0123456789"


def _well(out: Path) -> None:
    (out.parent / "given.txt").read_bytes()
    write_file(out, _WHOLE)


def _in_place(out: Path) -> None:
    _write(out)


def _unflushed(out: Path) -> None:
    partial = out.with_name(".out.partial")
    _write(partial)
    partial.replace(out)


def _never_cleared(out: Path) -> None:
    partial = out.with_name(f".{os.getpid()}.partial")
    _write(partial, is_flushed=True)
    partial.replace(out)


def _stuck(out: Path) -> None:
    """Refuse to run if an earlier run left its temporary file."""
    partial = out.with_name(".out.partial")
    if partial.exists():
        raise FileExistsError(17, "it is being written already", str(partial))
    _write(partial, is_flushed=True)
    partial.replace(out)


def _write(path: Path, *, is_flushed: bool = False) -> None:
    with path.open("wb") as file:
        file.write(_WHOLE)
        if is_flushed:
            file.flush()
            os.fsync(file.fileno())


def _ends_well(work: Callable[[Path], None], out: Path) -> int:
    try:
        work(out)
    except (OSError, OutputError) as error:
        print(f"partsight: error: {error} {out}", file=sys.stderr)
        return 1
    return 0


def _ends_silently(work: Callable[[Path], None], out: Path) -> int:
    _ends_well(work, out)
    return 0


def _ends_unseen(work: Callable[[Path], None], out: Path) -> int:
    work(out)
    return 0


def _check(path: Path) -> None:
    if path.read_bytes() != _WHOLE:
        raise ValueError("half of it")


def _prepare(folder: Path) -> None:
    (folder / "given.txt").write_bytes(_WHOLE)


def _job(
    name: str, work: Callable[[Path], None], ends: Callable[[Callable[[Path], None], Path], int] = _ends_well
) -> Job:
    return Job(name, "out", lambda: None, _prepare, lambda _, out: ends(work, out), _check)


BROKEN = {
    job.name: job
    for job in (
        _job("well", _well),
        _job("in place", _in_place),
        _job("unflushed", _unflushed),
        _job("never cleared", _never_cleared),
        _job("stuck", _stuck),
        _job("silent", _well, _ends_silently),
        _job("raises", _unflushed, _ends_unseen),
    )
}

if __name__ == "__main__":
    sys.exit(main(BROKEN, "tests.faults.broken"))
