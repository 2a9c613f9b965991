"""Progress of long work: a bar if stderr is a terminal, else one line a minute."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self, TypeVar

from tqdm import tqdm

T = TypeVar("T")

LINE_S = 60.0
"""Seconds between two lines, and before the first one: shorter work prints no line."""

_log = logging.getLogger(__name__)


class Bar(Protocol):
    """Display of progress: tqdm's bar, or lines.

    Attributes:
        n: Amount of work done, in units.
    """

    n: float

    def update(self, n: float = 1) -> Any:
        """Add to the work done."""

    def set_description_str(self, desc: str, refresh: bool = True) -> None:
        """Name the present work."""

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:
        """Name the present item."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class LineTimer:
    """Decides when a line is due: one timer for all work of a process, since a training has many short stages.

    Attributes:
        every_s: Seconds between two lines; None for a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start.

        Args:
            clock: Function that returns the time in seconds, monotonic.
        """
        self.clock = clock
        self.every_s: float | None = None
        self._printed_s = self._asked_s = clock()

    def start(self) -> None:
        """Start the minute again if the process did no such work for a minute: the first line comes a minute later."""
        if self.clock() - self._asked_s >= LINE_S:
            self._printed_s = self.clock()
        self._asked_s = self.clock()

    def is_due(self) -> bool:
        """Return whether a line is due; then the next one is due a minute later."""
        self._asked_s = self.clock()
        if self._asked_s - self._printed_s < (LINE_S if self.every_s is None else self.every_s):
            return False
        self._printed_s = self._asked_s
        return True


_TIMER = LineTimer()


def log_progress_every(seconds: float) -> None:
    """Log progress at another interval than a minute: for a process whose log another program shows to a person."""
    _TIMER.every_s = seconds


class ProgressLines:
    """Lines in place of a bar: the event `progress` in the log, or text on stderr if the program has no log."""

    def __init__(self, total: float | None, work: str, unit: str, timer: LineTimer = _TIMER) -> None:
        """Start the work; see `progress_bar`."""
        self.n: float = 0
        self._total, self._work, self._unit = total, work.strip(), unit
        self._postfix = ""
        self._timer = timer
        self._started_s = timer.clock()
        timer.start()

    def update(self, n: float = 1) -> None:
        """Add to the work done."""
        self.n += n
        if self._timer.is_due():
            self._print()

    def set_description_str(self, desc: str, refresh: bool = True) -> None:  # noqa: ARG002 (tqdm's signature)
        """Name the present work."""
        self._work = desc.strip()

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:  # noqa: ARG002 (tqdm's signature)
        """Name the present item."""
        self._postfix = f" ({s})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Print nothing: the result, or the next work, shows that this work is done."""

    def _print(self) -> None:
        rate = self.n / max(self._timer.clock() - self._started_s, 1e-9)
        share = self.n / self._total if self._total else None
        left_s = (self._total - self.n) / rate if self._total and rate else None
        facts = {"work": self._work, "done": self.n, "total": self._total, "share": share}
        facts |= {"per_s": rate, "left_s": left_s}
        parts = [] if share is None else [f"{100 * share:.0f} %"]
        parts += [_amount(self.n, self._total, self._unit)]
        parts += [] if self._unit == "s" or not rate else [_rate(rate)]
        parts += [] if left_s is None else [f"{_duration(left_s)} left"]
        _emit(f"{self._work}{self._postfix}: {', '.join(parts)}", facts)


def progress(items: Iterable[T], total: int | None, work: str, unit: str, timer: LineTimer = _TIMER) -> Iterator[T]:
    """Yield items and show the progress.

    Args:
        items: Items of the work.
        total: Number of items; None if unknown.
        work: Name of the work.
        unit: Name of one item; `×32` for a batch of 32.
        timer: Timer of the lines.
    """
    with progress_bar(total, f"{work:<28}", unit, timer) as bar:
        for item in items:
            yield item
            bar.update()


def progress_bar(
    total: float | None, work: str, unit: str, timer: LineTimer = _TIMER, *, bar_format: str | None = None
) -> Bar:
    """Return the display of work without items, to use as a context manager.

    Args:
        total: Amount of work, in units; None if unknown.
        work: Name of the work.
        unit: Name of the unit, see `progress`; `s` for work that takes a known number of seconds.
        timer: Timer of the lines.
        bar_format: Format of tqdm's bar.
    """
    if not _is_terminal():
        return ProgressLines(total, work, unit, timer)
    bar: Bar = tqdm(total=total, desc=work, unit=unit, dynamic_ncols=True, bar_format=bar_format)
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
        with contextlib.suppress(OSError, ValueError):  # stderr is broken or closed; the work goes on
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
