"""Text for many cases: a table, and each finding."""

from collections.abc import Sequence

from tests.fuzz.runner import Finding, Tally

KINDS = ("crash", "hang", "memory", "wrong")


def table(tallies: Sequence[Tally]) -> str:
    """Return a table in Markdown: a row for each surface, and their sum."""
    total = Tally("all")
    for tally in tallies:
        total.add(tally)
        total.seconds += tally.seconds
    head = ["surface", "cases", "accepted", "typed errors", *KINDS, "stalls", "slowest case", "grew by", "time"]
    rows = [_row(tally) for tally in (*tallies, total)]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [_line(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def describe(finding: Finding) -> str:
    """Return a finding in full, with the command that runs it again."""
    again = f"python -m tests.fuzz --surface {finding.surface} --first {finding.number} --cases 1"
    return f"{finding.surface} {finding.number}: {finding.kind}: {finding.summary}\nagain: {again}\n{finding.detail}"


def sort_of(finding: Finding) -> tuple[str, str, str]:
    """Return kind, error and last traceback line, which findings of one cause usually share."""
    lines = [line for line in finding.detail.splitlines() if line.lstrip().startswith("File ")]
    return finding.kind, finding.summary.partition(":")[0], lines[-1] if lines else ""


def _row(tally: Tally) -> list[str]:
    return [
        tally.surface,
        f"{tally.cases:,}",
        f"{tally.accepted:,}",
        f"{tally.refused:,}",
        *(str(tally.count(kind)) for kind in KINDS),
        str(tally.stalls),
        f"{tally.slowest_s * 1000:,.1f} ms",
        f"{tally.grown_mb:,.0f} MB",
        f"{tally.seconds:,.0f} s",
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
