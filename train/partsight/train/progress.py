"""One look for every progress bar: rate and time left, on stderr, only where somebody watches."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    """Yield the items and show how far they are."""
    yield from tqdm(items, total=total, desc=f"{what:<28}", unit=unit, disable=None, dynamic_ncols=True)
