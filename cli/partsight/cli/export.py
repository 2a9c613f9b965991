"""`partsight export`: turn a run into a model package."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.tensorflow_log import quiet_tensorflow

if TYPE_CHECKING:
    from partsight.runtime.package import Gate

_DESCRIPTION = """\
Convert a run to a model package for the line. Preprocessing and BatchNormalization become part of the weights. export
then recognises every golden image with Keras and with ONNX Runtime, from the file to the label. If one label differs,
or one score differs by more than 1e-4, it writes nothing.

In addition to FP32, export makes FP16 (for GPUs) and INT8 (for CPUs with VNNI). It compares each with FP32 on all
golden images and on varied frames. If a precision gives other labels too often, export leaves it out, and the package
and stderr name the reason.
"""

_EXAMPLE = """\
examples:
  partsight export runs/first --out line3.partsight
  partsight export runs/first --out line3.partsight --catalog /mnt/moved/golden
  partsight export runs/first --out line3.partsight --precision fp32
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight export` to the command."""
    parser = subparsers.add_parser(
        "export",
        help="convert a run to a model package, and check that it answers as Keras does",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", metavar="RUN", help="run folder that `partsight train` wrote")
    parser.add_argument("--out", required=True, metavar="PACKAGE", help="package to write; must not exist")
    parser.add_argument(
        "--catalog", metavar="FOLDER", help="folder of the golden images, if it has moved since training"
    )
    parser.add_argument(
        "--precision",
        default="fp32,fp16,int8",
        metavar="LIST",
        help="precisions to write, separated by commas; fp32 is always written (default: %(default)s)",
    )
    parser.add_argument(
        "--least-agreement",
        type=float,
        default=0.999,
        metavar="SHARE",
        help="least share of frames that get the same answer as in fp32, for fp16 and int8 (default: %(default)s)",
    )
    parser.add_argument(
        "--search",
        default="auto",
        metavar="WHEN",
        help="when to search scores on the CPU, which is faster with very many parts: auto (cosine head with 10,000 "
        "parts or more), always, or never, which is better for a GPU (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and return the exit code."""
    quiet_tensorflow()
    from partsight.export.exporter import export

    precisions = tuple(name.strip() for name in args.precision.split(","))
    package = export(
        args.run_folder,
        args.out,
        args.catalog,
        precisions=precisions,
        least_agreement=args.least_agreement,
        search=args.search,
    )
    model = package.model("fp32")
    if model.parity:
        print(f"labels equal to Keras:      {model.parity.labels_equal} of {model.parity.images}")
        print(f"largest score difference:   {model.parity.max_score_difference:.2g}")
        print(f"golden accuracy:            {model.parity.top1_accuracy:.4f}")
    print(
        f"BatchNormalization left:    0 ({model.affine_left} per-channel Mul and Add nodes stand for what cannot fold)"
    )
    for precision, item in package.manifest.models.items():
        if item.gate:
            print(f"{precision}: answer of fp32:       {_agreement(item.gate)}")
    for precision, reason in package.manifest.refused.items():
        print(f"partsight: warning: {precision} was not written: {reason}", file=sys.stderr)
    print(f"package: {package.path}")
    print(f"report:  {package.path / 'report.html'}")
    return ExitCode.DONE


def _agreement(gate: "Gate") -> str:
    kept = f"; {len(gate.kept)} nodes kept in fp32" if gate.kept else ""
    return (
        f"{gate.agreement:.2%} of {gate.images} golden images, {gate.varied_agreement:.2%} of {gate.varied} varied "
        f"frames{kept}"
    )
