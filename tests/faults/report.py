"""Results of campaigns as Markdown tables."""

from collections.abc import Sequence

from tests.faults.campaign import Row
from tests.faults.injector import Kind

_FIGURES = ("operations", "injected", "old", "new", "between", "unreported", "again", "left")
_NAMES = (*_FIGURES[:6], "next run works", "left after it")

HEAD = f"| job | fault | {' | '.join(_NAMES)} |\n|---|---|{'--:|' * len(_FIGURES)}"


def line_of(row: Row) -> str:
    """Return one line of the table under `HEAD`."""
    figures = " | ".join(str(getattr(row, name)) for name in _FIGURES)
    return f"| {row.job} | {row.fault.name.lower()} | {figures} |"


def summary(rows: Sequence[Row]) -> str:
    """Return a table of all faults together, a line for each job. Operations count if any fault can meet them."""
    lines = [f"| job | {' | '.join(_NAMES)} |", f"|---|{'--:|' * len(_FIGURES)}"]
    totals = dict.fromkeys(_FIGURES, 0)
    for job in dict.fromkeys(row.job for row in rows):
        own = [row for row in rows if row.job == job]
        figures = {name: sum(getattr(row, name) for row in own) for name in _FIGURES[1:]}
        figures = {"operations": _operations(own), **figures}
        totals = {name: totals[name] + figures[name] for name in _FIGURES}
        lines.append(_summary_line(job, figures))
    return "\n".join([*lines, _summary_line("all", totals)])


def _operations(rows: Sequence[Row]) -> int:
    reads = max((row.operations for row in rows if row.fault.is_reading), default=0)
    changes = max((row.operations for row in rows if not row.fault.is_reading and row.fault != Kind.KILL), default=0)
    kills = max((row.operations for row in rows if row.fault == Kind.KILL), default=0)  # of changes, or of all
    return max(reads + changes, kills)


def _summary_line(job: str, figures: dict[str, int]) -> str:
    return f"| {job} | {' | '.join(f'{figures[name]:,}' for name in _FIGURES)} |"
