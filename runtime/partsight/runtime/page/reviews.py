"""Frames that the line kept, and what people say of them."""

from pathlib import Path


class Reviews:
    """The folder of the line's sink `images:`."""

    def __init__(self, folder: str | Path) -> None:
        """Take the folder, which the sink makes."""
