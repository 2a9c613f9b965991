"""`partsight run`: recognise the parts in images, one JSON line for each."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Recognise the part in each frame and print one JSON object a line, in the order of the frames.

A line holds: sequence, source, label (null if the part is unknown), accepted, score, margin (to the second best),
top (the best candidates) and latency_ms (of the frame's batch). A frame that cannot be read or answered gives a line
with sequence, source and error; it does not stop the run, and the exit code is then 4.
"""

_EXAMPLE = """\
examples:
  partsight run line3.partsight photo.jpg
  partsight run line3.partsight --camera folder:photos > results.jsonl
  partsight run line3.partsight --camera folder:photos --provider cuda --precision fp16 --batch 64
  partsight run line3.partsight photos/*.jpg --threshold 0.7 --top 1
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight run` to the command."""
    parser = subparsers.add_parser(
        "run",
        help="recognise the parts in images; JSON lines on stdout",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        usage="%(prog)s PACKAGE (IMAGE ... | --camera folder:PATH) [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="what `partsight export` wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="*", default=[], help="image files, answered in this order")
    parser.add_argument("--camera", metavar="ADDRESS", help="folder:PATH for all images in a folder and its subfolders")
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
        "--batch", type=_positive, default=16, metavar="N", help="frames answered at once (default: %(default)s)"
    )
    parser.add_argument("--cache", metavar="FOLDER", help="where OpenVINO and TensorRT keep what they compiled")
    parser.add_argument("--threads", type=_positive, metavar="N", help="of the CPU (default: one a physical core)")
    parser.add_argument(
        "--threshold", type=_finite, metavar="SCORE", help="a score below it is unknown (default: the package's)"
    )
    parser.add_argument(
        "--top", type=_positive, default=5, metavar="N", help="candidates to name (default: %(default)s)"
    )
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Answer every frame and return the exit code."""
    _check_source(args)
    from partsight.cli.lines import answer_all
    from partsight.runtime import Recognizer
    from partsight.runtime.cameras import FileCamera, open_camera

    camera = FileCamera(args.images) if args.camera is None else open_camera(args.camera)
    with (
        camera,
        Recognizer(
            args.package,
            provider=args.provider,
            precision=args.precision,
            batch_size=args.batch,
            top=args.top,
            threshold=args.threshold,
            threads=args.threads,
            cache=args.cache,
        ) as recognizer,
    ):
        if args.provider == "auto":
            print(f"provider: {recognizer.provider_reason}", file=sys.stderr)
        return answer_all(camera, recognizer, args.camera or "files")


def _check_source(args: argparse.Namespace) -> None:
    if bool(args.images) == (args.camera is not None):
        args.parser.error("expected either IMAGE ... or --camera folder:PATH, and not both")
    for image in args.images:
        if Path(image).is_dir():
            args.parser.error(f"{image} is a folder; expected image files, or --camera folder:{image}")


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a whole number of at least 1")
    return number


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a number")
    return number
