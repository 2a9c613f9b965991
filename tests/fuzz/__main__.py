"""`python -m tests.fuzz`: many cases of every surface, divided by their shares."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.catalog import SURFACES
from tests.fuzz.report import describe, sort_of, table
from tests.fuzz.runner import Tally, run, run_shares, usable_cores


def main() -> int:
    """Run the cases that the command line selects; return 1 after a finding."""
    options = _parse()
    tallies = []
    for tally in _run(options):
        tallies.append(tally)
        print(f"{tally.surface}: {tally.cases:,} cases, {len(tally.findings)} findings", flush=True)
        _print_findings(tally)
    print(table(tallies))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(tally) for tally in tallies], indent=1), encoding="utf-8")
    return int(any(tally.findings for tally in tallies))


def _run(options: argparse.Namespace) -> Iterator[Tally]:
    if not options.surface:
        return run_shares(list(SURFACES.values()), options.first, options.cases, options.jobs)
    return (run(SURFACES[name], options.first, options.cases, options.jobs) for name in options.surface)


def _print_findings(tally: Tally) -> None:
    """Print one finding of each sort in full."""
    sorts = Counter(sort_of(finding) for finding in tally.findings)
    for sort, count in sorts.most_common():
        found = next(item for item in tally.findings if sort_of(item) == sort)
        print(f"--- {count} of this sort\n{describe(found)}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000, help="number of cases; with --surface, of each surface")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to continue an earlier run")
    parser.add_argument("--surface", action="append", choices=list(SURFACES), help="run only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="number of processes at a time")
    parser.add_argument("--out", type=Path, help="JSON file for the figures and findings")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
