"""How long does an epoch of fine-tuning take, compared with training the whole network on the same images?

Fine-tuning trains the layers after the cut from cached activations. Its epoch includes every step, the prototypes, the
running average and both measures of accuracy. The whole network's epoch includes only its steps, forward and backward
through every layer, with BatchNormalization in inference mode. Both take turns, and the benchmark prints medians.

`benchmarks.accuracy.finetune_drop` measures the accuracy.

Example:
    python -m benchmarks.speed.training --data PARTS --parts 32 --rounds 5
"""

import argparse
from typing import Any

from benchmarks.common.results import make_parser, markdown_table, write_results


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    from benchmarks.speed.training_epochs import measure_epochs  # imports TensorFlow

    results = measure_epochs(args)
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results, table)
    print(f"written to {args.out / args.name}.json and .md")


def to_table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    images = results["images"]
    rows = (
        ("network", f"{results['backbone']}, {results['side_px']} px, cut at {results['cut']}"),
        (f"epoch of fine-tuning, {images} images", f"{results['tail_epoch_s']:.2f} s"),
        (f"whole network, {images} images", f"{results['whole_network_s']:.2f} s"),
        ("ratio", f"{results['ratio']:.3f}"),
    )
    return markdown_table(("what", "figure"), rows)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "training")
    parser.add_argument("--backbone", default="EfficientNetLite0", metavar="NAME", help="(default: %(default)s)")
    parser.add_argument(
        "--weights", metavar="PATH|imagenet|none", help="weights of the backbone (default: the backbone's)"
    )
    parser.add_argument(
        "--side", type=int, metavar="PX", help="height and width of the input (default: the backbone's)"
    )
    parser.add_argument("--cut", metavar="LAYER", help="layer to cut after (default: as in training)")
    parser.add_argument("--parts", type=int, default=32, help="number of parts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
