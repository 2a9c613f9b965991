"""Numbers as a PLC reads them, 16 bits each, and the table of part numbers."""

import codecs
import csv
import io
import math
import re
from collections import UserDict
from collections.abc import Collection, Iterator
from pathlib import Path

from partsight.runtime.core import USABLE, SinkError, folded, is_usable, normalized

UNLISTED = 65535
"""Part number of a label that is not in the table."""

NO_NUMBER = 0x8000
"""Register of a missing score."""

_MAX_BYTES = 2**26
"""Limit of a table: all numbers, each with a label of 1,000 letters, the longest that may be."""

_MAX_SHOWN = 200
_MAX_NAMED = 5
_DELIMITERS = ",;\t"
_SEPARATOR_LINE = re.compile(r"sep=[,;\t]\s*", re.IGNORECASE)
"""First line of Excel, which names the delimiter."""


class NumberTable(UserDict[str, int]):
    """Numbers by name, in any encoding of its accents, see `normalized`."""

    def __getitem__(self, name: str) -> int:
        return super().__getitem__(normalized(name))

    def __setitem__(self, name: str, number: int) -> None:
        super().__setitem__(normalized(name), number)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and normalized(name) in self.data


def two_words(number: int) -> tuple[int, int]:
    """Return the upper and the lower half of an unsigned 32-bit number, which wraps around to 0."""
    return number >> 16 & 0xFFFF, number & 0xFFFF


def scaled(number: float | None) -> int:
    """Return ten-thousandths as a signed 16-bit number; `NO_NUMBER` for none."""
    if number is None or not math.isfinite(number):
        return NO_NUMBER
    return max(-32767, min(32767, round(number * 10_000))) & 0xFFFF


def read_labels(path: str) -> NumberTable:
    """Read the part number of each label from a CSV file with columns `number` and `label`.

    Commas, semicolons or tabs separate the columns. The text is UTF-8, or UTF-16 with its mark. Spaces around a cell
    and empty rows are ignored.

    Raises:
        SinkError: the file cannot be read, is too large, has no row, or has a wrong row.
    """
    numbers = NumberTable()
    used: set[int] = set()
    try:
        for line, number, label in _rows(path, _text(path)):
            is_number = len(number) <= len(str(UNLISTED)) and number.isascii() and number.isdigit()
            value = int(number) if is_number else 0
            if fault := _fault(value, label, is_taken=label in numbers or value in used):
                raise SinkError(f"{path}: row {line} is number {_shown(number)}, label {_shown(label)}; {fault}")
            numbers[label] = value
            used.add(value)
    except (OSError, ValueError, csv.Error) as error:
        raise SinkError(f"{path}: the table of labels cannot be read: {error}") from error
    if not numbers:
        raise SinkError(
            f"{path}: the table of labels has no row; expected one for each part after `number,label`, such as 1,M8x40"
        )
    return numbers


def compare_labels(path: str, numbers: NumberTable, labels: Collection[str]) -> list[str]:
    """Return a sentence for each difference between a table of part numbers and the labels of a package.

    Raises:
        SinkError: the table has no number for any of the labels.
    """
    known = {normalized(label) for label in labels}
    missing = [label for label in labels if label not in numbers]
    foreign = [label for label in numbers if label not in known]
    hint = _changed_row(missing, foreign)
    if len(missing) == len(known):
        raise SinkError(
            f"{path}: the table of labels has a number for none of the package's {len(known)} parts ({named(missing)}):"
            f" its rows, {len(numbers)} in all, name {named(foreign)}; expected the table of this package{hint}"
        )
    found = []
    if missing:
        found.append(
            f"{len(missing)} of {len(known)} labels of the package have no number in {path}: {named(missing)}; the PLC "
            f"gets {UNLISTED} for them{hint}"
        )
    if foreign:
        found.append(f"{path} names parts that the package does not have, {len(foreign)} in all: {named(foreign)}")
    return found


def compare_cameras(numbers: NumberTable, cameras: Collection[str]) -> list[str]:
    """Return a sentence for each difference between the numbered cameras and the cameras of a line.

    Raises:
        SinkError: cameras have numbers, but no camera of the line has one.
    """
    missing = [name for name in cameras if name not in numbers]
    foreign = [name for name in numbers if name not in NumberTable.fromkeys(cameras, 0)]
    if numbers and len(missing) == len(cameras):
        raise SinkError(f"cameras= names {named(foreign)}, and the line has {named(cameras)}; name cameras of the line")
    found = []
    if missing and len(cameras) > 1:
        found.append(f"cameras= does not name {named(missing)}: the PLC gets 0 as the number of such a camera")
    if foreign:
        found.append(f"cameras= names {named(foreign)}, and the line has no such camera")
    return found


def named(names: Collection[str]) -> str:
    """Return the first few names, separated by commas."""
    few = [name for name, _ in zip(names, range(_MAX_NAMED), strict=False)]
    return ", ".join(few) + (", …" if len(names) > len(few) else "")


def _fault(number: int, label: str, *, is_taken: bool) -> str:
    """Return the fault of a row; empty if it has none."""
    if not 1 <= number < UNLISTED:
        return f"expected a whole number from 1 to {UNLISTED - 1}, without a decimal point"
    if not is_usable(label):
        return f"expected a label as the package has it: {USABLE}"
    return "expected each number and each label once, accents in another encoding included" if is_taken else ""


def _text(path: str) -> str:
    with Path(path).open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise SinkError(
            f"{path}: the table of labels has more than {_MAX_BYTES:,} bytes; expected at most "
            f"{UNLISTED - 1:,} rows of a number and a label"
        )
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SinkError(
            f"{path}: the table of labels is not in UTF-8 ({error.reason} at byte {error.start}); "
            'save it again: in Excel as "CSV UTF-8", in an editor with encoding UTF-8'
        ) from error


def _rows(path: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, number and label of each row that is not empty."""
    file = io.StringIO(text, newline="")
    head, before = file.readline(), 1
    if _SEPARATOR_LINE.fullmatch(head):
        head, before = file.readline(), 2
    delimiter, names = _columns(path, head)
    number, label = names.index("number"), names.index("label")
    # Strict, since an open quote would turn all rows after it into one label.
    rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * (len(names) - len(row))
        if any(cells[len(names) :]):
            raise SinkError(
                f"{path}: row {before + rows.line_num} has {len(row)} cells; expected {len(names)}: put a label that "
                f"holds {delimiter!r} in quotes"
            )
        if any(cells):
            yield before + rows.line_num, cells[number], cells[label]


def _columns(path: str, head: str) -> tuple[str, list[str]]:
    """Return the delimiter and the names of the columns."""
    for delimiter in _DELIMITERS:
        cells = next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), [])
        names = [cell.strip().casefold() for cell in cells]
        if names.count("number") == names.count("label") == 1:
            return delimiter, names
    raise SinkError(
        f"{path}: begins with {_shown(head.rstrip())}; expected columns number and label: make `number,label` the first"
        " row, then write a row for each part, such as 1,M8x40"
    )


def _changed_row(missing: Collection[str], foreign: Collection[str]) -> str:
    """Return a hint at a row that differs from a part only in case, spaces or leading zeros, as spreadsheets do it."""
    rows = {_plain(label): label for label in foreign}
    for label in missing:
        if _plain(label) in rows:
            return (
                f". Row {_shown(rows[_plain(label)])} may be part {_shown(label)}: write the label as the package has "
                "it, in a spreadsheet in a column of format Text"
            )
    return ""


def _plain(label: str) -> str:
    return folded(label).replace(" ", "").lstrip("0")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
