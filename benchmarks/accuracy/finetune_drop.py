"""Does a network forget its golden images when it is fine-tuned?

The benchmark trains a head on the frozen network's features. From that start it fine-tunes the last blocks of the
network in five variants:

(a) frozen BatchNormalization that uses the batch's statistics, as Keras did before TensorFlow 2
(b) `base(x, training=False)`, as guides advise today
(c) partsight's freeze plan, with flags toggled afterwards
(p) partsight's freeze plan, with the optimiser of (a) to (c)
(d) partsight

It reads DATA/golden.

Examples:
    python -m benchmarks.accuracy.finetune_drop
    python -m benchmarks.accuracy.finetune_drop --backbone InceptionV3 --weights inception_v3_notop.weights.h5
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.accuracy.drop_plot import plot
from benchmarks.common.results import make_parser, write_results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    from benchmarks.accuracy.drop_comparison import run_comparison  # imports TensorFlow

    results = run_comparison(args)
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results, f"{table}\n\n{to_notes(results)}")
    plot(args.out / f"{args.name}.png", results)
    print(f"written to {args.out / args.name}.json, .md and .png")


def to_table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    names = (
        f"{results['backbone']}, {results['classes']} parts",
        "printed by Keras: before any step",
        "epoch 1",
        "last epoch",
        "golden images recognised in inference, as on the line: before any step",
        "lowest after an epoch",
        "lowest within epoch 1",
        "with the final weights",
        "varied copies, with the final weights",
        "moving statistics changed",
    )
    original = results["original_report"]
    report = (
        "original report",
        f"{original['head']:.4f} (end of head training)",
        f"{original['epoch_1']:.4f}",
        f"{original['epoch_21']:.4f} (epoch 21)",
        *[""] * 4,
        f"{original['validation']:.4f} (its validation)",
        "",
    )
    rows = [_row(results, variant) for variant in results["variants"]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *rows, report))


def _row(results: dict[str, Any], variant: dict[str, Any]) -> tuple[str, ...]:
    points = variant["points"]
    after = epoch_ends(results, variant)
    within = [point["golden"] for point in points[1:] if 0 < point["step"] < results["steps_per_epoch"]]
    return (
        f"({variant['key']}) {variant['name']}",
        *(f"{point['printed']:.4f}" for point in (points[0], after[0], after[-1])),
        f"{points[0]['golden']:.4f}",
        f"{min(point['golden'] for point in after):.4f}",
        f"{min(within):.4f}" if within else "",
        f"{variant['left']:.4f}",
        f"{variant['held_out']:.4f}",
        f"{variant['moved']} of {variant['statistics']}" if variant["statistics"] else "none there",
    )


def epoch_ends(results: dict[str, Any], variant: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the points at the end of each epoch."""
    return [point for point in variant["points"][1:] if point["step"] % results["steps_per_epoch"] == 0]


def to_notes(results: dict[str, Any]) -> str:
    """Return the common and the different settings of the variants as text."""
    kind = {"none": "random", "embedded": "embedded ImageNet", "imagenet": "ImageNet"}.get(results["weights"])
    weights = f"{kind} weights" if kind else f"weights of the file {results['weights']}"
    cut, size = results["cut"], f"{results['side_px']}×{results['side_px']}"
    return "\n".join(
        (
            f"{results['backbone']} at {size}, {weights}; head {results['head']}, trained on inference-mode features "
            f"to a golden accuracy of {results['stage1_golden_accuracy']:.4f}. Keras {results['keras']}.",
            "",
            f"- Equal for all: weights before the first step, {results['classes']} golden images with "
            f"{results['copies']} varied copies each, their order, batches of {results['batch']}, "
            f"{results['steps_per_epoch']} steps an epoch. No dropout.",
            f"- Different: (a), (p) and (d) train the layers after {cut} without BatchNormalization; (b) trains them "
            "with BatchNormalization; (c) trains every layer, because toggling undid the plan.",
            f"- Different: all but (d) use {results['old_optimizer']} and the head's plain loss; (d) uses partsight's "
            f"recipe, {results['own_optimizer']}, at the batch size of the others; a cosine head's prototypes follow "
            "the golden images instead of training.",
            "- Printed by Keras: mean accuracy in training mode over the epoch's batches so far, as `fit` prints it; "
            "before any step, over the golden images. For (d) the benchmark counts it on the same batches.",
            "- In inference, as on the line: after an epoch, (d) uses the running average of its weights, which "
            "training keeps. Within an epoch it uses its raw weights, and a cosine head uses prototypes up to a "
            "quarter of an epoch old; no package holds these.",
            "- Varied copies: one for each part; no variant trained on them.",
            *(_verdict(results, variant) for variant in results["variants"] if variant["key"] == "d"),
        )
    )


def _verdict(results: dict[str, Any], ours: dict[str, Any]) -> str:
    floor = results["stage1_golden_accuracy"] - results["tolerance"]
    lowest = min(point["golden"] for point in epoch_ends(results, ours))
    kept = "stayed at or above" if lowest >= floor else "FELL BELOW"
    return (
        f"- After every epoch, golden accuracy of (d) {kept} stage 1's minus {results['tolerance']:g} (lowest "
        f"{lowest:.4f}, floor {floor:.4f}). It {ours['outcome']}."
    )


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, "finetune_drop")
    add = parser.add_argument
    add("--backbone", default="EfficientNetLite0", metavar="NAME", help="(default: %(default)s)")
    add("--weights", metavar="PATH|imagenet|none", help="weights of the backbone (default: the backbone's)")
    add("--head", default="cosine", choices=("cosine", "dense"), help="(default: %(default)s)")
    add("--variants", default="abcpd", metavar="LETTERS", help="variants to run (default: %(default)s)")
    add("--side", type=int, metavar="PX", help="height and width of the input (default: the backbone's)")
    add("--cut", metavar="LAYER", help="layer to cut after (default: as in training)")
    add("--classes", type=int, metavar="N", help="number of parts, spread over the catalogue (default: all)")
    add("--epochs", type=int, default=3, help="(default: %(default)s)")
    add("--copies", type=int, default=0, metavar="N", help="varied copies of each golden image (default: %(default)s)")
    add("--batch", type=int, default=32, help="number of images in a step (default: %(default)s)")
    add(
        "--learning-rate",
        type=float,
        default=1e-4,
        metavar="X",
        help="learning rate of all variants but (d) (default: %(default)s)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
