"""The log of a line on stderr: one line an event, as text or as JSON."""

import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event"}
"""Attributes of every log record; all others are fields of the event."""


class TextLogFormatter(logging.Formatter):
    """Format of a text line: time, level and message, with control characters as escapes."""

    def __init__(self, *, clears_line: bool = False) -> None:
        """Take whether to clear the terminal's line first, since it may show a status."""
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._start = "\r\x1b[K" if clears_line else ""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, without a line break."""
        text = super().format(record)
        escaped = text if text.isprintable() else "".join(map(_escaped, text))
        return self._start + escaped


class JsonLogFormatter(logging.Formatter):
    """Format of a JSON line: time (UTC), level, event, message and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII, without a line break."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "event": getattr(record, "event", "other"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        # Names that begin with _ are another library's own: Ray adds one to every record of its process.
        own = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        facts |= {name: value for name, value in own.items() if not name.startswith("_")}
        return json.dumps({name: _plain(value) for name, value in facts.items()}, default=str)


@contextmanager
def log_to_stderr(form: str, *, is_quiet: bool) -> Iterator[None]:
    """Write partsight's log and the warnings of other libraries to stderr, until the end of the block.

    Args:
        form: `text` or `json`.
        is_quiet: Whether to write only warnings, errors and the choice of `provider=auto`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLogFormatter() if form == "json" else TextLogFormatter(clears_line=sys.stderr.isatty()))
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
    """Silence OpenCV and FFmpeg, which write to stderr at each attempt to open a stream; the log has it once.

    Call it before the import of OpenCV. Variables that the user has set stay.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET


def _plain(value: object) -> object:
    """Return a value that JSON can hold: no lone surrogates, which file names may contain, and no infinity."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
