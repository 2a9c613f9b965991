"""The line: cameras in, answers out, for months."""

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from partsight.runtime.cameras import Camera
from partsight.runtime.core import PartsightError, ProcessBound
from partsight.runtime.line.camera_worker import CameraWorker
from partsight.runtime.line.compatibility import check_parts, check_sinks, check_swap
from partsight.runtime.line.counters import LINE, CameraCounters, LineCounters, SinkCounters, Tally
from partsight.runtime.line.dispatcher import THREAD, Dispatcher
from partsight.runtime.line.frame_check import FrameCheck
from partsight.runtime.line.frame_queue import FrameQueue, Policy, by_camera
from partsight.runtime.line.sink_worker import SinkWorker, owner_of
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent, Sink

_log = logging.getLogger("partsight.line")


class Line(ProcessBound):
    """Several cameras share one recogniser; every frame is counted, and every answer goes to every sink.

    Answers of one camera come in the order of its frames. A camera that goes away is opened again while the others go
    on; a sink or a callback that raises is counted and does not stop the line. Use it as a context manager: it starts
    on entry, and on exit answers what was accepted, writes it, and closes cameras and sinks.

    Example:
        >>> with Line(Recognizer("line3.partsight"), {"left": lambda: open_camera("usb:0")}, {"out": sink}) as line:
        ...     line.wait()
    """

    def __init__(
        self,
        recognizer: Recognizer,
        cameras: Mapping[str, Callable[[], Camera]],
        sinks: Mapping[str, Sink] | None = None,
        *,
        policy: Policy | Mapping[str, Policy] | None = None,
        takt_ms: float | Mapping[str, float] | None = None,
        on_result: Callable[[FrameEvent], None] | None = None,
    ) -> None:
        """Take all parts; nothing runs before `start`.

        Args:
            recognizer: answers; closed with the line.
            cameras: by name, what opens each; called again whenever the camera is gone.
            sinks: by name; closed with the line.
            policy: what happens to a frame while the network is busy: one for all cameras, or by the camera's name.
                Of the others, cameras that end (`folder:` and `video:`) have `block`, which loses nothing, and live
                ones `latest`.
            takt_ms: milliseconds from a frame's arrival on, for which its answer is of use: one number for all cameras,
                or by the camera's name. A frame whose takt is over before its turn comes is not answered, and counted
                as late. The others are answered however long it takes.
            on_result: called with each result, by one thread, the line's own: it must be quick.

        Raises:
            ValueError: there is no camera, takt_ms is not above 0, or a setting names a camera that is not there.
            TypeError: a part is of another kind, such as a camera in place of the function that opens it.
            PartsightError: the recogniser is closed, or was made in another process.
        """
        check_parts(recognizer, cameras, sinks or {}, on_result)
        policies = by_camera("policy", Policy, policy, cameras)
        takts_ms = by_camera("takt_ms", float, takt_ms, cameras)
        for takt in takts_ms.values():
            if not takt > 0:
                raise ValueError(f"takt_ms is {takt}; expected more than 0")
        self.run_id = uuid.uuid4().hex[:12]
        self._trusted_keys = recognizer.trusted_keys  # of every package that is swapped in, whoever loads it
        self._swap_lock = threading.Lock()
        self._place_lock, self._is_closed = threading.Lock(), False  # of what answers
        self._tally = Tally()
        self._inbox = FrameQueue({name: policies.get(name) for name in cameras}, self._tally, 2 * recognizer.batch_size)
        self._answerer = Dispatcher(
            recognizer,
            self._inbox,
            self._tally,
            self.run_id,
            {name: takt / 1000 for name, takt in takts_ms.items()},
        )
        self._frame_check = FrameCheck(lambda: self.recognizer)
        self.listen(self._frame_check)
        if on_result is not None:
            self.listen(on_result)
        self._feeds = {name: CameraWorker(name, opener, self._inbox, self._tally) for name, opener in cameras.items()}
        self._sinks = dict(sinks or {})
        self._outboxes: dict[str, SinkWorker] = {}
        self._error: BaseException | None = None
        self._engine = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._holder = threading.Thread(target=self._hold_first, name="partsight-hold", daemon=True)

    @property
    def package_id(self) -> str:
        """The package that answers now."""
        return self.recognizer.package_id

    @property
    def recognizer(self) -> Recognizer:
        """What answers now; the line closes it when another takes its place."""
        return self._answerer.recognizer

    @property
    def is_running(self) -> bool:
        """Whether frames are answered: from the start until all cameras have ended, or something failed."""
        return self._engine.is_alive()

    def listen(self, listener: Callable[[FrameEvent], None]) -> None:
        """Have another function called with each result from now on, as `on_result` is."""
        self._answerer.listeners.append(listener)

    def start(self) -> None:
        """Compare sinks with package and cameras, open cameras and begin to answer.

        Raises:
            SinkError: a sink would be of no use on this line, see `Sink`; the line is closed.
            PartsightError: the line was started or closed before.
        """
        if self._is_closed or self._engine.ident is not None:
            state = "closed" if self._is_closed else "started already (`with` starts it, too)"
            raise PartsightError(f"this line was {state}; create another Line")
        try:
            check_sinks(self.recognizer, self._sinks, self._feeds)
        except Exception:
            self.close()
            raise
        self._outboxes = {
            name: SinkWorker(name, sink, self._tally, may_wait=lambda: self._inbox.all_block)
            for name, sink in self._sinks.items()
        }
        self._answerer.outboxes = self._outboxes
        self._engine.start()
        self._holder.start()
        for feed in self._feeds.values():
            feed.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all cameras have ended and all frames are answered, or `stop` was called.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Returns:
            Whether it has come to that.

        Raises:
            PartsightError: a camera cannot be had at all, such as one whose library is not installed; a sink's reader
                has ended; the network failed in a way that was not foreseen; or the line was not started.
        """
        if self._engine.ident is None:
            raise PartsightError("this line was not started; call `start`, or use it as a context manager")
        self._engine.join(timeout_s)
        self._raise_errors()
        return not self._engine.is_alive()

    def stop(self) -> None:
        """Let cameras send no more; returns at once. What was accepted is answered."""
        for feed in self._feeds.values():
            feed.stop()
        self._inbox.stop()  # last: a camera that waits there has one more frame, and reads no other
        for outbox in self._outboxes.values():
            outbox.end_soon()

    def close(self) -> None:
        """Stop, answer and write what was accepted, and let go of cameras, sinks and package. May be called twice."""
        self.stop()
        if self._engine.ident is None:  # it was never started
            for sink in self._sinks.values():
                sink.close()
        else:
            self._engine.join()
            for feed in self._feeds.values():
                feed.join()
            for outbox in self._outboxes.values():
                outbox.close()
        with self._place_lock:  # no other takes its place from now on
            self._is_closed = True
            self.recognizer.close()
        if self._holder.ident is not None:
            self._holder.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def counters(self) -> LineCounters:
        """Return what became of all frames so far."""
        line = self._tally.of(LINE)
        return LineCounters(
            cameras={name: CameraCounters(**self._tally.of(name)) for name in self._feeds},
            sinks={name: self._of_sink(name, sink) for name, sink in self._sinks.items()},
            **line,
        )

    def _of_sink(self, name: str, sink: Sink) -> SinkCounters:
        box = self._outboxes.get(name)
        waiting, undelivered = box.waiting if box else 0, getattr(sink, "undelivered", 0)
        return SinkCounters(**self._tally.of(owner_of(name)), waiting=waiting, undelivered=undelivered)

    def states(self) -> dict[str, str]:
        """Return what each camera is doing: opening, waiting, open, stalled, lost, ended or failed."""
        return {name: feed.state for name, feed in self._feeds.items()}

    def swap(self, package: str | Path, load: Callable[[str | Path], Recognizer] | None = None) -> str:
        """Put another package in place of the one that answers, between two batches; no frame is lost.

        The new package is loaded, checked and warmed up beside the old one first, which answers meanwhile.

        Args:
            package: to load.
            load: how; for options of `Recognizer`. None for none but the trusted keys of the line's first, one of which
                must have signed this package, too, however it is loaded.

        Returns:
            The new package's id.

        Raises:
            PartsightError: something is wrong with it; the old one stays. Or the line has been closed.
        """
        with self._swap_lock:
            try:
                new = (load or self._load)(package)
                self._prepare(new)
                old = self._put_in_place(new)
            except PartsightError:
                self._tally.add(LINE, "refused_swaps")
                raise
            old.close()  # a batch under way comes to its end
            self._tally.add(LINE, "swaps")
        signed = f", signed by key {', '.join(new.signed_by)}," if new.signed_by else ""
        extra = {"event": "package_swapped", "package": new.package_id, "before": old.package_id}
        _log.info("package %s%s answers in place of %s", new.package_id, signed, old.package_id, extra=extra)
        return new.package_id

    def _hold_first(self) -> None:
        """Hold the first package in memory while it answers already: what becomes of its folder later is no matter."""
        recognizer = self.recognizer
        try:
            recognizer.hold()
        except PartsightError as error:  # frames that need it will say so, too
            if not recognizer.is_closed:
                extra = {"event": "package_unreadable", "package": recognizer.package_id}
                _log.error("package %s: %s", recognizer.package_id, error, extra=extra)

    def _prepare(self, new: Recognizer) -> None:
        """Check that a package fits the line and read it into memory; close it where it does not."""
        try:
            check_swap(self.recognizer, new, self._trusted_keys)
            self._frame_check.check_package(new)
            new.hold()
            check_sinks(new, self._sinks, self._feeds)  # last: a sink that agrees serves the new package from now on
        except PartsightError:
            new.close()
            raise

    def _put_in_place(self, new: Recognizer) -> Recognizer:
        with self._place_lock:
            if not self._is_closed:
                old, self._answerer.recognizer = self.recognizer, new
                return old
        new.close()
        raise PartsightError("the line has been closed, and takes no other package; start another line")

    def _load(self, package: str | Path) -> Recognizer:
        return Recognizer(package, trusted_keys=self._trusted_keys)

    def _run(self) -> None:
        try:
            self._answerer.run(self.stop)
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: `wait` raises it)
            self._error = error
            _log.critical("the line ended: %s", error, extra={"event": "line_failed"})
            self.stop()

    def _raise_errors(self) -> None:
        errors = [feed.error for feed in self._feeds.values()] + [self._error]
        errors += [outbox.gone for outbox in self._outboxes.values()]
        for error in errors:
            if error is not None:
                raise error
