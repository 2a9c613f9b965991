"""`partsight run`: recognise the parts in images or in the frames of cameras."""

import argparse
import sys
from typing import Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import (
    LOG_FORMS,
    PRECISIONS,
    TRIGGERS,
    above_zero,
    finite,
    of_camera,
    policy,
    positive,
    region,
    whole,
)
from partsight.cli.streams import require_stdout

_DESCRIPTION = """\
Recognise the part in each frame and write one record a frame: as a line of JSON on stdout, or to the sinks that are
named (docs/results.md lists them, and what a record holds). A frame that cannot be read or answered gives a record of
outcome "failed" that says why; it does not stop the run, and the exit code is then 4.

Image files, folders and videos are answered whole and in order. Live cameras that go away are opened again, every
frame is counted, and SIGTERM or Ctrl-C ends the line after what was accepted is answered and written; a second Ctrl-C
does not wait for that.

--config takes all of this from a TOML file, whose keys are the options below (docs/runtime.md); options beside it win.
"""

_EXAMPLE = """\
examples:
  partsight run line3.partsight photo.jpg
  partsight run line3.partsight --camera folder:photos > results.jsonl
  partsight run line3.partsight --camera folder:photos --provider cuda --precision fp16 --batch 64
  partsight run line3.partsight photos/*.jpg --top 1
  partsight run line3.partsight --camera usb:0 --sink sqlite:results.db --takt-ms 200 --watch
  partsight run line3.partsight --camera left=usb:0 --camera right=rtsp://10.0.0.7/live --sink jsonl:results.jsonl
  partsight run --config line3.toml --check
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight run` to the command."""
    parser = subparsers.add_parser(
        "run",
        help="recognise the parts in images or in frames of cameras; JSON lines on stdout",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        usage="%(prog)s PACKAGE (IMAGE ... | --camera [NAME=]ADDRESS ...) [options]\n"
        "       %(prog)s [PACKAGE] --config FILE [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        metavar="PACKAGE IMAGE",
        nargs="*",
        default=[],
        help="what `partsight export` wrote, and image files, which are answered in this order",
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file that describes the line")
    parser.add_argument(
        "--check", action="store_true", help="check file, package and addresses, print what would run, and end"
    )
    parser.add_argument(
        "--camera",
        metavar="[NAME=]ADDRESS",
        action="append",
        help="folder:PATH, video:PATH, usb:N, rtsp://… and more (docs/cameras.md); may stand several times",
    )
    parser.add_argument(
        "--provider",
        help="cpu, openvino, cuda or tensorrt (default: cpu): this one or an error, never another; auto takes "
        "the fastest that works, and says which and why",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="what the network is computed in (default: fp32)",
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="the most frames answered at once (default: 16)")
    parser.add_argument("--cache", metavar="FOLDER", help="where OpenVINO and TensorRT keep what they compiled")
    parser.add_argument("--threads", type=positive, metavar="N", help="of the CPU (default: one a physical core)")
    parser.add_argument("--comparers", type=whole, help=argparse.SUPPRESS)  # deprecated: has no effect
    parser.add_argument(
        "--threshold",
        type=finite,
        metavar="SCORE",
        help="a score below it is unknown (default: the package's own; `partsight inspect PACKAGE` shows it, the scale "
        "of scores, and what other thresholds refuse)",
    )
    parser.add_argument("--top", type=positive, metavar="N", help="candidates to name (default: 5)")
    parser.add_argument(
        "--trusted-key",
        dest="trusted_keys",
        metavar="KEY.pub",
        action="append",
        help="load only a package that this key has signed, or another one that is named so (docs/signing.md)",
    )
    _add_line_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_line_options(parser: argparse.ArgumentParser) -> None:
    line = parser.add_argument_group("the line")
    line.add_argument(
        "--sink",
        metavar="ADDRESS",
        action="append",
        help="jsonl:PATH, csv:, sqlite:, images:, mqtt://, modbus://, opcua:// (docs/results.md); may stand several "
        "times (default: JSON lines on stdout)",
    )
    line.add_argument(
        "--policy",
        type=of_camera(policy),
        action="append",
        metavar="[NAME=]POLICY",
        help="for a frame while the network is busy: latest, queue:N or block; without NAME for all cameras, but "
        "not for files next to live cameras (default: latest, and block for files); may stand several times",
    )
    line.add_argument(
        "--takt-ms",
        type=of_camera(above_zero),
        action="append",
        metavar="[NAME=]MS",
        help="a frame whose turn comes later than this after it came is not answered; without NAME as for "
        "--policy; may stand several times",
    )
    line.add_argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        help="put a new package at PACKAGE's path in place of the old, without a stop",
    )
    line.add_argument("--log", choices=LOG_FORMS, help="how events are told on stderr, one a line (default: text)")
    line.add_argument(
        "--metrics",
        metavar="[HOST]:PORT",
        help="serve metrics for Prometheus there, and /healthz; without HOST to this machine alone",
    )
    camera = parser.add_argument_group("cameras; each is checked, and refused where a camera cannot do it")
    camera.add_argument("--exposure-us", type=above_zero, metavar="US", help="time of exposure, in microseconds")
    camera.add_argument("--gain-db", type=finite, metavar="DB", help="amplification, in decibels")
    camera.add_argument(
        "--fps",
        type=above_zero,
        metavar="N",
        help="frames a second of a camera that runs freely, and of folder: and video:",
    )
    camera.add_argument("--region", type=region, metavar="X,Y,W,H", help="part of the sensor, in its pixels")
    camera.add_argument("--trigger", choices=TRIGGERS, help="what starts an exposure")
    camera.add_argument(
        "--timeout-s", type=above_zero, metavar="S", help="until a camera counts as stalled (default: 3)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the line that options and file describe, and return the exit code."""
    from partsight.cli.log import hush_libraries

    hush_libraries()
    from partsight.cli.line import run_line
    from partsight.cli.line_check import print_plan
    from partsight.cli.line_config import ConfigError
    from partsight.cli.line_options import describe

    try:
        config = describe(args)
    except ConfigError as error:
        if args.config is None:
            args.parser.error(str(error))
        print(f"partsight: error: {error}", file=sys.stderr)  # the usage would not tell what a file may hold
        return ExitCode.USAGE
    if not args.check:
        return run_line(config)
    require_stdout()
    print_plan(config)
    return ExitCode.DONE
