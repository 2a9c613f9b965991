"""`partsight export`: turn a run into a model package."""

import argparse
from typing import Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.tensorflow_log import quiet_tensorflow

_DESCRIPTION = """\
Convert a run to a model package for the line. BatchNormalization, normalisation and channel order are folded into
the weights. Every golden image is answered through Keras and through ONNX Runtime, from the file to the label; if
one label differs, or a score by more than 1e-4, nothing is written.
"""

_EXAMPLE = """\
examples:
  partsight export runs/first --out line3.partsight
  partsight export runs/first --out line3.partsight --catalog /mnt/moved/golden
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight export` to the command."""
    parser = subparsers.add_parser(
        "export",
        help="turn a run into a model package, if it answers as Keras does",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", metavar="RUN", help="folder that `partsight train` wrote")
    parser.add_argument("--out", required=True, metavar="PACKAGE", help="package to write; must not exist")
    parser.add_argument("--catalog", metavar="FOLDER", help="golden images, if they moved since training")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and return the exit code."""
    quiet_tensorflow()
    from partsight.export.exporter import export

    package = export(args.run_folder, args.out, args.catalog)
    model = package.model("fp32")
    parity = model.parity
    print(f"labels equal to Keras:      {parity.labels_equal} of {parity.images}")
    print(f"largest score difference:   {parity.max_score_difference:.2g}")
    print(f"golden accuracy:            {parity.top1_accuracy:.4f}")
    print(
        f"BatchNormalization left:    0 ({model.affine_left} per-channel Mul and Add nodes stand for what cannot fold)"
    )
    print(f"package: {package.path}")
    print(f"report:  {package.path / 'report.html'}")
    return ExitCode.DONE
