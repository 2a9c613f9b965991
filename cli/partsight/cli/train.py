"""`partsight train`: learn the parts of a catalogue."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.tensorflow_log import quiet_tensorflow

_DESCRIPTION = """\
Learn parts from one golden image each and write a run folder: the model, its history, plots and report.html.

CATALOG is a folder with one folder for each part (its name is the part's name) that holds one image, or with one
image file for each part. All images must be as the line's camera delivers them: same view, light and colour.
"""

_EXAMPLE = """\
examples:
  partsight train examples/parts/golden --out runs/first
  partsight train photos --out runs/second --head dense
  partsight train photos --out runs/best --budget full
  partsight train photos --out runs/third --backbone InceptionV3 --weights inception_v3_notop.h5
  partsight train photos --out runs/fourth --region 320,128,640,640

Features of images that did not change come from the cache: training again after a part was added is fast.
Interrupted, it leaves no run folder; the same command goes on from the features and epochs that were computed.
"""

_OF_TUNING = ("cut", "copies", "epochs", "fresh_variation", "max_cache_gb")


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight train` to the command."""
    parser = subparsers.add_parser(
        "train",
        help="learn the parts of a catalogue, one golden image each",
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
        help="EfficientNetLite0 (default), InceptionV3, VGG16 or any keras.applications model but ConvNeXt",
    )
    parser.add_argument(
        "--weights",
        metavar="PATH|embedded|imagenet|none",
        help="of the backbone: embedded are EfficientNetLite0's own and its default; Keras downloads imagenet for any "
        "other, which is theirs",
    )
    parser.add_argument("--head", default="cosine", choices=("cosine", "dense"), help="(default: %(default)s)")
    parser.add_argument(
        "--side", type=int, metavar="PX", help="height and width of the network's input (default: the backbone's)"
    )
    parser.add_argument(
        "--region", type=_region, metavar="X,Y,W,H", help="what the network sees of a frame, in pixels (default: all)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="the same one and catalogue give the same model (default: 0)"
    )
    parser.add_argument(
        "--target-accuracy", type=float, default=0.99, metavar="SHARE", help="on golden images (default: %(default)s)"
    )
    parser.add_argument(
        "--max-epochs", type=int, default=60, metavar="N", help="of training the head (default: %(default)s)"
    )
    parser.add_argument(
        "--max-false-reject",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="of taught parts that may be answered unknown (default: %(default)s)",
    )
    parser.add_argument(
        "--budget",
        default="quick",
        choices=("quick", "full"),
        help="quick: the head alone, minutes; full: fine-tunes the backbone as well (default: %(default)s)",
    )
    tuning = parser.add_argument_group("fine-tuning, with --budget full")
    tuning.add_argument("--cut", metavar="LAYER", help="the backbone trains after it (default: at three quarters)")
    tuning.add_argument(
        "--copies", type=int, default=8, metavar="N", help="varied copies of each image (default: %(default)s)"
    )
    tuning.add_argument("--epochs", type=int, default=12, metavar="N", help="at most (default: %(default)s)")
    tuning.add_argument(
        "--fresh-variation", action="store_true", help="new copies for each epoch, none cached: slower, and no disk"
    )
    tuning.add_argument(
        "--max-cache-gb", type=float, default=4.0, metavar="GB", help="of cached activations (default: %(default)s)"
    )
    parser.add_argument(
        "--cache", metavar="FOLDER", help="for features, used again later (default: .partsight-cache beside RUN)"
    )
    parser.set_defaults(run=run, parser=parser)


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
        "region": args.region,
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
    unused = [name for name in _OF_TUNING if getattr(config, name) != getattr(TrainConfig(), name)]
    if unused and config.budget == "quick":
        options = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        args.parser.error(f"{options}: of fine-tuning, which --budget full does; expected both, or neither")
    finished = train(args.catalog, args.out, config, args.cache)
    record = finished.record
    for first, second in record.twins:
        print(f"partsight: warning: {first} and {second} have hardly different images", file=sys.stderr)
    print(f"{len(record.labels)} part{'s' if len(record.labels) > 1 else ''}: {record.outcome}")
    print(f"run:    {finished.path}")
    print(f"report: {finished.path / 'report.html'}")
    return ExitCode.DONE if record.reached else ExitCode.BELOW_TARGET


@contextmanager
def _shown_log() -> Iterator[None]:
    """Print what training says on the way, such as the freeze plan, to stderr until the end of the block."""
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


def _region(text: str) -> dict[str, int]:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(
            f"received {text!r}; expected X,Y,WIDTH,HEIGHT in pixels, such as 320,128,640,640"
        )
    return dict(zip(("x", "y", "width", "height"), map(int, parts), strict=True))
