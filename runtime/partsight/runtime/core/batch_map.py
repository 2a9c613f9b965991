"""A map over the batches of a long loop: in this process, or on the machines of an engine."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

Batch = TypeVar("Batch")
Done = TypeVar("Done")


class BatchMap(Protocol):
    """Calls a function with each batch, and yields the results in the order of the batches."""

    def __call__(self, work: Callable[[Batch], Done], batches: Sequence[Batch], /) -> Iterable[Done]:
        """Work on all batches.

        Args:
            work: Function of one batch. For an engine on other machines it pickles, and so do batches and results.
            batches: The batches.
        """


def map_here(work: Callable[[Batch], Done], batches: Sequence[Batch], /) -> Iterable[Done]:
    """Work on one batch after the other in this process; see `BatchMap`."""
    return map(work, batches)
