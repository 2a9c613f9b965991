"""Threads of a pipeline."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from partsight.runtime.core import PartsightError

Value = TypeVar("Value")


class Threads(ThreadPoolExecutor):
    """Threads that raise PartsightError for work that comes after the end of the main thread."""

    def submit(self, work: Callable[..., Value], /, *args: Any, **kwargs: Any) -> Future[Value]:
        """Run a function in a thread.

        Raises:
            PartsightError: The program is ending.
        """
        try:
            return super().submit(work, *args, **kwargs)
        except RuntimeError as error:
            raise PartsightError("the program is ending; recognise before its main thread ends, not after") from error
