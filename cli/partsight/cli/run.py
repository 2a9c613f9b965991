"""`partsight run`: recognise the parts in images or in the frames of cameras."""

import argparse
import sys
from pathlib import Path
from typing import Any

from partsight.cli.options import above_zero, finite, positive, region

_DESCRIPTION = """\
Recognise the part in each frame and print one JSON object a line, in the order of the frames.

A line holds: sequence, source, label (null if the part is unknown), accepted, score, margin (to the second best),
top (the best candidates) and latency_ms (of the frame's batch). A frame that cannot be read or answered gives a line
with sequence, source and error; it does not stop the run, and the exit code is then 4.

With a live camera, several, or any of --sink, --policy, --takt-ms and --watch it is the line: cameras that go away are
opened again, every frame is counted, results go to all sinks (docs/results.md), and SIGTERM or Ctrl-C ends it after
what was accepted is answered and written.
"""

_EXAMPLE = """\
examples:
  partsight run line3.partsight photo.jpg
  partsight run line3.partsight --camera folder:photos > results.jsonl
  partsight run line3.partsight --camera folder:photos --provider cuda --precision fp16 --batch 64
  partsight run line3.partsight photos/*.jpg --threshold 0.7 --top 1
  partsight run line3.partsight --camera usb:0 --sink sqlite:results.db --takt-ms 200 --watch
  partsight run line3.partsight --camera left=usb:0 --camera right=rtsp://10.0.0.7/live --sink jsonl:results.jsonl
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight run` to the command."""
    parser = subparsers.add_parser(
        "run",
        help="recognise the parts in images; JSON lines on stdout",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        usage="%(prog)s PACKAGE (IMAGE ... | --camera [NAME=]ADDRESS ...) [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="what `partsight export` wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="*", default=[], help="image files, answered in this order")
    parser.add_argument(
        "--camera",
        metavar="[NAME=]ADDRESS",
        action="append",
        help="folder:PATH, video:PATH, usb:N, rtsp://… and more (docs/cameras.md); may stand several times",
    )
    parser.add_argument(
        "--provider",
        default="cpu",
        help="cpu, openvino, cuda or tensorrt (default: %(default)s): this one or an error, never another; auto takes "
        "the fastest that works, and says which and why",
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "bf16", "fp16", "int8"),
        help="what the network is computed in (default: %(default)s)",
    )
    parser.add_argument(
        "--batch", type=positive, default=16, metavar="N", help="frames answered at once (default: %(default)s)"
    )
    parser.add_argument("--cache", metavar="FOLDER", help="where OpenVINO and TensorRT keep what they compiled")
    parser.add_argument("--threads", type=positive, metavar="N", help="of the CPU (default: one a physical core)")
    parser.add_argument(
        "--threshold", type=finite, metavar="SCORE", help="a score below it is unknown (default: the package's)"
    )
    parser.add_argument(
        "--top", type=positive, default=5, metavar="N", help="candidates to name (default: %(default)s)"
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
        metavar="POLICY",
        help="for a frame while the network is busy: latest, queue:N or block (default: block for folder: and video:, "
        "else latest)",
    )
    line.add_argument(
        "--takt-ms", type=above_zero, metavar="MS", help="a frame is not answered later than this after it came"
    )
    line.add_argument(
        "--watch", action="store_true", help="put a new package at PACKAGE's path in place of the old, without a stop"
    )
    camera = parser.add_argument_group("cameras; each is checked, and refused where a camera cannot do it")
    camera.add_argument("--exposure-us", type=above_zero, metavar="US", help="time of exposure, in microseconds")
    camera.add_argument("--gain-db", type=finite, metavar="DB", help="amplification, in decibels")
    camera.add_argument("--fps", type=above_zero, metavar="N", help="frames a second of a camera that runs freely")
    camera.add_argument("--region", type=region, metavar="X,Y,W,H", help="part of the sensor, in its pixels")
    camera.add_argument("--trigger", choices=("free", "hardware", "software"), help="what starts an exposure")
    camera.add_argument(
        "--timeout-s", type=above_zero, default=3.0, metavar="S", help="until a camera counts as stalled (default: 3)"
    )


def run(args: argparse.Namespace) -> int:
    """Answer every frame and return the exit code."""
    _check_source(args)
    from partsight.cli.line import is_line, run_line
    from partsight.cli.lines import answer_all
    from partsight.runtime import Recognizer
    from partsight.runtime.cameras import FileCamera, open_camera

    def load(package: str | Path) -> Recognizer:
        recognizer = Recognizer(
            package,
            provider=args.provider,
            precision=args.precision,
            batch_size=args.batch,
            top=args.top,
            threshold=args.threshold,
            threads=args.threads,
            cache=args.cache,
        )
        if args.provider == "auto":
            print(f"provider: {recognizer.provider_reason}", file=sys.stderr)
        return recognizer

    if args.camera and is_line(args):
        return run_line(args, load)
    camera = open_camera(args.camera[0]) if args.camera else FileCamera(args.images)
    with camera, load(args.package) as recognizer:
        return answer_all(camera, recognizer, args.camera[0] if args.camera else "files")


def _check_source(args: argparse.Namespace) -> None:
    if bool(args.images) == (args.camera is not None):
        args.parser.error("expected either IMAGE ... or --camera folder:PATH, and not both")
    if args.images and (args.sink or args.policy or args.takt_ms or args.watch):
        args.parser.error("--sink, --policy, --takt-ms and --watch are for cameras; expected --camera folder:PATH")
    if args.watch and Path(args.package).suffix == ".onnx":
        args.parser.error("--watch looks at a package's folder, and not at an .onnx file alone")
    for image in args.images:
        if Path(image).is_dir():
            args.parser.error(f"{image} is a folder; expected image files, or --camera folder:{image}")
