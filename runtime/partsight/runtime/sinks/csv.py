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

_BLOCK = 1 << 20
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""What a text begins with that spreadsheets take for a formula (OWASP, "CSV Injection"), and the guard itself."""


class CsvTable(ProcessBound, unusable=SinkGoneError):
    """Appends to a table."""

    def __init__(self, path: str | Path, options: FileOptions | None = None) -> None:
        """Open or create the table; a torn last row is cut off, and the log says so.

        Raises:
            SinkError: it cannot be opened, holds something else, or another sink writes into it.
        """
        head = _row(list(Record.__struct_fields__))
        self._file = AppendedFile(Path(path), options or FileOptions(), head=head, whole=_whole_rows, header=True)

    def write(self, event: FrameEvent) -> None:
        """Append a row.

        Raises:
            SinkError: the disk is full or failed; the table holds whole rows, and not this one.
        """
        self._file.append(_row([_cell(getattr(event.record, name)) for name in Record.__struct_fields__]))

    def close(self) -> None:
        """Bring everything to the disk. May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_address(address: Address) -> Sink:
    """Open `csv:PATH`.

    Raises:
        SinkError: see `CsvTable`; or an option is wrong.
    """
    options = address.read_options(FileOptions)
    if not address.place:
        raise SinkError("sink csv: names no file; expected csv:PATH")
    return CsvTable(address.place, options)


def guard(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before it where one might."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unguard(text: str) -> str:
    """Return the text that was guarded."""
    return text[1:] if text.startswith("'") else text


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not abs(value) < float("inf")):
        return ""
    if isinstance(value, tuple):  # candidates
        return json.dumps([[candidate.label, _finite(candidate.score)] for candidate in value], ensure_ascii=False)
    return guard(value) if isinstance(value, str) else str(value)


def _finite(number: float | None) -> float | None:
    return number if number is not None and abs(number) < float("inf") else None


def _row(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _whole_rows(path: Path) -> int:
    """Return where the last whole row ends: at the last line break outside quotes, for a label may hold one."""
    end = offset = 0
    quoted = False
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            for number, piece in enumerate(block.split(b'"')):
                if number:  # a quote lies before it
                    quoted = not quoted
                    offset += 1
                if not quoted and (found := piece.rfind(b"\n")) >= 0:
                    end = offset + found + 1
                offset += len(piece)
    return end
