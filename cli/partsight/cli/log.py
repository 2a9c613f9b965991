"""The log of a line: one event, one line on stderr, as text or as JSON."""

import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event"}
"""What every record of `logging` has; the rest are an event's own fields."""


class TextLines(logging.Formatter):
    """Time, level and message. Line breaks and control characters of a message are written as escapes."""

    def __init__(self, *, clears_line: bool = False) -> None:
        """Take whether a line of a terminal is to be cleared first, where a status may stand."""
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._start = "\r\x1b[K" if clears_line else ""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, without its end."""
        text = super().format(record)
        escaped = text if text.isprintable() else "".join(map(_escaped, text))
        return self._start + escaped


class JsonLines(logging.Formatter):
    """An object with time (UTC), level, event, message and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII, without its end."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "event": getattr(record, "event", "other"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        facts |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        return json.dumps({name: _plain(value) for name, value in facts.items()}, default=str)


@contextmanager
def log_to_stderr(form: str, *, is_quiet: bool) -> Iterator[None]:
    """Write the log of partsight, and warnings of other libraries, until the end of the block.

    Args:
        form: `text` or `json`.
        is_quiet: warnings and errors alone, and what `provider=auto` took.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines(clears_line=sys.stderr.isatty()))
    levels = {"partsight": logging.WARNING if is_quiet else logging.INFO, "partsight.runtime": logging.INFO}
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    logging.getLogger().addHandler(handler)
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        for logger, level in before.items():
            logger.setLevel(level)


def hush_libraries() -> None:
    """Keep OpenCV and FFmpeg from lines of their own on stderr, at each attempt to open a stream: the log says it once.

    To be called before OpenCV is imported. What the user has set stays.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET


def _plain(value: object) -> object:
    """Return what JSON has a form for: no half characters, which names of files may hold, and no infinity."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
