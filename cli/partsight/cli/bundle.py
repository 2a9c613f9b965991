"""`partsight bundle`: write a package as one ONNX file."""

import argparse
from typing import Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import positive

_DESCRIPTION = """\
Join the network, the bank of references, matching and thresholds of a package in one ONNX file. It takes uint8 frames
and returns label index, agreement, margin, accepted and reason. Any program that runs ONNX, in any language, then gives
the same answers as the line. docs/bundle.md describes inputs, outputs and the preparation of a frame, and has programs
in Python, JavaScript and C++.
"""

_EXAMPLE = """\
examples:
  partsight bundle line3.partsight --out line3.onnx
  partsight bundle line3.partsight --out line3.onnx --precision int8 --batch 1

It needs the package `onnx`. Run `pip install 'partsight[enroll]'` first.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight bundle` to the command."""
    parser = subparsers.add_parser(
        "bundle",
        help="write a package as one ONNX file, for programs without partsight",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that `partsight export` or `enroll` wrote")
    parser.add_argument("--out", required=True, metavar="FILE.onnx", help="file to write; must not exist")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="which model of the package to use (default: %(default)s)",
    )
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="fix the number of frames in one call (default: any number)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the bundle and return the exit code."""
    from partsight.runtime.enrolment import import_onnx

    import_onnx()  # its error names the command that installs it
    from partsight.export.bundle import bundle

    written = bundle(args.package, args.out, precision=args.precision, batch=args.batch)
    print(f"bundle: {written.path} ({written.path.stat().st_size / 1e6:.1f} MB)")
    print(f"input:  image_bgr uint8 ({args.batch or 'batch'}, {written.height}, {written.width}, 3)")
    print(f"parts:  {written.parts}; threshold {written.threshold:.4f}")
    return ExitCode.DONE
