"""Packages that the line may take: the one that it started with, and those that people made on the page."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from partsight.runtime.core import OutputError, PageError, write_file
from partsight.runtime.line import Line, Load, as_recognizers
from partsight.runtime.package import ModelPackage
from partsight.runtime.page.improve.package_facts import FactsReader, PackageFacts
from partsight.runtime.page.improve.swap_requests import SwapRequests
from partsight.runtime.recognition import Recognizer

SUFFIX = ".partsight"
_FILE = "packages.json"
_MAX_KNOWN = 50


@dataclass(frozen=True)
class ShelfPackage:
    """A package on the shelf.

    Attributes:
        facts: What it is.
        made_by: Account that made it on the page; empty for another package.
        is_active: Whether the line answers with it now.
        is_previous: Whether the line answered with it before that one.
    """

    facts: PackageFacts
    made_by: str
    is_active: bool
    is_previous: bool


@dataclass(frozen=True)
class Swapped:
    """A swap that is done.

    Attributes:
        before, after: Ids of the packages.
    """

    before: str
    after: str


class _Known(msgspec.Struct, frozen=True):
    """A package that the line started with, or that somebody made on the page: both stay on the shelf."""

    path: str
    made_by: str = ""


class PackageShelf:
    """Packages, and the way of one onto the line and back. Thread-safe.

    Attributes:
        folder: Folder of the packages that people make on the page.
        start_path: Path from which the line starts.
        link_fault: Why the last swap could not turn the link at `start_path`; empty if it did, or if there is no link.
        requests: Requests for a swap, which a second person approves.
        swapped: Time at which `swap` let the line take the active package, in seconds since 1970; 0 if it did not.
    """

    def __init__(self, line: Line, package: str | Path, data: Path, load: Load | None) -> None:
        """Take the line.

        Args:
            line: The line.
            package: Path of the package with which it starts.
            data: Data folder of the page; packages that people make lie in `packages` there.
            load: Function that loads a package, see `Line.swap`.

        Raises:
            PageError: the data folder cannot be read or written.
        """
        keys = line.recognizer.trusted_keys
        self.folder, self.start_path = data.resolve() / "packages", Path(package).absolute()
        self.link_fault, self.swapped = "", 0.0
        self.requests = SwapRequests(data)
        self._line = line
        self._load: Load = load or partial(Recognizer, trusted_keys=keys)
        self._reader = FactsReader(partial(ModelPackage.read, trusted_keys=keys))
        self._lock, self._swap_lock = threading.Lock(), threading.Lock()
        self._active, self._previous = line.package_id, ""
        self._file = data / _FILE
        self._known = self._read_known()
        self.add(self.start_path.resolve())

    @property
    def is_link(self) -> bool:
        """Whether the line starts from a link: then a swap turns it, and lasts over a restart."""
        return self.start_path.is_symlink()

    def packages(self) -> tuple[ShelfPackage, ...]:
        """Return all packages, the newest first; a folder without a readable package comes last."""
        with self._lock:
            active = self._line.package_id
            if active != self._active:  # something else has swapped
                self._previous, self._active, self.swapped = self._active, active, 0.0
            makers = {Path(known.path): known.made_by for known in self._known}
            found: dict[str, ShelfPackage] = {}
            for facts in self._reader.facts_of(list(self._paths())):
                key = facts.package_id or str(facts.path)
                package = ShelfPackage(
                    facts, makers.get(facts.path, ""), key == self._active, key == self._previous != self._active
                )
                if key not in found or found[key].facts.problem:
                    found[key] = package
        return tuple(sorted(found.values(), key=lambda package: -package.facts.created))

    def active(self) -> ShelfPackage | None:
        """Return the package that answers now; None if it lies nowhere on the shelf any more."""
        return next((package for package in self.packages() if package.is_active), None)

    def find(self, package_id: str) -> ShelfPackage:
        """Return a package by its id.

        Raises:
            PageError: there is none.
        """
        for package in self.packages():
            if package_id and package.facts.package_id == package_id:
                return package
        raise PageError(
            f"there is no package {package_id[:40]!r} on the shelf; load the page again, and choose another"
        )

    def report(self, package_id: str) -> bytes:
        """Return the newest report in a package, an HTML page.

        Raises:
            PageError: there is no such package, or it has no report.
            PackageError: the report was altered or removed.
        """
        facts = self.find(package_id).facts
        if not facts.report:
            raise PageError(f"package {package_id} has no report; `partsight inspect {facts.path}` shows its history")
        return ModelPackage.examine(facts.path).file_bytes(facts.report)

    def add(self, path: Path, made_by: str = "") -> None:
        """Put a package on the shelf; one that is there stays as it is.

        Raises:
            PageError: the data folder cannot be written.
        """
        with self._lock:
            if any(Path(known.path) == path for known in self._known):
                return
            kept = [known for known in self._known if Path(known.path).exists()]
            self._known = (*kept[1 - _MAX_KNOWN :], _Known(str(path), made_by))
            try:
                write_file(self._file, msgspec.json.encode(self._known))
            except OutputError as error:
                raise PageError(str(error)) from error

    def swap(self, package_id: str) -> Swapped:
        """Let the line answer with a package from now on; return when it does, which takes seconds.

        Raises:
            PageError: there is no such package, it answers already, or another swap is under way.
            PartsightError: the line refuses it, see `Line.swap`; the old one stays.
        """
        if not self._swap_lock.acquire(blocking=False):
            raise PageError("another swap is under way; wait until it is done, then look which package answers")
        try:
            path, before = self.find(package_id).facts.path, self._line.package_id
            if package_id == before:
                raise PageError(f"the line answers with package {package_id} already; choose another one")
            after = self._line.swap(path, partial(self._load_exactly, package_id))
            with self._lock:
                self._previous, self._active, self.swapped = before, after, time.time()
            self.link_fault = self._turn_link(path)
            return Swapped(before, after)
        finally:
            self._swap_lock.release()

    def _load_exactly(self, package_id: str, path: str | Path) -> Sequence[Recognizer]:
        """Load a package that people chose by its id; raises PageError if its folder holds another one meanwhile."""
        recognizers = as_recognizers(self._load(path))
        found = recognizers[0].package_id
        if found != package_id:
            for recognizer in recognizers:
                recognizer.close()
            raise PageError(f"{path}: holds package {found} now, and {package_id} was chosen; load the page again")
        return recognizers

    def _turn_link(self, target: Path) -> str:
        """Let the link at PACKAGE lead to a package, in one step; return why that failed."""
        if not self.is_link:
            return ""
        new = self.start_path.with_name(f".{self.start_path.name}.{os.getpid()}.link")
        try:
            new.unlink(missing_ok=True)
            new.symlink_to(target, target_is_directory=True)
            new.replace(self.start_path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            return str(error)
        return ""

    def _paths(self) -> Iterator[Path]:
        """Yield the folder of each package once."""
        paths = [self.start_path.resolve(), *(Path(known.path) for known in self._known)]
        with contextlib.suppress(OSError):  # nobody has made one yet
            paths += sorted(path for path in self.folder.iterdir() if path.suffix == SUFFIX and path.name[0] != ".")
        yield from dict.fromkeys(path for path in paths if path.exists())

    def _read_known(self) -> tuple[_Known, ...]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=tuple[_Known, ...])
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError) as error:
            raise PageError(f"{self._file}: cannot be read ({error}); remove the file, then start again") from error
