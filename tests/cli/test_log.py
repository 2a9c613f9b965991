"""The log: one line an event, whatever its message holds."""

import json
import logging
import re
from datetime import datetime
from pathlib import Path

import pytest

from partsight.cli.log import JsonLogFormatter, TextLogFormatter, log_to_stderr

EVIL = "gone\nFAKE LINE\r\x1b[31mred\u2028next \udcff é"


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"levelname": "WARNING", "msg": message, "created": 1764015497.284} | extra)
    assert made.getMessage() == message
    return made


def test_text() -> None:
    line = TextLogFormatter().format(record("camera left is gone", camera="left"))
    assert line.endswith(" WARNING camera left is gone")
    datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f")


def test_text_stays_on_its_line() -> None:
    line = TextLogFormatter().format(record(EVIL))
    assert line.isprintable()
    assert line.endswith(r"gone\nFAKE LINE\r\x1b[31mred\u2028next \udcff é")


def test_text_clears_the_status_of_a_terminal() -> None:
    assert TextLogFormatter(clears_line=True).format(record("x")).startswith("\r\x1b[K")


def test_json() -> None:
    extra = {"event": "camera_lost", "camera": "left\n\udcff", "sequence": 7, "share": float("nan"), "where": {1}}
    line = JsonLogFormatter().format(record(EVIL, **extra))
    assert line.isascii() and line.isprintable()
    assert json.loads(line) == {
        "time": "2025-11-24T20:18:17.284Z",
        "level": "WARNING",
        "event": "camera_lost",
        "message": EVIL.replace("\udcff", r"\udcff"),
        "camera": "left\n\\udcff",
        "sequence": 7,
        "share": None,
        "where": "{1}",
    }


def test_json_of_another_librarys_event() -> None:
    found = json.loads(JsonLogFormatter().format(record("hello", _of_a_library=1)))
    assert (found["event"], set(found)) == ("other", {"time", "level", "event", "message"})


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_stays_on_the_events_line(capsys: pytest.CaptureFixture[str], form: str) -> None:
    with log_to_stderr(form, is_quiet=True):
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("partsight.line").exception("outer")
    (line,) = capsys.readouterr().err.splitlines()
    assert "outer" in line and "ValueError: inner" in line


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    """All messages of partsight, or only its warnings; warnings of others; nothing after the block."""

    def logged() -> list[str]:
        for name in ("partsight.line", "partsight.runtime", "asyncua"):
            logging.getLogger(name).info("%s info", name)
            logging.getLogger(name).warning("%s warning", name)
        return [line.split(" ", 3)[3] for line in capsys.readouterr().err.splitlines()]

    loud = ["partsight.runtime info", "partsight.runtime warning", "asyncua warning"]
    with log_to_stderr("text", is_quiet=True):
        assert logged() == ["partsight.line warning", *loud]
    with log_to_stderr("text", is_quiet=False):
        assert logged() == ["partsight.line info", "partsight.line warning", *loud]
    assert logging.getLogger("partsight").level == logging.NOTSET
    logging.getLogger("partsight.line").warning("after it")
    assert "after it" not in capsys.readouterr().err


def test_the_docs_name_every_event() -> None:
    root = Path(__file__).parents[2]
    code = "".join(path.read_text("utf-8") for room in ("runtime", "cli") for path in (root / room).rglob("*.py"))
    names = set(re.findall(r'(?:"event": |event\(|_publish\(config, )"(\w+)"', code))
    assert {"camera_failed", "sink_recovered", "package_total"} < names
    names |= {f"camera_{state}" for state in ("open", "stalled", "lost", "waiting")}
    docs = (root / "docs" / "line.md").read_text("utf-8")
    assert {name for name in names if f"`{name}`" not in docs} == set()
