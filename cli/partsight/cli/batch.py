"""`partsight batch`: recognise an archive of frames again, on one machine or on a cluster."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.cluster import LOCAL, ray_address
from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import PRECISIONS, positive

if TYPE_CHECKING:
    from partsight.runtime.cluster.batch import BatchDone, BatchRequest

_DESCRIPTION = """\
Recognise all frames of SOURCE with a package, and write a Parquet file with a row for each frame, in order. Ray shares
the work among the cores or cards of this machine, or of a cluster.

SOURCE is a folder with images, also in inner folders, a zip file of images, a Parquet file, or a folder of Parquet
files. A frame that cannot be read is a row with the outcome failed and its cause; the exit code is then 4.

If you interrupt it, run the same command again: it goes on where it stopped.

With --compare OLD it recognises each frame with both packages, lists each answer that changed in RESULTS.changes.csv,
and shows in RESULTS.report.html whether a line may swap to PACKAGE.
"""

_EXAMPLE = """\
examples:
  partsight batch line4.partsight archive --out results.parquet
  partsight batch line4.partsight archive.zip --out results.parquet --compare line3.partsight
  partsight batch line4.partsight frames.parquet --column image --out results.parquet
  partsight batch line4.partsight /share/archive --out /share/results.parquet --address 10.0.0.5:6379

It needs Ray. Run `pip install 'partsight[cpu,ray]'` first. docs/batch.md describes the rows and clusters.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight batch` to the command."""
    parser = subparsers.add_parser(
        "batch",
        help="recognise an archive of frames again, and compare two packages",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that answers the frames")
    parser.add_argument("source", metavar="SOURCE", help="folder, zip file or Parquet file with frames, see above")
    parser.add_argument("--out", required=True, metavar="RESULTS.parquet", help="file to write; must not exist")
    parser.add_argument("--compare", metavar="OLD", help="package whose answers to compare with")
    parser.add_argument("--column", metavar="NAME", help="column of a Parquet file with images or paths")
    parser.add_argument(
        "--address",
        default=LOCAL,
        metavar="HOST:PORT",
        help="head of a Ray cluster, or auto for the cluster of this machine (default: Ray on this machine alone)",
    )
    parser.add_argument(
        "--provider", default="cpu", help="cpu, openvino, cuda or tensorrt; no fallback (default: %(default)s)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="(default: %(default)s)")
    parser.add_argument(
        "--batch", type=positive, default=16, metavar="N", help="frames in one run of the network (default: 16)"
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="cores of each actor, a process that answers frames (default: 2; 1 is faster, and takes 0.7 GB per core)",
    )
    parser.add_argument(
        "--actors", type=positive, metavar="N", help="number of actors (default: as many as there are cores or cards)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Recognise the archive and return the exit code."""
    from partsight.runtime.cluster.batch import BatchRequest, recognize_archive

    request = BatchRequest(
        package=Path(args.package),
        source=Path(args.source),
        out=Path(args.out),
        old=None if args.compare is None else Path(args.compare),
        column=args.column,
        address=ray_address(args.address),
        provider=args.provider,
        precision=args.precision,
        batch_size=args.batch,
        threads=args.threads,
        actors=args.actors,
    )
    try:
        done = recognize_archive(request)
    except KeyboardInterrupt:
        if request.work_folder.exists():
            text = "the finished frames are kept; run the same command again to go on"
            print(f"partsight: {text}", file=sys.stderr)
        raise
    if done.verdict is not None:
        print(f"{done.verdict.word}. {done.verdict.sentence}")
    for name, text in _facts(done, request):
        print(f"{name + ':':<12}{text}")
    return ExitCode.SOME_FAILED if done.counts.failed else ExitCode.DONE


def _facts(done: "BatchDone", request: "BatchRequest") -> Iterator[tuple[str, str]]:
    counts, compared = done.counts, done.comparison
    yield (
        "frames",
        f"{counts.frames:,}: {counts.recognised:,} recognised, {counts.unknown:,} unknown, {counts.failed:,} failed",
    )
    if compared is not None:
        changes = compared.counts
        yield "same", f"{changes['same']:,} of {compared.compared:,} frames that both packages answered"
        yield (
            "changed",
            f"{changes['other_label']:,} another label, {changes['label_lost']:,} label → unknown, "
            f"{changes['label_gained']:,} unknown → label",
        )
        yield "changes", str(request.changes)
        yield "report", str(request.report)
    yield "results", str(request.out)
