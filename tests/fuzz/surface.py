"""A surface: one border over which data comes that nobody vouches for."""

import importlib.util
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

Case = Callable[[random.Random], None]
"""Makes one hostile input from the numbers that it is given, and hands it over the border.

It returns if the input was taken for good. A PartsightError is a refusal, as it should be. Anything else that is raised
is a finding; so are the end of the process, a case that takes too long and one that takes too much memory.
"""


@dataclass(frozen=True)
class Surface:
    """One border.

    Attributes:
        name: of it.
        open: makes what its cases need, in a folder of its own, and gives the function that runs one.
        share: how many of a million cases are its own.
        seconds: that a case may take.
        memory_mb: that the process may grow by.
        needs: libraries of extras, without which it is passed over.
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
    """Something was taken for good and should not have been, or came out different."""


def check(is_right: bool, what: str) -> None:
    """Raise WrongError unless `is_right`."""
    if not is_right:
        raise WrongError(what)


def random_of(surface: str, number: int) -> random.Random:
    """Return the numbers of a case: always the same for the same surface and number."""
    return random.Random(f"{surface}/{number}")
