"""The line: cameras in, answers out, for months."""

import logging
import math
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from partsight.runtime.cameras import Camera
from partsight.runtime.core import PartsightError, ProcessBound, warn_renamed
from partsight.runtime.line.camera_worker import CameraWorker
from partsight.runtime.line.compatibility import check_parts, describe_difference
from partsight.runtime.line.counters import LINE, CameraCounters, LineCounters, SinkCounters, Tally, owner_of
from partsight.runtime.line.dispatcher import DISPATCH_THREAD, Dispatcher
from partsight.runtime.line.frame_queue import FrameQueue, Policy, by_camera
from partsight.runtime.line.package_swap import Load, PackageSwap, as_recognizers
from partsight.runtime.line.publisher import ResultPublisher
from partsight.runtime.line.sink_worker import SinkWorker
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent, Sink

_log = logging.getLogger("partsight.line")


class Line(ProcessBound):
    """Several cameras share one recogniser or more; every frame is counted, and every answer goes to every sink.

    Answers of one camera come in the order of its frames. The line reopens a camera that is lost; the others go on
    meanwhile. It counts an error of a sink or a callback and goes on. Use it as a context manager: it starts on entry.
    On exit it answers the frames that it has accepted, writes the results, and closes cameras, sinks and recogniser.

    Example:
        >>> with Line(Recognizer("line3.partsight"), {"left": lambda: open_camera("usb:0")}, {"out": sink}) as line:
        ...     line.wait()
    """

    def __init__(
        self,
        recognizer: Recognizer | Sequence[Recognizer],
        cameras: Mapping[str, Callable[[], Camera]],
        sinks: Mapping[str, Sink] | None = None,
        *,
        policy: Policy | Mapping[str, Policy] | None = None,
        deadline_ms: float | Mapping[str, float] | None = None,
        on_result: Callable[[FrameEvent], None] | None = None,
        takt_ms: float | Mapping[str, float] | None = None,
    ) -> None:
        """Take all parts; nothing runs before `start`.

        Args:
            recognizer: Recogniser that answers, or several of one package, such as one for each card, which answer at
                the same time. They should be about equally fast. The line closes them.
            cameras: Functions that open each camera, by name; the line calls one again whenever its camera is lost.
            sinks: Sinks by name; the line closes them.
            policy: Treatment of a frame while the network is busy: one policy for all cameras, or by the camera's name.
                By default cameras that end (`folder:` and `video:`) have `block`, which loses nothing, and live cameras
                `latest`.
            deadline_ms: Milliseconds from a frame's arrival for which its answer is of use: one number for all cameras,
                or by the camera's name. If the deadline of a frame passes before its turn comes, the line does not
                answer it and counts it as expired. It answers all others, however long that takes.
            on_result: Function called with each result, by one thread for all cameras: it must be quick.
            takt_ms: Old name of `deadline_ms`; warns.

        Raises:
            ValueError: there is no camera or no recogniser, the recognisers have different packages or thresholds,
                deadline_ms is not above 0, or a setting names a camera that is not there.
            TypeError: an argument is of another kind, such as a camera in place of the function that opens it.
            PartsightError: a recogniser is closed, or another process made it.
        """
        if takt_ms is not None:
            warn_renamed("Line(takt_ms=...)", "Line(deadline_ms=...)")
            deadline_ms = takt_ms if deadline_ms is None else deadline_ms
        recognizers = as_recognizers(recognizer)
        check_parts(recognizers, cameras, sinks or {}, on_result)
        if difference := describe_difference(recognizers):
            raise ValueError(difference)
        policies = by_camera("policy", Policy, policy, cameras)
        deadlines_s = _deadlines_s(deadline_ms, cameras)
        self.run_id = uuid.uuid4().hex[:12]
        self._sinks = dict(sinks or {})
        self._sink_workers: dict[str, SinkWorker] = {}
        self._tally = tally = Tally()
        bound = 2 * sum(recognizer.batch_size for recognizer in recognizers)
        self._frame_queue = FrameQueue({name: policies.get(name) for name in cameras}, tally, bound)
        self._publisher = ResultPublisher(tally, self.run_id, deadlines_s)
        self._dispatcher = Dispatcher(recognizers, self._frame_queue, tally, self._publisher, deadlines_s)
        self._swap = PackageSwap(self._dispatcher, tally, self._sinks, cameras)
        self._camera_workers = {
            name: CameraWorker(name, opener, self._frame_queue, tally) for name, opener in cameras.items()
        }
        self.listen(self._swap.frame_check)
        if on_result is not None:
            self.listen(on_result)
        self._error: BaseException | None = None
        self._dispatch_thread = threading.Thread(target=self._run, name=DISPATCH_THREAD, daemon=True)
        self._preloader = threading.Thread(target=self._swap.preload_first, name="partsight-preload", daemon=True)

    @property
    def package_id(self) -> str:
        """Id of the package that answers now."""
        return self.recognizer.package_id

    @property
    def recognizer(self) -> Recognizer:
        """Recogniser that answers now, the first of several; the line closes it when another replaces it."""
        return self._dispatcher.recognizer

    @property
    def is_running(self) -> bool:
        """Whether the line answers frames: from the start until all cameras have ended, or an error ends it."""
        return self._dispatch_thread.is_alive()

    def listen(self, listener: Callable[[FrameEvent], None]) -> Callable[[], None]:
        """Call another function with each result from now on, as `on_result`.

        Returns:
            Function that ends the calls; a call that runs meanwhile comes to its end. May be called twice.
        """
        return self._publisher.listen(listener)

    def start(self) -> None:
        """Compare sinks with package and cameras, open the cameras and begin to answer.

        Raises:
            SinkError: a sink would be of no use on this line, see `Sink`; the line is closed.
            PartsightError: the line was started or closed before.
        """
        if self._swap.is_closed or self._dispatch_thread.ident is not None:
            state = "closed" if self._swap.is_closed else "started already (`with` starts it, too)"
            raise PartsightError(f"this line was {state}; create another Line")
        try:
            self._swap.check_sinks()
        except Exception:
            self.close()
            raise
        self._sink_workers = {
            name: SinkWorker(name, sink, self._tally, may_wait=lambda: self._frame_queue.all_block)
            for name, sink in self._sinks.items()
        }
        self._publisher.sink_workers = self._sink_workers
        self._dispatch_thread.start()
        self._preloader.start()
        for camera in self._camera_workers.values():
            camera.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all cameras have ended and all frames are answered, or `stop` was called.

        Args:
            timeout_s: Longest wait, in seconds; None for no limit.

        Returns:
            Whether the line has ended.

        Raises:
            PartsightError: a camera can never be opened, for example because its library is not installed; the reader
                of a sink has ended; the network failed unexpectedly; or the line was not started.
        """
        if self._dispatch_thread.ident is None:
            raise PartsightError("this line was not started; call `start`, or use it as a context manager")
        self._dispatch_thread.join(timeout_s)
        self._raise_errors()
        return not self._dispatch_thread.is_alive()

    def stop(self) -> None:
        """Let cameras send no more; returns at once. The line still answers the frames that it has accepted."""
        for camera in self._camera_workers.values():
            camera.stop()
        self._frame_queue.stop()  # last: a camera that waits there has one more frame, and reads no other
        for sink in self._sink_workers.values():
            sink.end_soon()
        for recognizer in self._dispatcher.recognizers:
            recognizer.end_soon()

    def close(self) -> None:
        """Stop, answer and write the accepted frames, then close cameras, sinks and package. May be called twice."""
        self.stop()
        if self._dispatch_thread.ident is None:  # it was never started
            for sink in self._sinks.values():
                sink.close()
        else:
            self._dispatch_thread.join()
            for camera in self._camera_workers.values():
                camera.join()
            for worker in self._sink_workers.values():
                worker.close()
        self._swap.close()
        if self._preloader.ident is not None:
            self._preloader.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def counters(self) -> LineCounters:
        """Return how many frames and results met which outcome so far."""
        line = self._tally.of(LINE)
        return LineCounters(
            cameras={name: CameraCounters(**self._tally.of(name)) for name in self._camera_workers},
            sinks={name: self._count_sink(name, sink) for name, sink in self._sinks.items()},
            **line,
        )

    def _count_sink(self, name: str, sink: Sink) -> SinkCounters:
        worker = self._sink_workers.get(name)
        waiting, undelivered = worker.waiting if worker else 0, getattr(sink, "undelivered", 0)
        return SinkCounters(**self._tally.of(owner_of(name)), waiting=waiting, undelivered=undelivered)

    def states(self) -> dict[str, str]:
        """Return the state of each camera: opening, waiting, open, stalled, lost, ended or failed."""
        return {name: camera.state for name, camera in self._camera_workers.items()}

    def swap(self, package: str | Path, load: Load | None = None) -> str:
        """Replace the package that answers by another, between two batches; no frame is lost.

        The line loads, checks and warms up the new package first; the old one answers meanwhile. All recognisers of a
        line change at once: after a camera's first answer of the new package, none of the old one comes.

        Args:
            package: Path of the package's folder.
            load: Function that loads it, for options of `Recognizer`; it returns as many recognisers as the line has.
                None for one with the provider of the line, the trusted keys of its first package, and defaults for the
                rest. One of these keys must have signed this package, whichever function loads it.

        Returns:
            The new package's id.

        Raises:
            PartsightError: the package is damaged or does not fit, and the old one stays; or the line is closed.
        """
        return self._swap.swap(package, load)

    def _run(self) -> None:
        try:
            self._dispatcher.run(self.stop)
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: `wait` raises it)
            self._error = error
            _log.critical("the line ended with an error: %s", error, extra={"event": "line_failed"})
            self.stop()

    def _raise_errors(self) -> None:
        errors = [camera.error for camera in self._camera_workers.values()] + [self._error]
        errors += [worker.gone for worker in self._sink_workers.values()]
        for error in errors:
            if error is not None:
                raise error


def _deadlines_s(deadline_ms: float | Mapping[str, float] | None, cameras: Mapping[str, object]) -> dict[str, float]:
    """Return the deadline of each camera, in seconds; infinite for a camera without one."""
    deadlines_ms = by_camera("deadline_ms", float, deadline_ms, cameras)
    for value in deadlines_ms.values():
        if not value > 0:
            raise ValueError(f"deadline_ms is {value}; expected more than 0")
    return {name: deadlines_ms.get(name, math.inf) / 1000 for name in cameras}
