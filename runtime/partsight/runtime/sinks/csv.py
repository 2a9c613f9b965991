"""`csv:PATH`: a table for spreadsheets, one row a result."""

import contextlib
import csv
import io
import json
import logging
from pathlib import Path
from typing import Self

import msgspec

from partsight.runtime.core import ProcessBound, SinkError, SinkGoneError
from partsight.runtime.recognition import PartPose
from partsight.runtime.sinks.address import Address
from partsight.runtime.sinks.appending import AppendedFile, FileOptions
from partsight.runtime.sinks.record import FrameEvent, Record
from partsight.runtime.sinks.sink import Sink

BLOCK_BYTES = 1 << 20
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""First characters that make a text a formula in spreadsheets (OWASP, "CSV Injection"), and the escape itself."""

_log = logging.getLogger("partsight.sinks")


class CsvTable(ProcessBound, unusable=SinkGoneError):
    """Appends to a table."""

    def __init__(self, path: str | Path, options: FileOptions | None = None) -> None:
        """Open or create the table, and cut off a torn last row, which is logged.

        A table of an earlier partsight keeps its columns, which is logged; a new file has all.

        Raises:
            SinkError: the file cannot be opened, is no such table, or another sink writes into it.
        """
        self._columns = _columns_of(Path(path))
        head = _row(list(self._columns))
        self._file = AppendedFile(Path(path), options or FileOptions(), head=head, whole=_whole_rows, header=True)

    def write(self, event: FrameEvent) -> None:
        """Append a row.

        Raises:
            SinkError: the disk is full or failed; the table holds whole rows, without this one.
        """
        self._file.append(_row([_cell(getattr(event.record, name)) for name in self._columns]))

    def close(self) -> None:
        """Flush the table to the disk and close it. May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


OPTIONS = FileOptions


def open_address(address: Address) -> Sink:
    """Open `csv:PATH`.

    Raises:
        SinkError: see `CsvTable`; or an option is wrong.
    """
    options = address.read_options(FileOptions)
    if not address.place:
        raise SinkError("sink csv: names no file; expected csv:PATH")
    return CsvTable(address.place, options)


def escape_formula(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: a text that might be one gets an apostrophe in front."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unescape_formula(text: str) -> str:
    """Return the text before `escape_formula`."""
    return text[1:] if text.startswith("'") else text


def _columns_of(path: Path) -> tuple[str, ...]:
    """Return the columns that rows of this table have."""
    columns = Record.__struct_fields__
    earlier = columns[: columns.index("reason")]
    with contextlib.suppress(OSError), path.open("rb") as file:  # an error is reported when the file is opened
        head = _row(list(earlier))
        if file.read(len(head)) == head:
            text = "%s: is a table of an earlier partsight and keeps its columns, without %s; name a new file for all"
            missing = ", ".join(columns[len(earlier) :])
            _log.warning(text, path, missing, extra={"event": "earlier_table"})
            return earlier
    return columns


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not abs(value) < float("inf")):
        return ""
    if isinstance(value, tuple):  # candidates
        return json.dumps([[candidate.label, _finite(candidate.score)] for candidate in value], ensure_ascii=False)
    if isinstance(value, PartPose):
        return msgspec.json.encode(value).decode()
    return escape_formula(value) if isinstance(value, str) else str(value)


def _finite(number: float | None) -> float | None:
    return number if number is not None and abs(number) < float("inf") else None


def _row(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _whole_rows(path: Path) -> int:
    """Return the offset after the last whole row: the last line break outside quotes, since a label may hold one."""
    end = offset = 0
    quoted = False
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            for number, piece in enumerate(block.split(b'"')):
                if number:  # a quote lies before it
                    quoted = not quoted
                    offset += 1
                if not quoted and (found := piece.rfind(b"\n")) >= 0:
                    end = offset + found + 1
                offset += len(piece)
    return end
