"""The package swap: another package takes over a running line, between two batches."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from partsight.runtime.core import PartsightError
from partsight.runtime.line.compatibility import FrameCheck, check_sinks, check_swap
from partsight.runtime.line.counters import LINE, Tally
from partsight.runtime.line.dispatcher import Dispatcher
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import Sink

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
            dispatcher: Dispatcher whose recogniser is replaced.
            tally: Counts of the line.
            sinks: Sinks that must agree with each package, by name.
            cameras: Names of the cameras.
        """
        self._dispatcher, self._tally, self._sinks, self._cameras = dispatcher, tally, sinks, tuple(cameras)
        # The keys of the line's start hold for every package, no matter which function loads it.
        self._trusted_keys = dispatcher.recognizer.trusted_keys
        self._swap_lock = threading.Lock()
        self._replace_lock = threading.Lock()  # for `Dispatcher.recognizer` and `is_closed`
        self.is_closed = False
        self.frame_check = FrameCheck(lambda: dispatcher.recognizer)

    def check_sinks(self) -> None:
        """Compare sinks with the package that answers now and with the cameras; raises SinkError, see `Sink`."""
        check_sinks(self._dispatcher.recognizer, self._sinks, self._cameras)

    def swap(self, package: str | Path, load: Callable[[str | Path], Recognizer] | None = None) -> str:
        """Replace the package, see `Line.swap`."""
        with self._swap_lock:
            try:
                new = (load or self._load)(package)
                self._prepare(new)
                old = self._replace(new)
            except PartsightError:
                self._tally.add(LINE, "refused_swaps")
                raise
            old.close()  # finishes its batch first
            self._tally.add(LINE, "swaps")
        signed = f", signed by key {', '.join(new.signed_by)}," if new.signed_by else ""
        extra = {"event": "package_swapped", "package": new.package_id, "before": old.package_id}
        _log.info("package %s%s replaces %s", new.package_id, signed, old.package_id, extra=extra)
        return new.package_id

    def preload_first(self) -> None:
        """Read the first package into memory while it answers already: its folder may change later."""
        recognizer = self._dispatcher.recognizer
        try:
            recognizer.preload()
        except PartsightError as error:  # the frames that need the damaged part fail with the same error
            if not recognizer.is_closed:
                extra = {"event": "package_unreadable", "package": recognizer.package_id}
                _log.error("package %s: %s", recognizer.package_id, error, extra=extra)

    def close(self) -> None:
        """Close the recogniser and let no other replace it. May be called twice."""
        with self._replace_lock:
            self.is_closed = True
            self._dispatcher.recognizer.close()

    def _load(self, package: str | Path) -> Recognizer:
        return Recognizer(package, trusted_keys=self._trusted_keys)

    def _prepare(self, new: Recognizer) -> None:
        """Check that a package fits the line and read it into memory; close it if it does not fit."""
        try:
            check_swap(self._dispatcher.recognizer, new, self._trusted_keys)
            self.frame_check.check_package(new)
            new.preload()
            check_sinks(new, self._sinks, self._cameras)  # last: a sink that agrees serves the new package from now on
        except PartsightError:
            new.close()
            raise

    def _replace(self, new: Recognizer) -> Recognizer:
        """Return the recogniser that answered so far."""
        with self._replace_lock:
            if not self.is_closed:
                old, self._dispatcher.recognizer = self._dispatcher.recognizer, new
                return old
        new.close()
        raise PartsightError("the line is closed and takes no other package; start another Line")
