"""The last events of the line's log, and the warnings among them that stand."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

MAX_ENTRIES = 500
"""Different events that the page keeps."""

MAX_STANDING = 200
"""Warnings that stand; more than any line has cameras and sinks."""

MAX_TEXT = 2000
"""Characters of an event's text; the rest is cut off."""

_ENDED_BY = {
    "nothing_recognised": "recognised_again",
    "setup_misfit": "recognised_again",
    "sink_waited_for": "sink_recovered",
    "broker_trouble": "broker_recovered",
    "plc_waited_for": "plc_recovered",
}
"""Warnings that stand until another event of the same camera or sink."""

_OF_PACKAGE = frozenset({"nothing_recognised", "setup_misfit"})
"""Warnings that end with the package that they are about."""

_LOGGER = logging.getLogger("partsight")


@dataclass(frozen=True)
class LogEntry:
    """An event of the log; several equal ones are one entry.

    Attributes:
        level: Level as `logging` has it, such as `logging.WARNING`.
        event: Name of the event, such as `camera_lost`; `other` for a library's.
        text: Sentence of the log.
        camera, sink: Camera or sink that it is about; empty if it names none.
        count: Number of equal events.
        first, last: Times of the first and of the last one, in seconds since 1970.
    """

    level: int
    event: str
    text: str
    camera: str
    sink: str
    count: int
    first: float
    last: float


class EventLog(logging.Handler):
    """Listens to the logger `partsight`, from INFO on, and changes nothing for other handlers.

    It hears what the logger lets through: a program that wants all events on its page sets the logger's level to INFO.
    """

    def __init__(self) -> None:
        """Listen from now on."""
        super().__init__(logging.INFO)
        self._entries: OrderedDict[tuple[int, str, str], LogEntry] = OrderedDict()  # the newest last
        self._standing: OrderedDict[tuple[str, str, str], LogEntry] = OrderedDict()
        self._entries_lock = threading.Lock()
        _LOGGER.addHandler(self)

    def close(self) -> None:
        """Listen no more. May be called twice."""
        _LOGGER.removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an event; called by the thread that logs it."""
        try:
            entry = _entry_of(record)
        except Exception:  # noqa: BLE001 (as every handler of `logging`: a wrong text harms no caller)
            self.handleError(record)
            return
        with self._entries_lock:
            self._keep(entry)
            self._judge(entry)
        last_resort = logging.lastResort
        # Without any other handler, Python writes warnings to stderr; it still does.
        if last_resort is not None and record.levelno >= last_resort.level and self._is_alone(record.name):
            last_resort.handle(record)

    def entries(self, level: int = logging.INFO) -> list[LogEntry]:
        """Return the events of at least a level, newest first."""
        with self._entries_lock:
            return [entry for entry in reversed(self._entries.values()) if entry.level >= level]

    def standing(self) -> list[LogEntry]:
        """Return the warnings that no later event has ended, oldest first."""
        with self._entries_lock:
            return list(self._standing.values())

    def _keep(self, entry: LogEntry) -> None:
        key = entry.level, entry.event, entry.text
        before = self._entries.pop(key, None)
        if before is not None:
            entry = replace(entry, count=before.count + 1, first=before.first)
        self._entries[key] = entry
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def _judge(self, entry: LogEntry) -> None:
        """Keep a warning that stands, and drop those that this event ends."""
        if entry.event in _ENDED_BY:
            key = _ENDED_BY[entry.event], entry.camera, entry.sink
            before = self._standing.get(key)
            is_same = before is not None and before.event == entry.event
            self._standing[key] = replace(entry, first=before.first) if before and is_same else entry
            if len(self._standing) > MAX_STANDING:
                self._standing.popitem(last=False)
        elif entry.event == "package_swapped":
            over = [key for key, warning in self._standing.items() if warning.event in _OF_PACKAGE]
            for key in over:
                del self._standing[key]
        else:
            self._standing.pop((entry.event, entry.camera, entry.sink), None)

    def _is_alone(self, name: str) -> bool:
        """Whether only logs of pages hear a logger, and this one is the first of them."""
        handlers: list[logging.Handler] = []
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            handlers += logger.handlers
            logger = logger.parent if logger.propagate else None
        return handlers[:1] == [self] and all(isinstance(handler, EventLog) for handler in handlers)


def _entry_of(record: logging.LogRecord) -> LogEntry:
    camera, sink = (str(getattr(record, name, "")) for name in ("camera", "sink"))
    event, text = str(getattr(record, "event", "other")), record.getMessage()[:MAX_TEXT]
    return LogEntry(record.levelno, event, text, camera, sink, 1, record.created, record.created)
