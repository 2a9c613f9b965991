"""`partsight review`: say of the frames that the line kept what they show."""

import argparse
import sys
from typing import Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.streams import require_stdout

_DESCRIPTION = """\
Show the frames that a sink `images:FOLDER` keeps, those of one answer in a row, the most doubtful first, and keep what
you say of each. A decision moves the frame at once:

  FOLDER/confirmed/LABEL   it shows the part LABEL
  FOLDER/not_taught        it shows a part that the package does not have, or no part
  FOLDER/discarded         it is of no use

`commission`, `enroll` and `train` read these folders as they are. The sink never removes a frame from them. At the end
the command names parts that are corrected often, and parts that are mistaken for each other.
"""

_KEYS = """\
keys, each with Enter:
  Enter, y     the first candidate is right
  2, 3         that candidate is right
  l LABEL      another part of the package is right
  u            the part is not taught, or there is none
  d            discard the frame
  b            back to the frame before
  q            quit; all decisions are kept already

"""

_EXAMPLE = """\
examples:
  partsight review kept --package line3.partsight
  partsight review kept --list
  partsight review kept --decisions decisions.csv

Then teach the package: partsight commission line3.partsight kept --out line4.partsight
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight review` to the command."""
    parser = subparsers.add_parser(
        "review",
        help="say what frames of the line show, to learn from them",
        description=_DESCRIPTION,
        epilog=_KEYS + _EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the sink images:FOLDER")
    parser.add_argument(
        "--package",
        metavar="PACKAGE",
        help="package of the line: a label must be one of its parts, and FOLDER/why gets a picture of each shown frame "
        "that explains the package's answer. Without it, a label must occur in the records of FOLDER",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--list", action="store_true", help="print a table of all frames and decisions, and end")
    way.add_argument("--json", action="store_true", help="print all frames, decisions and records as JSON, and end")
    way.add_argument(
        "--decisions",
        metavar="FILE.csv",
        help="take decisions from a table with the columns file,label, and end; without label the part is not taught",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Review the folder and return the exit code."""
    is_asking = not (args.list or args.json or args.decisions)
    if is_asking and not sys.stdin.isatty():
        args.parser.error("standard input is no terminal; use --decisions FILE.csv, or --list or --json to look")
    require_stdout()
    from partsight.cli.review.labels import Labels
    from partsight.cli.review.table import print_faults, print_json, print_summary, print_table
    from partsight.runtime.feedback import read_feedback

    feedback = read_feedback(args.folder)
    if args.decisions:
        from partsight.cli.review.decisions_file import apply_decisions

        apply_decisions(args.decisions, feedback, Labels.of(feedback, args.package))
    elif is_asking:
        from partsight.cli.review.session import Session

        Session(feedback, Labels.of(feedback, args.package), args.package).run()
    if is_asking or args.decisions:
        feedback = read_feedback(args.folder)
    if args.json:
        print_json(feedback)
    else:
        if args.list:
            print_table(feedback)
        print_summary(feedback, args.package)
    print_faults(feedback)
    return ExitCode.DONE
