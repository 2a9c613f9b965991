"""Packages that the line may take: the one that it started with, and those that people made on the page."""

from collections.abc import Callable
from pathlib import Path

from partsight.runtime.line import Line
from partsight.runtime.recognition import Recognizer


class PackageShelf:
    """Packages, and the way of one onto the line and back."""

    def __init__(
        self, line: Line, package: str | Path, data: Path, load: Callable[[str | Path], Recognizer] | None
    ) -> None:
        """Take the line.

        Args:
            line: The line.
            package: Path of the package with which it starts.
            data: Data folder of the page; packages that people make lie in `packages` there.
            load: Function that loads a package, see `Line.swap`.
        """
