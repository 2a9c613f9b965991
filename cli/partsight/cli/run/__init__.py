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
    devices,
    finite,
    of_camera,
    policy,
    positive,
    region,
)
from partsight.cli.streams import require_stdout

_DESCRIPTION = """\
Recognise the part in each frame, and write one record a frame: to the sinks that you name, or as a line of JSON to
stdout (docs/results.md lists the sinks and the fields of a record). If a frame cannot be read or answered, its record
has the outcome "failed" and the reason. The run goes on, and its exit code is 4.

Of image files, folders and videos partsight answers every frame, in order. It reopens a live camera that goes away,
and it counts every frame. SIGTERM or Ctrl-C ends the line; the line first answers and writes all frames that it has
accepted. A second Ctrl-C ends it at once.

--config reads the settings of the line from a TOML file. Its keys are the options below (docs/line.md). An option
of the command replaces the key of the file.
"""

_EXAMPLE = """\
examples:
  partsight run line3.partsight photo.jpg
  partsight run line3.partsight --camera folder:photos > results.jsonl
  partsight run line3.partsight --camera folder:photos --provider cuda --precision fp16 --batch 64
  partsight run line3.partsight --camera folder:photos --provider cuda --device 0,1
  partsight run line3.partsight photos/*.jpg --top 1
  partsight run line3.partsight --camera usb:0 --sink sqlite:results.db --deadline-ms 200 --watch
  partsight run line3.partsight --camera left=usb:0 --camera right=rtsp://10.0.0.7/live --sink jsonl:results.jsonl
  partsight run line3.partsight --camera usb:0 --sink images:kept --page ':9200?data=page'
  partsight run --config line3.toml --check
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight run` to the command."""
    parser = subparsers.add_parser(
        "run",
        help="recognise parts in images or in frames of cameras",
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
        help="package that `partsight export` wrote, and image files, in the order of the answers",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with the settings of the line")
    parser.add_argument(
        "--check", action="store_true", help="check the file, the package and the addresses, print the plan, and end"
    )
    parser.add_argument(
        "--camera",
        metavar="[NAME=]ADDRESS",
        action="append",
        help="folder:PATH, video:PATH, usb:N, rtsp://... and more (docs/cameras.md); repeat it for several cameras",
    )
    parser.add_argument(
        "--provider",
        help="execution provider: cpu, openvino, cuda, tensorrt or auto (default: cpu). If it does not work, the run "
        "ends with an error; it never takes another one. auto takes the fastest that works, and logs which and why. "
        "kserve://HOST:PORT/MODEL asks a server (docs/remote.md)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="number format in which the network computes (default: fp32)",
    )
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="most frames that are answered at once (default: 16)"
    )
    parser.add_argument("--cache", metavar="FOLDER", help="folder in which OpenVINO and TensorRT keep compiled models")
    parser.add_argument(
        "--device",
        type=devices,
        metavar="N[,N...]",
        help="card of cuda and tensorrt, NUMA node of cpu and openvino (default: the first card, all cores). With "
        "several numbers, one recogniser on each answers (docs/devices.md)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads of the network (default: one a physical core)"
    )
    parser.add_argument(
        "--threshold",
        type=finite,
        metavar="SCORE",
        help="answer unknown below this score (default: the threshold of the package). `partsight inspect PACKAGE` "
        "shows that threshold, the range of scores, and the share of frames that other thresholds refuse",
    )
    parser.add_argument("--top", type=positive, metavar="N", help="number of candidates in a record (default: 5)")
    parser.add_argument(
        "--trusted-key",
        dest="trusted_keys",
        metavar="KEY.pub",
        action="append",
        help="load the package only if this key has signed it (docs/signing.md); repeat it for several keys, one of "
        "which must have signed",
    )
    _add_line_options(parser)
    parser.set_defaults(run=run)


def _add_line_options(parser: argparse.ArgumentParser) -> None:
    line = parser.add_argument_group("the line")
    line.add_argument(
        "--sink",
        metavar="ADDRESS",
        action="append",
        help="where records go: jsonl:PATH, csv:, sqlite:, images:, mqtt://, modbus://, opcua:// (docs/results.md); "
        "repeat it for several sinks (default: JSON lines on stdout)",
    )
    line.add_argument(
        "--policy",
        type=of_camera(policy),
        action="append",
        metavar="[NAME=]POLICY",
        help="handling of frames while the network is busy: latest skips all but the newest, queue:N keeps up to N "
        "frames, block waits and skips none. NAME limits it to one camera; without NAME it applies to all cameras, "
        "but not to files next to live cameras (default: latest; block for files). Repeat it for several cameras",
    )
    line.add_argument(
        "--deadline-ms",
        type=of_camera(above_zero),
        action="append",
        metavar="[NAME=]MS",
        help="do not answer a frame if its turn comes later than this after its arrival; count it as expired. NAME "
        "works as in --policy",
    )
    line.add_argument("--takt-ms", type=of_camera(above_zero), action="append", help=argparse.SUPPRESS)  # old name
    line.add_argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        help="load a new package that appears at the path of PACKAGE, without a stop",
    )
    line.add_argument("--log", choices=LOG_FORMS, help="format of the log on stderr, one event a line (default: text)")
    line.add_argument(
        "--metrics",
        metavar="[HOST]:PORT",
        help="serve metrics for Prometheus and /healthz at this address; without HOST only to this machine",
    )
    line.add_argument(
        "--page",
        metavar="[HOST]:PORT?data=FOLDER",
        help="serve the page for the people at the line; its accounts are in FOLDER, see `partsight account`. "
        "docs/page.md lists more options",
    )
    camera = parser.add_argument_group("settings of cameras; an error if a camera does not support one")
    camera.add_argument("--exposure-us", type=above_zero, metavar="US", help="exposure time in microseconds")
    camera.add_argument("--gain-db", type=finite, metavar="DB", help="gain in decibels")
    camera.add_argument(
        "--fps",
        type=above_zero,
        metavar="N",
        help="frames a second of a camera that runs freely, of folder: and of video:",
    )
    camera.add_argument("--region", type=region, metavar="X,Y,W,H", help="part of the sensor to read, in its pixels")
    camera.add_argument(
        "--trigger", choices=TRIGGERS, help="what starts an exposure: the camera's clock, its input line, or partsight"
    )
    camera.add_argument(
        "--timeout-s",
        type=above_zero,
        metavar="S",
        help="seconds without a frame until a camera counts as stalled (default: 3)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the line that options and file describe, and return the exit code."""
    from partsight.cli.log import hush_libraries

    hush_libraries()
    from partsight.cli.run.arguments import describe
    from partsight.cli.run.check import print_plan
    from partsight.cli.run.config import ConfigError
    from partsight.cli.run.line import run_line

    try:
        config = describe(args)
    except ConfigError as error:
        if args.config is None:
            args.parser.error(str(error))
        print(f"partsight: error: {error}", file=sys.stderr)  # the usage does not describe the file
        return ExitCode.USAGE
    if not args.check:
        return run_line(config)
    require_stdout()
    print_plan(config)
    return ExitCode.DONE
