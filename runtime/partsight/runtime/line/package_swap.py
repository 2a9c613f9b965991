"""The package swap: another package takes over a running line, between two batches."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from partsight.runtime.core import PackageError, PartsightError
from partsight.runtime.line.compatibility import FrameCheck, check_sinks, check_swap, describe_difference
from partsight.runtime.line.counters import LINE, Tally
from partsight.runtime.line.dispatcher import Dispatcher
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import Sink

Load = Callable[[str | Path], Recognizer | Sequence[Recognizer]]
"""Function that loads a package: one recogniser, or one for each that a line has."""

_log = logging.getLogger("partsight.line")


class PackageSwap:
    """Loads, checks and preloads packages while the line runs, and closes the one that was replaced.

    Attributes:
        frame_check: Listener that knows the last frame of each camera.
        is_closed: Whether `close` was called.
    """

    def __init__(self, dispatcher: Dispatcher, tally: Tally, sinks: Mapping[str, Sink], cameras: Iterable[str]) -> None:
        """Take the parts of the line.

        Args:
            dispatcher: Dispatcher whose recognisers are replaced.
            tally: Counts of the line.
            sinks: Sinks that must agree with each package, by name.
            cameras: Names of the cameras.
        """
        self._dispatcher, self._tally, self._sinks, self._cameras = dispatcher, tally, sinks, tuple(cameras)
        # The keys of the line's start hold for every package, no matter which function loads it.
        self._trusted_keys = dispatcher.recognizer.trusted_keys
        self._swap_lock = threading.Lock()
        self._replace_lock = threading.Lock()  # for `Dispatcher.recognizers` and `is_closed`
        self.is_closed = False
        self.frame_check = FrameCheck(lambda: dispatcher.recognizer)

    def check_sinks(self) -> None:
        """Compare sinks with the package that answers now and with the cameras; raises SinkError, see `Sink`."""
        check_sinks(self._dispatcher.recognizer, self._sinks, self._cameras)

    def swap(self, package: str | Path, load: Load | None = None) -> str:
        """Replace the package, see `Line.swap`."""
        with self._swap_lock:
            before = self._dispatcher.recognizer.package_id
            try:
                loaded = as_recognizers((load or self._load)(package))
                self._prepare(loaded)
                self._replace(loaded)
            except PartsightError:
                self._tally.add(LINE, "refused_swaps")
                raise
            self._tally.add(LINE, "swaps")
        new = loaded[0]
        signed = f", signed by key {', '.join(new.signed_by)}," if new.signed_by else ""
        extra = {"event": "package_swapped", "package": new.package_id, "before": before}
        _log.info("package %s%s replaces %s", new.package_id, signed, before, extra=extra)
        return new.package_id

    def preload_first(self) -> None:
        """Read the first package into memory while it answers already: its folder may change later."""
        for recognizer in self._dispatcher.recognizers:
            try:
                recognizer.preload()
            except PartsightError as error:  # the frames that need the damaged part fail with the same error
                if not recognizer.is_closed:
                    extra = {"event": "package_unreadable", "package": recognizer.package_id}
                    _log.error("package %s: %s", recognizer.package_id, error, extra=extra)
                return

    def close(self) -> None:
        """Close the recognisers and let no other replace them. May be called twice."""
        with self._replace_lock:
            self.is_closed = True
            self._dispatcher.close()

    def _load(self, package: str | Path) -> Recognizer:
        # A line never changes its provider by itself.
        provider = self._dispatcher.recognizer.provider
        return Recognizer(package, provider=provider, trusted_keys=self._trusted_keys)

    def _prepare(self, new: Sequence[Recognizer]) -> None:
        """Check that a package fits the line and read it into memory; close it if it does not fit."""
        try:
            self._check_number(new)
            if difference := describe_difference(new):
                raise PackageError(difference)
            for recognizer in new:
                check_swap(self._dispatcher.recognizer, recognizer, self._trusted_keys)
                self.frame_check.check_package(recognizer)
                recognizer.preload()
            # Last: a sink that agrees serves the new package from now on.
            check_sinks(new[0], self._sinks, self._cameras)
        except PartsightError:
            _close(new)
            raise

    def _check_number(self, new: Sequence[Recognizer]) -> None:
        number = len(self._dispatcher.recognizers)
        if len(new) != number:
            raise PackageError(
                f"received {len(new)} recognisers of the new package for a line with {number}; expected swap(PACKAGE, "
                "load) with a function that returns one for each"
            )

    def _replace(self, new: Sequence[Recognizer]) -> None:
        with self._replace_lock:
            if not self.is_closed:
                self._dispatcher.replace(new)
                return
        _close(new)
        raise PartsightError("the line is closed and takes no other package; start another Line")


def as_recognizers(given: Recognizer | Sequence[Recognizer]) -> tuple[Recognizer, ...]:
    """Return one recogniser, or several, as a tuple."""
    return tuple(given) if isinstance(given, Sequence) else (given,)


def _close(recognizers: Sequence[Recognizer]) -> None:
    for recognizer in recognizers:
        recognizer.close()
