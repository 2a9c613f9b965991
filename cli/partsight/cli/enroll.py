"""`partsight enroll`: add, replace or remove parts of a package without training."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.dashed import restore
from partsight.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from partsight.runtime.enrolment import Enrolled, Lookalike, NewPartReport
    from partsight.runtime.package import Decision

_MAX_SHOWN = 20
_POOR = 0.9  # share of frames with their label, below which a part gets a warning

_DESCRIPTION = """\
Make a new package from PACKAGE with parts added, replaced or removed: in seconds, without TensorFlow. The old package
stays as it is. The new package has the same network, and the other parts keep their scores and golden images to the
bit. Their labels keep their order, and new labels follow.

The first image of a part is its golden image. The others are further references: partsight compares a frame with all
of them, and the best fit counts. Take the images with the line's camera, as the golden images that the package was
trained on.

The reject threshold stays. partsight estimates its effect on the new parts with varied copies of their images: the
shares of frames that get their label (right), no label (unknown) and another part's label (wrong).
"""

_EXAMPLE = """\
examples:
  partsight enroll line3.partsight --label M8x40 m8x40.png --out line4.partsight
  partsight enroll line3.partsight --label M8x40 best.png more.png --label M8x45 m8x45.png --out line4.partsight
  partsight enroll line3.partsight --catalog new_parts --out line4.partsight
  partsight enroll line3.partsight --replace --label M8x40 better.png --out line4.partsight
  partsight enroll line3.partsight --remove M8x40 M8x45 --out line4.partsight

Enrolment needs the package `onnx`: pip install 'partsight[enroll]'. It changes packages with a cosine head, the default
of `partsight train`. Train a package with a dense head again.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight enroll` to the command."""
    parser = subparsers.add_parser(
        "enroll",
        help="add, replace or remove parts of a package without training",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        usage="%(prog)s PACKAGE [--replace] [--label NAME IMAGE ...] [--catalog FOLDER] [--remove NAME ...] --out NEW",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="the package to start from")
    parser.add_argument("--out", required=True, metavar="NEW", help="package to write; must not exist")
    parser.add_argument(
        "--label",
        type=restore,
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "IMAGE"),
        help="a part, its golden image and, if you have some, further references; once for each part; write a name "
        "that begins with -- as --label=NAME",
    )
    parser.add_argument(
        "--catalog", metavar="FOLDER", help="many parts at once: a folder like the CATALOG of `partsight train`"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace all images of the parts in --label and --catalog, which the package already has",
    )
    parser.add_argument(
        "--remove",
        type=restore,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="parts to remove from the package",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the varied copies; only the estimates depend on it (default: 0)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Enrol and return the exit code."""
    named = _named(args)
    if not named and not args.remove:
        args.parser.error("no part is named; use --label NAME IMAGE, --catalog FOLDER or --remove NAME")
    from partsight.runtime.core import SIGNATURE_NAME
    from partsight.runtime.enrolment import enroll

    enrolled = enroll(
        args.package,
        args.out,
        additions={} if args.replace else named,
        replacements=named if args.replace else {},
        removals=args.remove,
        seed=args.seed,
        track=_track,
    )
    _print_parts(enrolled.parts)
    _print_package(enrolled)
    if os.path.exists(Path(args.package) / SIGNATURE_NAME):  # noqa: PTH110 (Path.exists raises on a broken disk)
        print("signature:  none, as the package is new; run: partsight sign PACKAGE --key KEY")
    for warning in _warnings(enrolled):
        print(f"partsight: warning: {warning}", file=sys.stderr)
    return ExitCode.DONE


def _named(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Return the images of each part of --label and --catalog."""
    named: dict[str, list[Path]] = {}
    if args.catalog:
        from partsight.train.catalog import read_catalog

        for image in read_catalog(args.catalog).references:
            named.setdefault(image.label, []).append(image.path)
    for label, *images in args.label:
        if not images:
            args.parser.error(f"--label {label} names no image; use --label NAME IMAGE ...")
        if label in named:
            args.parser.error(f"{label} is named more than once; put all its images into one --label")
        named[label] = [Path(image) for image in images]
    return named


def _track(items: Sequence[int], what: str) -> Iterable[int]:
    from partsight.runtime.core import progress

    yield from progress(items, len(items), what, "×32")


def _print_parts(parts: "Sequence[NewPartReport]") -> None:
    if not parts:
        return
    shown = sorted(parts, key=lambda part: part.right)[:_MAX_SHOWN] if len(parts) > _MAX_SHOWN else parts
    width = max(4, *(len(part.label) for part in shown))
    print(f"{'part':<{width}}  images  right  unknown  wrong  looks most like")
    for part in shown:
        other = part.lookalike
        like = f"{other.label} ({other.likeness:.2f}{_differs(other)})" if other else "-"
        shares = f"{part.right:>5.0%}  {part.refused:>7.0%}  {part.wrong:>5.0%}"
        print(f"{part.label:<{width}}  {part.images:>6}  {shares}  {like}")
    if len(shown) < len(parts):
        print(f"and {len(parts) - len(shown)} more, each at least {shown[-1].right:.0%} right")
    print()


def _differs(other: "Lookalike") -> str:
    """Return where a new part differs most from its lookalike, in words; empty if no golden images are compared."""
    if other.spot is None:
        return ""
    return f"; differs most at the {other.spot.where}, {other.spot.tolerances:.1f} times the tolerance"


def _print_package(enrolled: "Enrolled") -> None:
    manifest = enrolled.package.manifest
    change = manifest.provenance.enrolments[-1]
    exact = enrolled.largest_difference == 0
    print(
        f"parts:      {len(change.added)} added, {len(change.replaced)} replaced, {len(change.removed)} removed; "
        f"{len(manifest.labels)} now"
    )
    print(f"threshold:  {_describe(manifest.matching.decision if manifest.matching else manifest.decision)}")
    print(
        "old parts:  scores "
        + ("equal bit for bit" if exact else f"differ by at most {enrolled.largest_difference:.1g}")
        + f"; of {enrolled.neighbours} that look like new parts, {len(enrolled.harmed)} lost a frame"
    )
    _print_candidates(enrolled)
    print(f"package:    {enrolled.package.path}")


def _print_candidates(enrolled: "Enrolled") -> None:
    matching, before = enrolled.package.manifest.matching, enrolled.spec_before
    if matching is None or before is None:
        return
    counts, counts_before = (
        f"{spec.by_thumbnail} by thumbnail, {spec.by_network} by the network" for spec in (matching.spec, before)
    )
    change = "as before" if counts == counts_before else f"before: {counts_before}"
    print(f"candidates: {counts}; {change}")


def _describe(decision: "Decision") -> str:
    accepts = decision.expected_false_accept
    unknown = "" if accepts is None else f", {accepts:.2%} of unknown siblings accepted"
    return (
        f"{decision.threshold:.4g} as before; expected: {decision.expected_false_reject:.2%} of frames refused{unknown}"
    )


def _warnings(enrolled: "Enrolled") -> Iterable[str]:
    for part in enrolled.parts:
        yield from (f"{part.label}: {misfit}" for misfit in part.misfits)
        other = part.lookalike
        if other and other.is_twin:
            yield (
                f"{part.label} and {other.label} have nearly the same image, and frames of both may be answered "
                "unknown; remove one, or take pictures of a side on which they differ"
            )
        elif other and other.is_confusable:
            yield f"{part.label} looks like {other.label}: before the enrolment its frames got the label {other.label}"
        if part.right < _POOR and not (other and other.is_twin):
            yield (
                f"{part.label}: only {part.right:.0%} of its frames should get its label; take a sharper picture, or "
                "train again with it"
            )
    if enrolled.harmed:
        names = ", ".join(enrolled.harmed[:5]) + (", ..." if len(enrolled.harmed) > 5 else "")
        yield f"frames of these parts may now be answered unknown or as a new part; check them on the line: {names}"
