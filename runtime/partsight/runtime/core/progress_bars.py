"""How far long work is: a bar where stderr is a terminal, elsewhere one line a minute."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

from tqdm import tqdm

T = TypeVar("T")

LINE_S = 60.0
"""Between two lines, and before the first: work that is done sooner says nothing."""

_log = logging.getLogger(__name__)


class Bar(Protocol):
    """What shows progress: tqdm's bar, or lines.

    Attributes:
        n: how much is done.
    """

    n: float

    def update(self, n: float = 1) -> Any:
        """Add to what is done."""

    def set_description_str(self, desc: str, refresh: bool = True) -> None:
        """Name the work that is done now."""

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:
        """Name the item that is worked at."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Pace:
    """Says when a line is due; one for all work of a process, as a training has many short stages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with the clock, which counts seconds."""
        self.clock = clock
        self._said_s = self._seen_s = clock()

    def start(self) -> None:
        """Note that work begins; after a pause the first line comes a whole minute later."""
        if self.clock() - self._seen_s >= LINE_S:
            self._said_s = self.clock()
        self._seen_s = self.clock()

    def is_due(self) -> bool:
        """Return whether a line is due; then the next one is due a minute later."""
        self._seen_s = self.clock()
        if self._seen_s - self._said_s < LINE_S:
            return False
        self._said_s = self._seen_s
        return True


_PACE = Pace()


class ProgressLines:
    """Stands in for a bar: logs `progress`, or prints to stderr where the program has no log."""

    def __init__(self, total: float | None, what: str, unit: str, pace: Pace = _PACE) -> None:
        """Take what a bar takes; the total is None where nobody knows it."""
        self.n: float = 0
        self._total, self._what, self._unit = total, what.strip(), unit
        self._postfix = ""
        self._pace = pace
        self._started_s = pace.clock()
        pace.start()

    def update(self, n: float = 1) -> None:
        """Add to what is done."""
        self.n += n
        if self._pace.is_due():
            self._say()

    def set_description_str(self, desc: str, refresh: bool = True) -> None:  # noqa: ARG002 (as tqdm has it)
        """Name the work that is done now."""
        self._what = desc.strip()

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:  # noqa: ARG002 (as tqdm has it)
        """Name the item that is worked at."""
        self._postfix = f" ({s})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Say nothing: the next work, or the result, does."""

    def _say(self) -> None:
        rate = self.n / max(self._pace.clock() - self._started_s, 1e-9)
        share = self.n / self._total if self._total else None
        left_s = (self._total - self.n) / rate if self._total and rate else None
        facts = {"work": self._what, "done": self.n, "total": self._total, "share": share}
        facts |= {"per_s": rate, "left_s": left_s}
        parts = [] if share is None else [f"{100 * share:.0f} %"]
        parts += [_amount(self.n, self._total, self._unit)]
        parts += [] if self._unit == "s" or not rate else [_rate(rate)]
        parts += [] if left_s is None else [f"{_duration(left_s)} left"]
        _emit(f"{self._what}{self._postfix}: {', '.join(parts)}", facts)


def progress(items: Iterable[T], total: int | None, what: str, unit: str, pace: Pace = _PACE) -> Iterator[T]:
    """Yield the items and show how far they are.

    Args:
        items: the work.
        total: their number; None where nobody knows it.
        what: the work's name.
        unit: the name of one item; `×32` for a batch of 32.
        pace: says when a line is due.
    """
    with progress_bar(total, f"{what:<28}", unit, pace) as bar:
        for item in items:
            yield item
            bar.update()


def progress_bar(
    total: float | None, what: str, unit: str, pace: Pace = _PACE, *, bar_format: str | None = None
) -> Bar:
    """Return what shows how far work is that has no items, to be used as a context manager.

    Args:
        total: amount of the work, in units; None where nobody knows it.
        what: the work's name.
        unit: see `progress`; `s` for work that takes so many seconds.
        pace: says when a line is due.
        bar_format: tqdm's, for a bar.
    """
    if not _is_terminal():
        return ProgressLines(total, what, unit, pace)
    bar: Bar = tqdm(total=total, desc=what, unit=unit, dynamic_ncols=True, bar_format=bar_format)
    return bar


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it is closed
        return False


def _emit(text: str, facts: dict[str, object]) -> None:
    if _log.hasHandlers():
        _log.info("%s", text, extra={"event": "progress", **facts})
    elif sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # nobody may see it, but the work goes on
            sys.stderr.write(f"partsight: {text}\n")
            sys.stderr.flush()


def _amount(done: float, total: float | None, unit: str) -> str:
    if unit.startswith("×"):
        names = f"batches of {unit[1:]}"
    else:
        names = unit if unit == "s" else f"{unit}{'es' if unit.endswith(('s', 'ch')) else 's'}"
    return f"{done:,.0f} {names}" if total is None else f"{done:,.0f} of {total:,.0f} {names}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.2g}/min"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
