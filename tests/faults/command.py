"""The command that breaks file operations of jobs, one at a time, and prints a table of the outcomes."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.faults.campaign import Campaign, Row
from tests.faults.injector import preload, why_not
from tests.faults.job import FAULTS, Job
from tests.faults.report import HEAD, line_of, summary


def main(jobs: Mapping[str, Job], module: str) -> int:
    """Run the command and return its exit code: 1 if there is a problem, 2 if no fault can be injected here.

    Args:
        jobs: Jobs by name.
        module: Name of the calling module, which the command restarts.
    """
    args = _parse(jobs, module)
    if reason := why_not():
        print(f"this machine cannot inject faults: {reason}", file=sys.stderr)
        return 2
    preload(module)
    started = time.monotonic()
    print(HEAD)
    rows = [row for name in args.job or jobs for row in _break(jobs[name], args)]
    print(f"\n{summary(rows)}\n\n{time.monotonic() - started:.0f} s")
    problems = sum(len(row.problems) for row in rows)
    print(f"{sum(row.injected for row in rows)} faults injected, {problems or 'no'} problems found")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([{**asdict(row), "fault": row.fault.name.lower()} for row in rows], indent=1))
    return 1 if problems else 0


def _break(job: Job, args: argparse.Namespace) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="partsight-faults-") as scratch:
        campaign = Campaign(job, Path(scratch).resolve(), args.log)
        for index, fault in enumerate(job.faults):
            if args.fault and fault.name.lower() not in args.fault:
                continue
            # In a sample, each fault breaks different operations.
            first = args.first or 1 + index % max(1, min(args.every, campaign.operations[fault]))
            row = campaign.row(fault, args.every, first, not args.no_next_run)
            rows.append(row)
            print(f"{line_of(row)} {row.seconds:.0f} s", flush=True)
            print("".join(f"  {problem}\n" for problem in row.problems), end="", flush=True)
    return rows


def _parse(jobs: Mapping[str, Job], module: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=__doc__)
    parser.add_argument("job", nargs="*", metavar="JOB", help=f"job of {', '.join(jobs)}; default: all jobs")
    parser.add_argument("--fault", action="append", choices=[kind.name.lower() for kind in FAULTS])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="break only every N-th operation")
    parser.add_argument("--first", type=int, metavar="N", help="number of the first operation to break")
    parser.add_argument("--no-next-run", action="store_true", help="do not run the job again after each fault")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append every counted operation to it")
    args = parser.parse_args()
    if unknown := set(args.job) - jobs.keys():
        parser.error(f"there is no job {', '.join(sorted(unknown))}; expected some of: {', '.join(jobs)}")
    return args
