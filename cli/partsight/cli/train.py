"""`partsight train`: train a model on the parts of a catalogue."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from partsight.cli.cluster import add_address, batch_map
from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import region
from partsight.cli.tensorflow_log import quiet_tensorflow

_DESCRIPTION = """\
Train a model on parts, from one golden image each, and write a run folder: the model, its history, plots and
report.html.

CATALOG is a folder with one image file for each part, or with one folder for each part. The file or folder has the name
of the part. All images must be as the line's camera delivers them: same view, light and colour.

A part's folder may hold several images. The one called golden, such as golden.png, is the golden image; without such a
name it is the first by name. The network learns the golden image. The others are further references: partsight compares
a frame with all of them, and the best fit counts.
"""

_EXAMPLE = """\
examples:
  partsight train examples/parts/golden --out runs/first
  partsight train photos --out runs/second --head dense
  partsight train photos --out runs/best --budget full
  partsight train photos --out runs/third --backbone InceptionV3 --weights inception_v3_notop.h5
  partsight train photos --out runs/fourth --region 320,128,640,640

train keeps the features of all images in a cache, so training again with one more part is fast. If you interrupt it, it
leaves no run folder; run the same command again to continue from the features and epochs in the cache.
"""

_FINE_TUNING = ("cut", "copies", "epochs", "fresh_variation", "max_cache_gb")


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight train` to the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on a folder of golden images",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("catalog", metavar="CATALOG", help="folder of golden images")
    parser.add_argument("--out", required=True, metavar="RUN", help="run folder to write; must not exist")
    parser.add_argument(
        "--backbone",
        default="EfficientNetLite0",
        metavar="NAME",
        help="network to train on: EfficientNetLite0 (default), InceptionV3, VGG16 or any keras.applications model "
        "except ConvNeXt",
    )
    parser.add_argument(
        "--weights",
        metavar="PATH|embedded|imagenet|none",
        help="weights of the backbone: embedded for EfficientNetLite0 (its default), imagenet for the others (their "
        "default; Keras downloads it), a file, or none",
    )
    parser.add_argument(
        "--head",
        default="cosine",
        choices=("cosine", "dense"),
        help="last layer of the network; only with cosine can `partsight enroll` add parts (default: %(default)s)",
    )
    parser.add_argument(
        "--side",
        type=int,
        metavar="PX",
        help="height and width of the network's input in pixels (default: the backbone's)",
    )
    parser.add_argument(
        "--region",
        type=region,
        metavar="X,Y,W,H",
        help="part of the frame that the network sees, in pixels (default: all)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of all random choices; the same seed and catalogue give the same model (default: 0)",
    )
    parser.add_argument(
        "--target-accuracy",
        type=float,
        default=0.99,
        metavar="SHARE",
        help="share of golden images to recognise; below it the exit code is 3 (default: %(default)s)",
    )
    parser.add_argument(
        "--max-epochs", type=int, default=60, metavar="N", help="most epochs for the head (default: %(default)s)"
    )
    parser.add_argument(
        "--max-false-reject",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of known parts' frames that may be answered unknown; it sets the threshold (default: %(default)s)",
    )
    parser.add_argument(
        "--budget",
        default="quick",
        choices=("quick", "full"),
        help="quick trains only the head, in minutes; full also fine-tunes the backbone (default: %(default)s)",
    )
    tuning = parser.add_argument_group("fine-tuning, with --budget full")
    tuning.add_argument(
        "--cut", metavar="LAYER", help="fine-tune the layers after this one (default: the last quarter)"
    )
    tuning.add_argument(
        "--copies", type=int, default=8, metavar="N", help="varied copies of each image (default: %(default)s)"
    )
    tuning.add_argument(
        "--epochs", type=int, default=12, metavar="N", help="most epochs of fine-tuning (default: %(default)s)"
    )
    tuning.add_argument(
        "--fresh-variation",
        action="store_true",
        help="make new copies for each epoch and cache none: slower, but needs no disk space",
    )
    tuning.add_argument(
        "--max-cache-gb",
        type=float,
        default=4.0,
        metavar="GB",
        help="most disk space for cached activations (default: %(default)s)",
    )
    parser.add_argument(
        "--cache", metavar="FOLDER", help="folder for cached features (default: .partsight-cache next to RUN)"
    )
    add_address(parser, "the features of golden images")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train and return the exit code."""
    quiet_tensorflow()
    with _shown_log():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    import msgspec

    from partsight.train.run_folder import TrainConfig
    from partsight.train.trainer import train

    values = {
        "backbone": args.backbone,
        "head": args.head,
        "weights": args.weights,
        "side_px": args.side,
        "region": None if args.region is None else dict(zip(("x", "y", "width", "height"), args.region, strict=True)),
        "seed": args.seed,
        "target_accuracy": args.target_accuracy,
        "max_epochs": args.max_epochs,
        "max_false_reject": args.max_false_reject,
        "budget": args.budget,
        "cut": args.cut,
        "copies": args.copies,
        "epochs": args.epochs,
        "fresh_variation": args.fresh_variation,
        "max_cache_gb": args.max_cache_gb,
    }
    try:
        config = msgspec.convert(values, TrainConfig)
    except msgspec.ValidationError as error:
        args.parser.error(str(error))
    unused = [name for name in _FINE_TUNING if getattr(config, name) != getattr(TrainConfig(), name)]
    if unused and config.budget == "quick":
        options = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        args.parser.error(f"{options} works only with --budget full; add it, or leave {options} out")
    with batch_map(args.address) as run_batches:
        finished = train(args.catalog, args.out, config, args.cache, run_batches)
    record = finished.record
    for first, second in record.twins:
        print(f"partsight: warning: {first} and {second} have nearly the same image", file=sys.stderr)
    print(f"{len(record.labels)} part{'s' if len(record.labels) > 1 else ''}: {record.outcome}")
    if record.further:
        parts = len({reference.label for reference in record.further})
        print(f"{len(record.further)} further references of {parts} part{'s' if parts > 1 else ''}")
    print(f"run:    {finished.path}")
    print(f"report: {finished.path / 'report.html'}")
    return ExitCode.DONE if record.reached else ExitCode.BELOW_TARGET


@contextmanager
def _shown_log() -> Iterator[None]:
    """Print the log of training, such as the freeze plan, to stderr until the end of the block."""
    log = logging.getLogger("partsight")
    before = log.level
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("partsight: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
