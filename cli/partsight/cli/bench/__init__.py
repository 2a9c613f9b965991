"""`partsight bench`: the speed of a package on this machine, and the best options."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import above_zero, positive, renamed
from partsight.cli.streams import require_stdout

if TYPE_CHECKING:
    from partsight.cli.bench.facts import BenchFacts
    from partsight.cli.bench.trial import BenchOptions
    from partsight.cli.bench.verdict import BenchVerdict

_DESCRIPTION = """\
Measure the frames a second of a package on this machine, with each provider that works here and each precision of the
package. The result says in words how many cameras the speed is enough for, which stage limits it, and which options are
the fastest of those whose labels agree with fp32.

bench needs no training libraries. It measures on varied golden images of the package, or on images of the line with
--frames. Stop all other programs on the machine first.
"""

_EXAMPLE = """\
examples:
  partsight bench line3.partsight
  partsight bench line3.partsight --out bench
  partsight bench line3.partsight --frames photos --provider cpu,openvino --precision fp32,int8
  partsight bench line3.partsight --seconds 120 --batch 64 --json > speed.json
"""

_MAX_SIDE_PX = 16384
_BAR_FORMAT = "{desc:<24}{percentage:3.0f}% |{bar}| {remaining} left"


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight bench` to the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the speed of a package on this machine, and find the best options",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that `partsight export` wrote")
    parser.add_argument(
        "--seconds",
        type=above_zero,
        default=45.0,
        metavar="S",
        help="seconds for the whole run, about; a longer run is more exact (default: %(default)g)",
    )
    parser.add_argument("--frames", metavar="FOLDER", help="measure on the images in this folder, not on golden images")
    parser.add_argument(
        "--frame-size",
        type=_size,
        metavar="WIDTHxHEIGHT",
        help="size of the frames in pixels, as the camera delivers them (default: 1280x1024; for --frames the size of "
        "each image)",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=16,
        metavar="N",
        help="frames in one call, measured in addition to single frames (default: %(default)s)",
    )
    parser.add_argument(
        "--provider", type=_names, metavar="LIST", help="providers to measure, separated by commas (default: all)"
    )
    parser.add_argument(
        "--precision", type=_names, metavar="LIST", help="precisions to measure, separated by commas (default: all)"
    )
    parser.add_argument(
        "--deadline-ms",
        type=above_zero,
        default=100.0,
        metavar="MS",
        help="milliseconds after a frame's arrival; later answers count as overdue (default: %(default)g)",
    )
    parser.add_argument("--late", type=above_zero, help=argparse.SUPPRESS)  # old name
    parser.add_argument(
        "--no-start", action="store_true", help="do not measure the start and the memory of a new process"
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder to write bench.html, bench.md and bench.json to; must not exist"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    from partsight.cli.bench.clock import SystemClock
    from partsight.cli.bench.page import to_html
    from partsight.cli.bench.table import to_markdown, to_text
    from partsight.cli.bench.trial import measure_package
    from partsight.cli.bench.verdict import judge
    from partsight.runtime.core import check_output_folder, new_folder

    if args.late is not None:
        print(f"partsight: warning: {renamed('--late', '--deadline-ms')}", file=sys.stderr)
        args.deadline_ms = args.late
    if args.out is None or args.json:
        require_stdout()
    if args.out is not None:
        check_output_folder(Path(args.out))  # before the measurement, not after it
    with _progress(args.seconds) as tick:
        facts = measure_package(args.package, _options(args), SystemClock(), tick)
    verdict = judge(facts)
    as_json = json.dumps(to_json(facts, verdict), indent=1, ensure_ascii=False)
    print(as_json if args.json else to_text(facts, verdict))
    if args.out is not None:
        pages = {"bench.json": as_json, "bench.md": to_markdown(facts, verdict), "bench.html": to_html(facts, verdict)}
        with new_folder(Path(args.out)) as folder:
            for name, text in pages.items():
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
        if not args.json:
            print(f"\nwritten to {Path(args.out) / 'bench.html'}, bench.md and bench.json")
    return ExitCode.DONE


def to_json(facts: "BenchFacts", verdict: "BenchVerdict") -> dict[str, Any]:
    """Return facts and verdict for JSON, with the number of cameras and the shares that follow from them."""
    found = dataclasses.asdict(facts)
    for item, speed in zip(found["speeds"], facts.speeds, strict=True):
        item["cameras"] = speed.cameras
    for item, labels in zip(found["labels"], facts.labels, strict=True):
        item["share"] = labels.share
    return {**found, "baseline": facts.baseline._asdict(), "verdict": dataclasses.asdict(verdict)}


def _options(args: argparse.Namespace) -> "BenchOptions":
    from partsight.cli.bench.trial import BenchOptions

    return BenchOptions(
        seconds=args.seconds,
        frames=None if args.frames is None else Path(args.frames),
        frame_size=args.frame_size,
        batch=args.batch,
        providers=args.provider,
        precisions=args.precision,
        deadline_ms=args.deadline_ms,
        with_start=not args.no_start,
    )


@contextmanager
def _progress(seconds: float) -> "Iterator[Callable[[str], None]]":
    """Show a bar that fills with time."""
    from partsight.runtime.core import progress_bar

    started = time.perf_counter()
    with progress_bar(seconds, "loading", "s", bar_format=_BAR_FORMAT) as bar:

        def tick(step: str) -> None:
            bar.set_description_str(step, refresh=False)
            bar.update(min(seconds, time.perf_counter() - started) - bar.n)

        yield tick


def _size(text: str) -> tuple[int, int]:
    sides = [int(side) if side.isascii() and side.isdigit() else 0 for side in text.split("x")]
    if len(sides) != 2 or not all(0 < side <= _MAX_SIDE_PX for side in sides):
        raise argparse.ArgumentTypeError(
            f"received {text!r}; expected WIDTHxHEIGHT in pixels, such as 1280x1024, each at most {_MAX_SIDE_PX}"
        )
    return sides[0], sides[1]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected names separated by commas")
    return tuple(dict.fromkeys(names))
