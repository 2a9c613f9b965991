"""`csv:PATH`: a table for spreadsheets, one row a result."""

import csv
import io
import json
from pathlib import Path
from typing import Self

from partsight.runtime.core import ProcessBound, SinkError, SinkGoneError
from partsight.runtime.sinks.address import Address
from partsight.runtime.sinks.appending import AppendedFile, FileOptions
from partsight.runtime.sinks.record import FrameEvent, Record
from partsight.runtime.sinks.sink import Sink

BLOCK_BYTES = 1 << 20
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""First characters that make a text a formula in spreadsheets (OWASP, "CSV Injection"), and the escape itself."""


class CsvTable(ProcessBound, unusable=SinkGoneError):
    """Appends to a table."""

    def __init__(self, path: str | Path, options: FileOptions | None = None) -> None:
        """Open or create the table, and cut off a torn last row, which is logged.

        Raises:
            SinkError: the file cannot be opened, is no such table, or another sink writes into it.
        """
        head = _row(list(Record.__struct_fields__))
        self._file = AppendedFile(Path(path), options or FileOptions(), head=head, whole=_whole_rows, header=True)

    def write(self, event: FrameEvent) -> None:
        """Append a row.

        Raises:
            SinkError: the disk is full or failed; the table holds whole rows, without this one.
        """
        self._file.append(_row([_cell(getattr(event.record, name)) for name in Record.__struct_fields__]))

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


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not abs(value) < float("inf")):
        return ""
    if isinstance(value, tuple):  # candidates
        return json.dumps([[candidate.label, _finite(candidate.score)] for candidate in value], ensure_ascii=False)
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
