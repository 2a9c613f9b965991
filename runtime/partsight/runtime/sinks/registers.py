"""Numbers as a PLC reads them: 16 bits each."""

import csv
import math
from pathlib import Path

from partsight.runtime.errors import SinkError

UNLISTED = 65535
"""The part number of a label that the table does not have."""

NO_NUMBER = 0x8000
"""Where there is no score."""


def two(number: int) -> tuple[int, int]:
    """Return the upper and the lower half of an unsigned 32-bit number, which starts again at 0."""
    return number >> 16 & 0xFFFF, number & 0xFFFF


def scaled(number: float | None) -> int:
    """Return ten-thousandths as a signed 16-bit number; `NO_NUMBER` for none."""
    if number is None or not math.isfinite(number):
        return NO_NUMBER
    return max(-32767, min(32767, round(number * 10_000))) & 0xFFFF


def read_labels(path: str) -> dict[str, int]:
    """Return the part number of each label."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise SinkError(f"{path}: the table of labels cannot be read: {error}") from error
    numbers: dict[str, int] = {}
    given: set[int] = set()
    for line, row in enumerate(rows, 2):
        number, label = row.get("number") or "", row.get("label") or ""
        is_number = len(number) <= len(str(UNLISTED)) and number.isascii() and number.isdigit()
        place = int(number) if is_number else 0
        if not 1 <= place < UNLISTED or not label or label in numbers or place in given:
            raise SinkError(
                f"{path}: row {line} is number {number!r}, label {label!r}; expected columns number and label, numbers "
                f"from 1 to {UNLISTED - 1}, and each number and label once"
            )
        numbers[label] = place
        given.add(place)
    return numbers
