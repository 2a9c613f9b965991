"""The line: cameras in, answers out, for months."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from partsight.runtime.cameras.camera import Camera
from partsight.runtime.errors import PackageError, PartsightError, ProviderError, SignatureError
from partsight.runtime.line.counters import CameraCounters, LineCounters, SinkCounters, Tally
from partsight.runtime.line.feed import Feed
from partsight.runtime.line.inbox import Arrival, Failure, Inbox, Policy
from partsight.runtime.line.outbox import Outbox, owner_of
from partsight.runtime.recognizer import Recognizer, Result
from partsight.runtime.record import Record, Told, answered
from partsight.runtime.sinks.sink import Sink

_LINE = "line"  # the owner of counts that are no camera's

_log = logging.getLogger("partsight.line")


class Line:
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
        policy: Policy | None = None,
        takt_ms: float | None = None,
        on_result: Callable[[Told], None] | None = None,
    ) -> None:
        """Take all parts; nothing runs before `start`.

        Args:
            recognizer: answers; closed with the line.
            cameras: by name, what opens each; called again whenever the camera is gone.
            sinks: by name; closed with the line.
            policy: what happens to a frame while the network is busy; None for `latest`.
            takt_ms: from a frame's arrival on, how long its answer is of use. One whose takt is over before its turn
                comes is not answered, and counted as late. None for as long as it takes.
            on_result: called with each result, by one thread, the line's own: it must be quick.

        Raises:
            ValueError: there is no camera, or takt_ms is not above 0.
        """
        if not cameras:
            raise ValueError("the line has no camera; expected at least one")
        if takt_ms is not None and not takt_ms > 0:
            raise ValueError(f"takt_ms is {takt_ms}; expected more than 0")
        self.run_id = uuid.uuid4().hex[:12]
        self._recognizer = recognizer
        self._trusted_keys = recognizer.trusted_keys  # of every package that is swapped in, whoever loads it
        self._swap_lock = threading.Lock()
        self._takt_s = None if takt_ms is None else takt_ms / 1000
        self._listeners = [] if on_result is None else [on_result]
        self._tally = Tally()
        self._inbox = Inbox(tuple(cameras), policy or Policy(), self._tally)
        self._feeds = {name: Feed(name, opener, self._inbox, self._tally) for name, opener in cameras.items()}
        self._sinks = dict(sinks or {})
        self._outboxes: dict[str, Outbox] = {}
        self._error: BaseException | None = None
        self._engine = threading.Thread(target=self._run, name="partsight-line", daemon=True)
        self._holder = threading.Thread(target=self._hold_first, name="partsight-hold", daemon=True)

    @property
    def package_id(self) -> str:
        """The package that answers now."""
        return self._recognizer.package_id

    @property
    def recognizer(self) -> Recognizer:
        """What answers now; the line closes it when another takes its place."""
        return self._recognizer

    @property
    def is_running(self) -> bool:
        """Whether frames are answered: from the start until all cameras have ended, or something failed."""
        return self._engine.is_alive()

    def listen(self, listener: Callable[[Told], None]) -> None:
        """Have another function called with each result from now on, as `on_result` is."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Open cameras and begin to answer."""
        self._outboxes = {name: Outbox(name, sink, self._tally) for name, sink in self._sinks.items()}
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
                has ended; or the network failed in a way that was not foreseen.
        """
        self._engine.join(timeout_s)
        self._raise_errors()
        return not self._engine.is_alive()

    def stop(self) -> None:
        """Let cameras send no more; returns at once. What was accepted is answered."""
        self._inbox.stop()
        for feed in self._feeds.values():
            feed.stop()
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
        self._recognizer.close()
        if self._holder.ident is not None:
            self._holder.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def counters(self) -> LineCounters:
        """Return what became of all frames so far."""
        line = self._tally.of(_LINE)
        outboxes = self._outboxes
        return LineCounters(
            cameras={name: CameraCounters(**self._tally.of(name)) for name in self._feeds},
            sinks={
                name: SinkCounters(
                    **self._tally.of(owner_of(name)), waiting=outboxes[name].waiting if name in outboxes else 0
                )
                for name in self._sinks
            },
            **line,
        )

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
            PartsightError: something is wrong with it; the old one stays.
        """
        with self._swap_lock:
            try:
                new = (load or self._load)(package)
                self._check_swap(new)
                self._hold(new)
            except PartsightError:
                self._tally.add(_LINE, "refused_swaps")
                raise
            old, self._recognizer = self._recognizer, new
            old.close()  # a batch under way comes to its end
            self._tally.add(_LINE, "swaps")
        signed = f", signed by key {', '.join(new.signed_by)}," if new.signed_by else ""
        extra = {"event": "package_swapped", "package": new.package_id, "before": old.package_id}
        _log.info("package %s%s answers in place of %s", new.package_id, signed, old.package_id, extra=extra)
        return new.package_id

    def _hold_first(self) -> None:
        """Hold the first package in memory while it answers already: what becomes of its folder later is no matter."""
        recognizer = self._recognizer
        try:
            recognizer.hold()
        except PartsightError as error:  # frames that need it will say so, too
            if not recognizer.is_closed:
                extra = {"event": "package_unreadable", "package": recognizer.package_id}
                _log.error("package %s: %s", recognizer.package_id, error, extra=extra)

    def _hold(self, new: Recognizer) -> None:
        try:
            new.hold()
        except PartsightError:
            new.close()
            raise

    def _load(self, package: str | Path) -> Recognizer:
        return Recognizer(package, trusted_keys=self._trusted_keys)

    def _check_swap(self, new: Recognizer) -> None:
        trusted = self._trusted_keys
        if trusted is not None and {key.key_id for key in trusted}.isdisjoint(new.signed_by):
            new.close()
            raise SignatureError(
                f"package {new.package_id} was loaded without the line's trusted keys; load it with "
                "Recognizer(..., trusted_keys=...) of the same keys"
            )
        before, after = self._recognizer.manifest.preprocess.color, new.manifest.preprocess.color
        if before != after:
            new.close()
            raise PackageError(
                f"package {new.package_id} was taught {after} images and the line's cameras send {before}; stop the "
                "line to change the cameras, or train on images as they send them"
            )

    def _run(self) -> None:
        try:
            while batch := self._inbox.take(self._recognizer.batch_size):
                self._serve(batch)
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: `wait` raises it)
            self._error = error
            _log.critical("the line ended: %s", error, extra={"event": "line_failed"})
            self.stop()

    def _serve(self, batch: Sequence[Arrival | Failure]) -> None:
        """Answer frames together, and tell of those that could not be read in their turn."""
        frames: list[Arrival] = []
        for item in batch:
            if isinstance(item, Failure):
                self._answer(frames)
                frames = []
                self._tell_failure(item)
            elif not self._is_late(item):
                frames.append(item)
        self._answer(frames)

    def _is_late(self, arrival: Arrival) -> bool:
        late = self._takt_s is not None and time.monotonic() - arrival.arrived > self._takt_s
        if late:
            self._tally.move(arrival.camera, "waiting", "late")
        return late

    def _answer(self, batch: Sequence[Arrival]) -> None:
        recognizer = self._recognizer  # one for the whole batch, whatever is swapped meanwhile
        try:
            results = recognizer.recognize_batch([arrival.frame.image for arrival in batch])
        except ProviderError:
            raise  # no frame is to blame, and none would be answered any more
        except PartsightError as error:
            if recognizer is not self._recognizer:
                self._answer(batch)  # it was swapped and closed before this batch began
            elif len(batch) > 1:
                for arrival in batch:  # one of them is to blame: the others are answered
                    self._answer([arrival])
            else:
                self._fail(batch[0], error)
            return
        for arrival, result in zip(batch, results, strict=True):
            self._tell(arrival, recognizer, result)

    def _tell(self, arrival: Arrival, recognizer: Recognizer, result: Result) -> None:
        latency_s = time.monotonic() - arrival.arrived
        told = answered(arrival.frame, arrival.camera, self.run_id, recognizer, result, latency_s * 1000)
        if self._takt_s is not None and latency_s > self._takt_s:
            self._tally.add(arrival.camera, "overdue")
        self._publish(told)
        self._tally.move(arrival.camera, "waiting", told.record.outcome)

    def _fail(self, arrival: Arrival, error: Exception) -> None:
        frame = arrival.frame
        record = self._failed(arrival.camera, frame.source, frame.sequence, frame.timestamp, str(error))
        self._publish(Told(record, frame))
        self._tally.move(arrival.camera, "waiting", "failed")

    def _tell_failure(self, failure: Failure) -> None:
        camera, source = failure.camera, failure.source
        self._publish(Told(self._failed(camera, source, failure.sequence, failure.timestamp, failure.error)))
        self._tally.move(camera, "waiting", "failed")

    def _failed(self, camera: str, source: str, sequence: int, timestamp: float, error: str) -> Record:
        return Record(
            outcome="failed",
            camera=camera,
            source=source,
            sequence=sequence,
            run=self.run_id,
            timestamp=timestamp,
            error=error,
        )

    def _publish(self, told: Told) -> None:
        for listener in self._listeners:
            try:
                listener(told)
            except Exception as error:  # noqa: BLE001 (the user's own code: the line goes on)
                self._tally.add(_LINE, "callback_errors")
                record = told.record
                extra = {"event": "callback_failed", "camera": record.camera, "sequence": record.sequence}
                _log.error("a callback raised at frame %s: %s", record.sequence, error, extra=extra)
        for outbox in self._outboxes.values():
            outbox.put(told)

    def _raise_errors(self) -> None:
        errors = [feed.error for feed in self._feeds.values()] + [self._error]
        errors += [outbox.gone for outbox in self._outboxes.values()]
        for error in errors:
            if error is not None:
                raise error
