"""Facts of a package on disk: what it is, what it came from, and whether the line may take it."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from partsight.runtime.core import MANIFEST_NAME, SIGNATURE_NAME, PartsightError, SignatureError
from partsight.runtime.package import ModelPackage, Provenance

REPORTS = ("commissioning.html", "report.html")
"""Reports that a package may hold, the newest first."""

PackageKind = Literal["trained", "commissioned", "enrolled"]

Read = Callable[[Path], ModelPackage]
"""Reads a package to use it: with the signatures that the line demands."""


@dataclass(frozen=True)
class PackageFacts:
    """Facts of a package.

    Attributes:
        path: Its folder.
        package_id: Its id; empty if the folder holds no readable package.
        created: Time at which it was made, in seconds since 1970; 0 if unknown.
        kind: How it was made.
        origin: Id of the package that it was made from; empty for a trained one.
        parts: Number of its parts.
        fitted: Time of its last commissioning, in seconds since 1970; 0 if it was never commissioned.
        report: Name of its newest report; empty if it has none.
        size: Bytes of its files.
        problem: Why the line cannot take it, and what to do; empty if nothing is known to be wrong.
        is_unsigned: Whether a signature is what it lacks.
    """

    path: Path
    package_id: str = ""
    created: float = 0.0
    kind: PackageKind = "trained"
    origin: str = ""
    parts: int = 0
    fitted: float = 0.0
    report: str = ""
    size: int = 0
    problem: str = ""
    is_unsigned: bool = False


class FactsReader:
    """Reads facts of packages, and again when a package's manifest or signature has changed. Not thread-safe."""

    def __init__(self, read: Read) -> None:
        """Take the function that reads a package to use it."""
        self._read = read
        self._known: dict[Path, tuple[object, PackageFacts]] = {}

    def facts_of(self, paths: list[Path]) -> list[PackageFacts]:
        """Return the facts of some packages; forget all others."""
        states = {path: _state_of(path) for path in paths}
        known = {path: self._known.get(path) for path in paths}
        self._known = {
            path: found if found and found[0] == states[path] else (states[path], read_facts(path, self._read))
            for path, found in known.items()
        }
        return [self._known[path][1] for path in paths]


def read_facts(path: Path, read: Read) -> PackageFacts:
    """Return the facts of a package; whatever is wrong with it stands in `problem`."""
    problem, is_unsigned = "", False
    try:
        package = read(path)
    except PartsightError as error:
        problem, is_unsigned = str(error), isinstance(error, SignatureError)
        try:
            package = ModelPackage.examine(path)
        except PartsightError:
            return PackageFacts(path, problem=problem, is_unsigned=is_unsigned)
    manifest = package.manifest
    created, kind, origin = _origin(manifest.provenance)
    return PackageFacts(
        path,
        package.package_id,
        created,
        kind,
        origin,
        parts=len(manifest.labels),
        fitted=max((_seconds(change.created) for change in manifest.provenance.commissionings), default=0.0),
        report=next((name for name in REPORTS if name in manifest.files), ""),
        size=_size(path),
        problem=problem,
        is_unsigned=is_unsigned,
    )


def _origin(provenance: Provenance) -> tuple[float, PackageKind, str]:
    """Return time, kind and origin of the last change, or of the training."""
    changes: list[tuple[float, PackageKind, str]] = [(_seconds(provenance.created), "trained", "")]
    changes += [(_seconds(change.created), "enrolled", change.from_package) for change in provenance.enrolments]
    changes += [(_seconds(change.created), "commissioned", change.from_package) for change in provenance.commissionings]
    return max(changes[1:] or changes, key=lambda change: change[0])


def _seconds(created: str) -> float:
    try:
        found = datetime.fromisoformat(created)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):  # of another program
        return 0.0


def _state_of(path: Path) -> object:
    """Return size and time of change of the files that decide whether the line takes a package."""
    states = []
    for name in (MANIFEST_NAME, SIGNATURE_NAME):
        with contextlib.suppress(OSError):
            found = (path / name).stat()
            states.append((name, found.st_ino, found.st_size, found.st_mtime_ns))
    return states


def _size(folder: Path) -> int:
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(inside, name).lstat().st_size
    return total
