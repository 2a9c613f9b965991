"""Does a line lose a result when a camera, a broker, a disk or a callback fails?

Each scenario runs a line with real components, and breaks one of them again and again. Then it counts by sequence
numbers: every frame that the line accepted must be at every sink, and every fault in a counter. The benchmark skips
faults that this machine cannot inject, and the table says why. The exit code is 1 if the line lost a result.

Example:
    python -m benchmarks.reliability.faults line3.partsight --data PARTS
    python -m benchmarks.reliability.faults line3.partsight --data PARTS --times 5 --only camera broker
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.common.configurations import left_out_text
from benchmarks.common.results import make_parser, markdown_table, write_results
from benchmarks.reliability.fault_scenarios import SCENARIOS, CannotError, FaultRow, FaultScene
from partsight.runtime.core import progress_bar


def main(arguments: list[str] | None = None) -> int:
    """Run all scenarios, write result files, and return 1 if the line lost a result."""
    args = _parse(arguments)
    rows: list[FaultRow] = []
    left_out: dict[str, str] = {}
    names = args.only or list(SCENARIOS)
    with progress_bar(len(names) * args.times, "breaking", "fault") as bar:
        for name in names:
            bar.set_postfix_str(name)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    rows.append(SCENARIOS[name](FaultScene(args, Path(folder), bar.update)))
                except CannotError as error:
                    left_out[name] = str(error)
    text = _table(rows) + left_out_text(left_out)
    print(text)
    write_results(args.out, args.name, {"rows": [asdict(row) for row in rows], "left_out": left_out}, text)
    return 1 if any(row.lost or row.repeated for row in rows) else 0


def _table(rows: Sequence[FaultRow]) -> str:
    head = ("fault", "times", "frames seen", "accepted", "at the sinks", "lost", "twice", "shown by the counters")
    return markdown_table(
        head,
        [
            (
                row.fault,
                str(row.injected),
                f"{row.seen:,}",
                f"{row.accepted:,}",
                ", ".join(f"{name} {count:,}" for name, count in row.kept.items()),
                str(row.lost),
                str(row.repeated),
                row.counters,
            )
            for row in rows
        ],
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "faults")
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument(
        "--times", type=int, default=20, help="number of injections of each fault (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(SCENARIOS), help="scenarios to run (default: all)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
