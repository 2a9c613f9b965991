"""`python -m tests.faults`: break every file operation of every job, and print a table of what came of it."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.faults.campaign import FAULTS, Campaign, table
from tests.faults.injector import Kind, preload, why_not
from tests.faults.jobs import JOBS


def main() -> int:
    args = _parse()
    if reason := why_not():
        print(f"faults cannot be injected here: {reason}", file=sys.stderr)
        return 2
    preload("tests.faults")
    started = time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory(prefix="partsight-faults-") as scratch:
        campaign = Campaign(JOBS[args.job], Path(scratch).resolve(), args.log)
        for name in args.fault or [kind.name for kind in FAULTS]:
            row = campaign.row(Kind[name.upper()], args.every, args.first, not args.no_next_run)
            rows.append(row)
            print(table([row]).splitlines()[-1], flush=True)
    print(f"\n{table(rows)}\n\n{time.monotonic() - started:.0f} s")
    problems = [problem for row in rows for problem in row.problems]
    print("\n".join(problems) or "no problem was found")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 1 if problems else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--fault", action="append", choices=[kind.name.lower() for kind in FAULTS])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="break only every N-th operation")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="operation to begin with")
    parser.add_argument("--no-next-run", action="store_true", help="do not run the job again after each fault")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append every counted operation to it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
