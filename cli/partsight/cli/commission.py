"""`partsight commission`: fit a package to the frames of a line."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.cluster import add_address, batch_map
from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import finite

if TYPE_CHECKING:
    from partsight.runtime.calibration.commissioning import Commissioned
    from partsight.runtime.feedback import KeptFrame

_MAX_REFUSED = 0.01
_MAX_TASKS = 2  # of the report, on the terminal
_MAX_OPEN = 0.1  # share of kept frames that nobody reviewed

_DESCRIPTION = """\
Fit PACKAGE to a line by frames of it, and write a new package. The old one stays as it is. The new one has the same
network to the bit; its decision, and the further references of parts that fit badly, come from the frames.

FRAMES is one of these:

  a folder with one folder of frames for each part, named like the part
  a CSV file with the columns file and label
  a folder that `--sink images:` kept and `partsight review` sorted
  a folder of frames without labels: partsight uses those whose part is clear

The new package holds the report commissioning.html: whether the package is ready for the line, and what to do if not.
"""

_EXAMPLE = """\
examples:
  partsight commission line3.partsight frames --out line3_fitted.partsight
  partsight commission line3.partsight frames.csv --unknown foreign --out line3_fitted.partsight
  partsight commission line3_fitted.partsight --undo --out line3_before.partsight
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight commission` to the command."""
    parser = subparsers.add_parser(
        "commission",
        help="fit a package to the frames of a line",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        usage="%(prog)s PACKAGE FRAMES --out NEW [--unknown FOLDER] [--max-false-reject SHARE] [--address HOST:PORT]\n"
        "       %(prog)s PACKAGE --undo --out NEW",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="the package to start from")
    parser.add_argument("frames", metavar="FRAMES", nargs="?", help="frames of the line, see above")
    parser.add_argument("--out", required=True, metavar="NEW", help="package to write; must not exist")
    parser.add_argument(
        "--unknown", metavar="FOLDER", help="frames of parts that the package does not have, or of none"
    )
    parser.add_argument(
        "--max-false-reject",
        type=_share,
        default=_MAX_REFUSED,
        metavar="SHARE",
        help="share of frames of taught parts that may get no label (default: 0.01)",
    )
    add_address(parser, "reading and comparing the frames")
    parser.add_argument("--undo", action="store_true", help="write the package as it was before its last commissioning")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Commission and return the exit code."""
    if args.undo == (args.frames is not None):
        args.parser.error("name FRAMES to commission, or --undo to go back, and not both")
    from partsight.runtime.calibration.commissioning import commission, undo_commissioning

    if args.undo:
        print(f"package:  {undo_commissioning(args.package, args.out).path}, as before its last commissioning")
    else:
        with batch_map(args.address) as run_batches:
            done = commission(
                args.package,
                _frames(args.frames),
                args.out,
                unknown=args.unknown,
                max_false_reject=args.max_false_reject,
                run=run_batches,
            )
        _print_result(done)
    from partsight.runtime.core import SIGNATURE_NAME

    if (Path(args.package) / SIGNATURE_NAME).is_file():
        print("signature: none, as the package is new; run: partsight sign PACKAGE --key KEY")
    return ExitCode.DONE


def _share(text: str) -> float:
    share = finite(text)
    if not 0 < share <= 0.5:
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a share above 0, at most 0.5, such as 0.01")
    return share


def _frames(path: str) -> "str | tuple[KeptFrame, ...]":
    """Return the frames that a person confirmed, of a folder that was reviewed; else the path."""
    from partsight.runtime.feedback import confirmed_frames, is_reviewed

    if not is_reviewed(path):
        return path
    _refuse_half_reviewed(path)
    return confirmed_frames(path)


def _refuse_half_reviewed(path: str) -> None:
    """Refuse a folder whose review stopped half-way: it begins with the most doubtful frames."""
    from partsight.runtime.core import CommissionError
    from partsight.runtime.feedback import read_feedback

    frames = read_feedback(path).frames
    newest = max((frame.name for frame in frames if frame.verdict != "open"), default="")
    shown = [frame for frame in frames if frame.name <= newest]  # the line may have kept more meanwhile
    left = sum(frame.verdict == "open" for frame in shown)
    if left > _MAX_OPEN * len(shown):
        raise CommissionError(
            f"{path}: {left} of {len(shown)} frames are not reviewed. A review begins with the most doubtful ones, so "
            f"the others are no fair sample of the line: run `partsight review {path}`, and commission again"
        )


def _print_result(done: "Commissioned") -> None:
    print(f"{done.verdict.word}. {done.verdict.sentence}")
    for name, value in _facts(done):
        print(f"{name + ':':<12}{value}")
    for task in done.tasks[:_MAX_TASKS]:
        print(f"to do:      {task.text}" + (f"\n            {task.command}" if task.command else ""))
    for path, cause in done.used.faults.items():
        print(f"partsight: warning: left out {path}: {cause}", file=sys.stderr)


def _facts(done: "Commissioned") -> Iterator[tuple[str, str]]:
    from partsight.runtime.calibration.commissioning import REPORT_FILE, percent

    used, before, after = done.used, done.before, done.after
    labels = "" if used.is_confirmed else f", not confirmed; {used.unclear:,} left out, as their part is not clear"
    yield "frames", f"{used.taught:,} of {used.parts:,} parts, {used.unknown:,} of unknown parts{labels}"
    yield "refused", f"{percent(before.refused)} of them before, {percent(after.refused)} now"
    yield "wrong", f"{percent(before.wrong)} before, {percent(after.wrong)} now"
    yield "not taught", f"{percent(before.siblings)} get a label before, {percent(after.siblings)} now"
    if before.unknown and after.unknown:
        yield "unknown", f"{percent(before.unknown)} get a label before, {percent(after.unknown)} now"
    offsets = [spread for spread in done.line.poses if abs(spread.middle) >= 1]
    shared = ", ".join(f"{spread.name} {spread.middle:.1f} {spread.unit}" for spread in offsets)
    beyond = [spread.name for spread in done.line.spreads if not spread.is_expected]
    yield (
        "line",
        (f"offset that all share: {shared}; " if shared else "")
        + (f"beyond the expected range: {', '.join(beyond)}" if beyond else "in the expected range"),
    )
    added = sum(len(trial.added) for trial in done.trials)
    yield "parts", f"{len(done.parts)} with a frame that fails; {added} further references added"
    yield "package", str(done.package.path)
    yield "report", str(done.package.path / REPORT_FILE)
