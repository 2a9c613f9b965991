"""Jobs: commissioning and enrolment in a process of their own, next to the line."""

from pathlib import Path

from partsight.runtime.page.package_shelf import PackageShelf


class Jobs:
    """Runs one job at a time."""

    def __init__(self, packages: PackageShelf, data: Path) -> None:
        """Take the shelf that gets new packages, and the data folder."""

    def close(self) -> None:
        """End a running job. May be called twice."""
