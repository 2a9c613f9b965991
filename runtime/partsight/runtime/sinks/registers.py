"""Numbers as a PLC reads them: 16 bits each."""

import csv
import io
import math
from pathlib import Path

from partsight.runtime.errors import SinkError

UNLISTED = 65535
"""The part number of a label that the table does not have."""

NO_NUMBER = 0x8000
"""Where there is no score."""

_LARGEST_BYTES = 2**26
"""Of a table: all numbers, each with a label of 1,000 letters, as long as one may be."""

_LONGEST_SHOWN = 200


def two(number: int) -> tuple[int, int]:
    """Return the upper and the lower half of an unsigned 32-bit number, which starts again at 0."""
    return number >> 16 & 0xFFFF, number & 0xFFFF


def scaled(number: float | None) -> int:
    """Return ten-thousandths as a signed 16-bit number; `NO_NUMBER` for none."""
    if number is None or not math.isfinite(number):
        return NO_NUMBER
    return max(-32767, min(32767, round(number * 10_000))) & 0xFFFF


def read_labels(path: str) -> dict[str, int]:
    """Return the part number of each label, from a CSV file with columns `number` and `label`.

    Raises:
        SinkError: the file cannot be read, is larger than any such table, or has a row that is none.
    """
    numbers: dict[str, int] = {}
    given: set[int] = set()
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            raise SinkError(
                f"{path}: the table of labels has more than {_LARGEST_BYTES:,} bytes; expected at most "
                f"{UNLISTED - 1:,} rows of a number and a label"
            )
        for line, row in enumerate(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")), 2):
            number, label = row.get("number") or "", row.get("label") or ""
            is_number = len(number) <= len(str(UNLISTED)) and number.isascii() and number.isdigit()
            place = int(number) if is_number else 0
            if not 1 <= place < UNLISTED or not label or label in numbers or place in given:
                raise SinkError(
                    f"{path}: row {line} is number {_shown(number)}, label {_shown(label)}; expected columns number "
                    f"and label, numbers from 1 to {UNLISTED - 1}, and each number and label once"
                )
            numbers[label] = place
            given.add(place)
    except (OSError, ValueError, csv.Error) as error:
        raise SinkError(f"{path}: the table of labels cannot be read: {error}") from error
    return numbers


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")
