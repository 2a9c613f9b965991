"""What does a further reference do for a part, and for the other parts?

The benchmark gives every second part of a package its first line frame as a further reference, in memory. It answers
all other frames with and without it. It also asks the network alone, once with the golden image as each part's
prototype, and once with the mean of golden image and frame for these parts.

Example:
    python -m benchmarks.accuracy.references line3.partsight --data PARTS
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.results import make_parser, markdown_table, write_results
from partsight.runtime import ModelPackage, Recognizer, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import FloatArray, progress
from partsight.runtime.images import preprocess
from partsight.runtime.inference import Inference
from partsight.runtime.matching import Bank, Matcher
from partsight.runtime.package import Manifest, add_references
from partsight.runtime.recognition import Answer, decide_matched, load_bank
from partsight.train.catalog import read_catalog

BATCH = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    package = ModelPackage.read(args.package)
    labels, records = package.manifest.labels, load_bank(package).records
    frames = {label: found for label in labels if len(found := list_frames(args.data / "line" / label)) > 1}
    further = {label: frames[label][0] for label in [*frames][::2]}
    added = add_references(package.manifest, records, {label: [read_image(path)] for label, path in further.items()})
    paths = [path for found in frames.values() for path in found[1:]]
    shown = [path.parent.name for path in paths]
    has_further = np.array([label in further for label in shown])
    unknown = find_images(args.data / "unknown")
    with Recognizer(args.package, matching=False) as recognizer:
        taught, of_unknown = infer(recognizer, paths, "line frames"), infer(recognizer, unknown, "unknown parts")
        prototypes = means(recognizer, args.data, labels, further)
    results: dict[str, Any] = {"network": {}, "matched": {}}
    for name, values in prototypes.items():
        best = (taught.embedding @ values.T).argmax(axis=1)
        is_right = [labels[index] == label for index, label in zip(best, shown, strict=True)]
        results["network"][name] = {"right_first": split(is_right, has_further)}
    for name, rows in (("golden", records), ("further", added.records)):
        known = answer(package.manifest, rows, paths, taught.score, f"line frames, {name}")
        others = answer(package.manifest, rows, unknown, of_unknown.score, f"unknown parts, {name}")
        results["matched"][name] = judge(known, shown, has_further) | {
            "unknown_refused": float(np.mean([item.label is None for item in others]))
        }
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results | {"frames": len(paths), "unknown_frames": len(unknown)}, table)


def list_frames(folder: Path) -> list[Path]:
    """Return the frames in a folder; none if there is no such folder."""
    return find_images(folder) if folder.is_dir() else []


def infer(recognizer: Recognizer, paths: Sequence[Path], what: str) -> Inference:
    """Return the network's scores, (files, classes), and embeddings, (files, d), of image files."""
    starts = range(0, len(paths), BATCH)
    found = [
        recognizer.infer([read_image(path) for path in paths[start : start + BATCH]])
        for start in progress(starts, len(starts), what, f"×{BATCH}")
    ]
    score, embedding = (np.concatenate([getattr(item, name) for item in found]) for name in ("score", "embedding"))
    return Inference(score=score, embedding=embedding)


def means(recognizer: Recognizer, data: Path, labels: Sequence[str], further: dict[str, Path]) -> dict[str, FloatArray]:
    """Return prototypes, (classes, d) each: of golden images, and of the mean with further references."""
    files = {golden.label: golden.path for golden in read_catalog(data / "golden").goldens}
    golden = infer(recognizer, [files[label] for label in labels], "golden images").embedding
    mixed = golden.copy()
    rows = [labels.index(label) for label in further]
    mixed[rows] += infer(recognizer, list(further.values()), "further references").embedding
    return {"golden": golden, "mean": mixed / np.linalg.norm(mixed, axis=1, keepdims=True)}


def answer(
    manifest: Manifest, records: np.ndarray, paths: Sequence[Path], score: FloatArray, what: str
) -> list[Answer]:
    """Answer image files with chosen references; `score` holds the network's scores, (files, classes)."""
    assert manifest.matching is not None
    spec, rule, bank, answers = (
        manifest.matching.spec,
        manifest.matching.decision.rule,
        Bank.of(records),
        list[Answer](),
    )
    matcher, starts = Matcher(bank, spec), range(0, len(paths), BATCH)
    for start in progress(starts, len(starts), what, f"×{BATCH}"):
        images = [read_image(path) for path in paths[start : start + BATCH]]
        batch = preprocess(images, spec.preprocess(manifest.preprocess))
        matches = matcher.match(batch, score[start : start + BATCH])
        answers += decide_matched(matches, bank, spec, manifest.labels, rule, top=1)
    return answers


def judge(answers: Sequence[Answer], shown: Sequence[str], has_further: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the shares of frames with each kind of answer; `shown` names the part of each frame."""
    pairs = list(zip(answers, shown, strict=True))
    return {
        "right_first": split([item.top[0].label == label for item, label in pairs], has_further),
        "refused": split([item.label is None for item, _ in pairs], has_further),
        "wrong": split([item.label not in (None, label) for item, label in pairs], has_further),
        "by_further": split([bool(item.reference) for item, _ in pairs], has_further),
    }


def split(is_so: Sequence[bool], has_further: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the share of frames of parts with a further reference, and of the other parts."""
    flags = np.asarray(is_so, bool)
    return float(flags[has_further].mean()), float(flags[~has_further].mean())


def to_table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    network, matched = results["network"], results["matched"]
    rows = [
        ("network alone, right part first: prototype is the golden image", network["golden"]["right_first"]),
        ("the same: prototype is the mean of golden image and frame", network["mean"]["right_first"]),
    ]
    named = {"right_first": "right part first", "refused": "unknown", "wrong": "another part's label"}
    for key, name in named.items():
        rows += [
            (f"{name}: golden image alone", matched["golden"][key]),
            ("the same: with the further reference", matched["further"][key]),
        ]
    rows.append(("answered by the further reference", matched["further"]["by_further"]))
    lines = [(name, *(f"{share:.2%}" for share in shares)) for name, shares in rows]
    refused = [f"{matched[kind]['unknown_refused']:.2%}" for kind in ("golden", "further")]
    lines.append(("unknown parts refused: golden images alone; with further references", *refused))
    return markdown_table(("frames of", "parts with a further reference", "other parts"), lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "references")
    parser.add_argument("package", type=Path, help="package whose parts have one reference each")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
