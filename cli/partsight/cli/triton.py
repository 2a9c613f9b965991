"""`partsight triton`: write a package into the model repository of a Triton server."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import positive

if TYPE_CHECKING:
    from partsight.export.triton import Source, TritonModel

_DESCRIPTION = """\
Write a package as a version of a model that a Triton server serves, with its whole answer: the network, the comparison
with golden images, the decision and the label. The first package becomes version 1. A retrained package becomes the
next version; lines use the version of their own package. Before a version appears, partsight compares its answers with
the package's, on all golden images. docs/triton.md shows how to start the server, swap and roll back.
"""

_EXAMPLE = """\
examples:
  partsight triton line3.partsight --out models
  partsight triton line4.partsight --out models --name line3
  partsight triton line3.partsight --out models --instances 2@0,1 --batch 32
  partsight triton line3.partsight --out models --check

It needs the packages `tritonclient` and `onnx`. Run `pip install 'partsight[triton,enroll]'` first.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight triton` to the command."""
    parser = subparsers.add_parser(
        "triton",
        help="write a package into the model repository of a Triton server",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that `partsight export` or `enroll` wrote")
    parser.add_argument("--out", required=True, metavar="REPOSITORY", help="folder that the server reads")
    parser.add_argument("--name", help="name of the model (default: the name of the package's folder)")
    parser.add_argument(
        "--instances",
        metavar="N[@PLACE]",
        help="copies of the model: N on each card, or on the processor of a server without one; N@cpu, N@gpu, or "
        "N@0,1 for two cards (default: 1, or as configured)",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="most frames that are answered at once (default: 16, or as configured)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="which model of the package to use (default: %(default)s)",
    )
    parser.add_argument(
        "--tensorrt",
        metavar="FOLDER",
        help="let cards compute by TensorRT, which keeps its engines in this folder of the server (default: CUDA)",
    )
    parser.add_argument(
        "--trusted-key",
        dest="trusted_keys",
        metavar="KEY.pub",
        action="append",
        help="write the package only if this key has signed it (docs/signing.md); repeat it for several keys, one of "
        "which must have signed",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; check the version of this package that is there"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or check the version and return the exit code."""
    from partsight.runtime.enrolment import import_onnx

    import_onnx()  # its error names the command that installs it
    from partsight.export.triton import Instances, ModelOptions, Source, add_to_repository, check_repository
    from partsight.runtime.package import ModelPackage

    if args.check and (args.batch, args.instances, args.tensorrt) != (None, None, None):
        args.parser.error("--check writes nothing; expected no --batch, --instances or --tensorrt next to it")
    name, repository = args.name or Path(args.package).resolve().stem, Path(args.out)
    source = Source(ModelPackage.read(args.package, args.trusted_keys), args.precision, args.trusted_keys)
    if args.check:
        model = check_repository(source, repository, name)
    else:
        try:
            instances = None if args.instances is None else Instances.parse(args.instances)
            model = add_to_repository(source, repository, name, ModelOptions(args.batch, instances, args.tensorrt))
        except ValueError as error:
            args.parser.error(str(error))
    _print(model, source, name)
    if not args.check:
        _print_next(model, repository, name)
    return ExitCode.DONE


def _print(model: "TritonModel", source: "Source", name: str) -> None:
    package, checked = source.package, model.checked
    height, width = source.size_hw
    signed = f"; signed by key {', '.join(package.signed_by)}" if package.signed_by else ""
    print(f"model:   {name}, version {model.version}: {model.folder}")
    print(f"package: {package.package_id}{signed}")
    print(f"input:   image_bgr uint8 (1 to {model.config.max_batch_size}, {height}, {width}, 3)")
    print(
        f"check:   {checked.frames} frames on {checked.provider}: the same labels and reasons; agreement within "
        f"{checked.difference:.1e}"
    )
    if not model.is_as_written:
        print("file:    differs from a new one: another version of partsight wrote it, or it was altered")


def _print_next(model: "TritonModel", repository: Path, name: str) -> None:
    if model.version == 1:
        options = f"--model-control-mode=explicit --load-model={name}"
        print(f"start:   tritonserver --model-repository={repository.resolve()} {options}")
    print(f"load:    curl -X POST http://localhost:8000/v2/repository/models/{name}/load")
