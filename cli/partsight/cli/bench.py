"""`partsight bench`: how fast a package is on this machine, and what to make of it."""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import above_zero, positive
from partsight.cli.streams import require_stdout

if TYPE_CHECKING:
    from partsight.cli.bench_facts import Facts
    from partsight.cli.bench_trial import Options
    from partsight.cli.bench_verdict import Verdict

_DESCRIPTION = """\
Measure how many frames a second a package recognises on this machine, with every provider that works here and every
precision that the package has, and say in words what that means: for how many cameras it is enough, what limits it,
and which options are the fastest whose labels agree with fp32's.

It needs no training libraries and, as a rule, no frames of the line: golden images of the package are varied as a
line varies. Let nothing else run on the machine meanwhile.
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
        help="measure how fast a package is on this machine, and say which options are best",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="the folder that `partsight export` wrote")
    parser.add_argument(
        "--seconds",
        type=above_zero,
        default=45.0,
        metavar="S",
        help="how long it may take, about; a longer run is more exact (default: %(default)g)",
    )
    parser.add_argument("--frames", metavar="FOLDER", help="images of the line to measure on, in place of golden ones")
    parser.add_argument(
        "--frame-size",
        type=_size,
        metavar="WIDTHxHEIGHT",
        help="in pixels, as the camera delivers (default: 1280x1024; images of --frames stay as they are)",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=16,
        metavar="N",
        help="frames answered at once, measured beside single frames (default: %(default)s)",
    )
    parser.add_argument(
        "--provider", type=_names, metavar="LIST", help="which to measure, separated by commas (default: all)"
    )
    parser.add_argument(
        "--precision", type=_names, metavar="LIST", help="which to measure, separated by commas (default: all)"
    )
    parser.add_argument(
        "--late",
        type=above_zero,
        default=100.0,
        metavar="MS",
        help="milliseconds after which an answer comes too late for the line (default: %(default)g)",
    )
    parser.add_argument("--no-start", action="store_true", help="do not measure start and memory of a new process")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument(
        "--out", metavar="FOLDER", help="write bench.html, bench.md and bench.json there; must not exist"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    from partsight.cli.bench_clock import SystemClock
    from partsight.cli.bench_page import to_html
    from partsight.cli.bench_table import to_markdown, to_text
    from partsight.cli.bench_trial import measure_package
    from partsight.cli.bench_verdict import judge
    from partsight.runtime.core import check_output_folder, new_folder

    if args.out is None or args.json:
        require_stdout()
    if args.out is not None:
        check_output_folder(Path(args.out))  # now, not after the measurement
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


def to_json(facts: "Facts", verdict: "Verdict") -> dict[str, Any]:
    """Return the facts, what they mean in words, and the cameras and shares that follow from them, for JSON."""
    found = dataclasses.asdict(facts)
    for item, speed in zip(found["speeds"], facts.speeds, strict=True):
        item["cameras"] = speed.cameras
    for item, labels in zip(found["labels"], facts.labels, strict=True):
        item["share"] = labels.share
    return {**found, "baseline": facts.baseline._asdict(), "verdict": dataclasses.asdict(verdict)}


def _options(args: argparse.Namespace) -> "Options":
    from partsight.cli.bench_trial import Options

    return Options(
        seconds=args.seconds,
        frames=None if args.frames is None else Path(args.frames),
        frame_size=args.frame_size,
        batch=args.batch,
        providers=args.provider,
        precisions=args.precision,
        late_ms=args.late,
        with_start=not args.no_start,
    )


@contextmanager
def _progress(seconds: float) -> "Iterator[Callable[[str], None]]":
    """Show a bar that fills up with the time."""
    from partsight.runtime.core import progress_bar

    started = time.perf_counter()
    with progress_bar(seconds, "loading", "s", bar_format=_BAR_FORMAT) as bar:

        def tick(what: str) -> None:
            bar.set_description_str(what, refresh=False)
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
