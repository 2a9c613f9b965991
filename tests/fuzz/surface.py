"""A surface: one entry point that receives untrusted data."""

import importlib.util
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

Case = Callable[[random.Random], None]
"""Makes one hostile input from random numbers, and passes it to the entry point.

It returns if partsight accepts the input. A PartsightError is a correct refusal. Any other exception is a finding; so
are the end of the process, a case that takes too long and one that takes too much memory.
"""


@dataclass(frozen=True)
class Surface:
    """One entry point for untrusted data.

    Attributes:
        name: Name of the surface.
        open: Context manager that prepares the cases in an empty folder and yields the function that runs one.
        share: Number of its cases in a million.
        seconds: Maximum duration of a case.
        memory_mb: Maximum growth of the process, MB.
        needs: Libraries of extras that the surface needs; the runner skips it without them.
    """

    name: str
    open: Callable[[Path], AbstractContextManager[Case]]
    share: int
    seconds: float = 5.0
    memory_mb: int = 1024
    needs: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether its libraries are installed."""
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


class WrongError(AssertionError):
    """Partsight accepted a wrong input, or changed a right one."""


def check(is_right: bool, message: str) -> None:
    """Raise WrongError unless `is_right`."""
    if not is_right:
        raise WrongError(message)


def random_of(surface: str, number: int) -> random.Random:
    """Return the random numbers of a case, which depend only on surface and number."""
    return random.Random(f"{surface}/{number}")
