"""Growth of the time of a frame with the number of parts: plain product in the network, and search."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from benchmarks.common.results import markdown_table
from benchmarks.common.rounds import Rounds, difference, interleave, median_of, timed
from partsight.export.graph import Graph
from partsight.export.search import DIMENSIONS, replace_head
from partsight.runtime import ModelPackage
from partsight.runtime.core import FloatArray, Pixels, best_first
from partsight.runtime.enrolment import PrototypeModel
from partsight.runtime.inference import EMBEDDING_NAME, INPUT_NAME, PrototypeSearch, Session, import_onnxruntime
from partsight.runtime.recognition import decide

NEIGHBOURS = 8
SHORTLIST = 32


@dataclass(frozen=True)
class ClassesRow:
    """Figures for one number of parts at one batch size; all milliseconds are for one frame.

    Attributes:
        classes: Number of parts.
        batch: Frames in one run.
        network_ms: Time to the embedding, without a head.
        plain_ms, search_ms: Time that the head and the choice of the best add, with plain product and with search.
        plain_share, search_share: The same times as shares of the network's time.
        needed_median, needed_most: Number of classes whose bound reaches the second best score, median and largest.
        noise_needed: Largest number of such classes for frames of noise, which resemble no part.
        same_best: Share of frames whose best two scores are the same with both heads, to 1e-5.
        same_shortlist: Share of frames whose best 32 classes are the same with both heads.
        nearest: Median cosine of a prototype and its nearest other prototype.
    """

    classes: int
    batch: int
    network_ms: float
    plain_ms: float
    search_ms: float
    plain_share: float
    search_share: float
    needed_median: float
    needed_most: int
    noise_needed: int
    same_best: float
    same_shortlist: float
    nearest: float


class CountingSearch(PrototypeSearch):
    """Search that counts the classes whose bound reaches the second best score."""

    def __init__(self, prototypes: FloatArray) -> None:
        super().__init__(prototypes)
        self.needed: list[int] = []

    def score(self, bound: FloatArray, embedding: FloatArray, slack: float = 1e-5) -> FloatArray:
        """Count, then search."""
        second = np.partition(embedding @ self.prototypes.T, -2, axis=1)[:, -2:-1]
        self.needed += (bound >= second).sum(axis=1).tolist()
        return super().score(bound, embedding, slack)


def more_like(prototypes: FloatArray, count: int, seed: int = 0) -> FloatArray:
    """Return `count` prototypes with a similar distribution, (count, d): the real ones and new ones.

    A new prototype is a real one, moved up to half-way towards one of its eight nearest. To that it adds the difference
    of another real prototype and one of its nearest, times 0.2 to 0.7. So it is a new member of an existing family. New
    prototypes crowd more than real parts would, because each has close siblings.
    """
    rng = np.random.default_rng(seed)
    likeness = prototypes @ prototypes.T
    np.fill_diagonal(likeness, -1)
    near = np.argsort(-likeness, axis=1)[:, :NEIGHBOURS]
    made = np.empty((count, prototypes.shape[1]), np.float32)
    real = min(count, len(prototypes))
    # A smaller count takes prototypes from all over the list, because siblings are next to each other.
    made[:real] = prototypes[np.linspace(0, len(prototypes) - 1, real).astype(int)]
    for start in range(real, count, 4096):
        rows = made[start : start + 4096]
        own, other = rng.integers(0, len(prototypes), (2, len(rows)))
        towards, sibling = (near[indices, rng.integers(0, NEIGHBOURS, len(rows))] for indices in (own, other))
        share, length = (rng.uniform(*limits, (len(rows), 1)).astype(np.float32) for limits in ((0, 0.5), (0.2, 0.7)))
        rows[:] = (1 - share) * prototypes[own] + share * prototypes[towards]
        rows += length * (prototypes[other] - prototypes[sibling])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def measure_classes(package: ModelPackage, frames: Pixels, sizes: list[int], rounds: int) -> list[ClassesRow]:
    """Measure all sizes, one at a time, because the largest network has 800 MB of prototypes.

    Args:
        package: Package with its prototypes in the network.
        frames: Prepared frames, (frames, height, width, 3) uint8 BGR.
        sizes: Numbers of parts.
        rounds: Number of rounds; in each, all competitors take a turn.
    """
    plain = PrototypeModel.parse(package.model_bytes("fp32"), str(package.path))
    real = np.ascontiguousarray(plain.values.T)
    alone = _embedding_session(plain.model)
    rows: list[ClassesRow] = []
    for size in sizes:
        prototypes = more_like(real, size)
        whole = plain.with_prototypes(prototypes.T, package.manifest)
        model = onnx.load_from_string(whole)
        replace_head(model)
        bounding = model.SerializeToString()
        heads = {
            "plain": Session(whole),
            "search": Session(bounding, search=PrototypeSearch(prototypes)),
        }
        del whole, model
        tasks: dict[str, Callable[[], object]] = {}
        for batch in (1, 16):
            tasks[f"network {batch}"] = _embedding(alone, _batches(frames, batch))
            for name, session in heads.items():
                tasks[f"{name} {batch}"] = _answering(session, _batches(frames, batch))
        found = interleave({name: _turn(task) for name, task in tasks.items()}, rounds, f"{size:,} parts")
        facts = _facts(heads["plain"], bounding, prototypes, frames)
        rows += [_row(found, size, batch, facts) for batch in (1, 16)]
    return rows


def _embedding_session(model: onnx.ModelProto) -> Any:
    """Return the network without a head, in a session of ONNX Runtime with partsight's settings."""
    headless = onnx.ModelProto()
    headless.CopyFrom(model)
    del headless.graph.output[:]
    headless.graph.output.extend(item for item in model.graph.output if item.name == EMBEDDING_NAME)
    Graph(headless).drop_unused()
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(headless.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _turn(task: Callable[[], object]) -> Callable[[], float]:
    return lambda: timed(task)


def _batches(frames: Pixels, size: int) -> Iterator[Pixels]:
    starts = range(0, max(len(frames) - size, 0) + 1, size)  # with too few frames, some come twice
    return itertools.cycle([frames[np.arange(start, start + size) % len(frames)] for start in starts])


def _embedding(session: Any, batches: Iterator[Pixels]) -> Callable[[], object]:
    return lambda: session.run([EMBEDDING_NAME], {INPUT_NAME: next(batches)})


def _answering(session: Session, batches: Iterator[Pixels]) -> Callable[[], object]:
    labels = [str(index) for index in range(session.classes)]
    return lambda: decide(session.run(next(batches)).score, labels, 0.5, 5)


def _facts(plain: Session, model: bytes, prototypes: FloatArray, frames: Pixels) -> dict[str, Any]:
    """Return the figures that do not depend on the batch."""
    search = CountingSearch(prototypes)
    counting = Session(model, search=search)
    same_best, same_shortlist = [], []
    for start in range(0, len(frames), 8):
        chunk = frames[start : start + 8]
        for row, expected in zip(counting.run(chunk).score, plain.run(chunk).score, strict=True):
            found, right = best_first(row, SHORTLIST), best_first(expected, SHORTLIST)
            same_best.append(np.allclose(row[found[:2]], expected[right[:2]], atol=1e-5))
            same_shortlist.append(set(found) == set(right))
    needed = search.needed.copy()
    counting.run(np.random.default_rng(0).integers(0, 256, (4, *frames.shape[1:]), np.uint8))
    some = prototypes[:: max(1, len(prototypes) // 200)]
    return {
        "needed_median": float(np.median(needed)),
        "needed_most": max(needed),
        "noise_needed": max(search.needed[len(needed) :]),
        "same_best": float(np.mean(same_best)),
        "same_shortlist": float(np.mean(same_shortlist)),
        "nearest": float(np.median([np.partition(row @ prototypes.T, -2)[-2] for row in some])),
    }


def _row(found: Rounds, classes: int, batch: int, facts: dict[str, Any]) -> ClassesRow:
    network = found[f"network {batch}"]
    network_ms = median_of(network) * 1000 / batch
    added = [difference(found[f"{name} {batch}"], network) * 1000 / batch for name in ("plain", "search")]
    return ClassesRow(classes, batch, network_ms, *added, *(value / network_ms for value in added), **facts)


def classes_table(rows: list[ClassesRow]) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "parts", "batch", "network, ms a frame", "plain product adds", "search adds", "classes that the bound leaves",
        "of a frame of noise", "best two the same", "best 32 the same",
    )  # fmt: skip
    lines = [
        (
            f"{row.classes:,}",
            str(row.batch),
            f"{row.network_ms:.2f}",
            f"{row.plain_ms:.2f} ms ({row.plain_share:.1%})",
            f"{row.search_ms:.2f} ms ({row.search_share:.1%})",
            f"{row.needed_median:.0f}, at most {row.needed_most:,}",
            f"{row.noise_needed:,}",
            f"{row.same_best:.1%}",
            f"{row.same_shortlist:.1%}",
        )
        for row in rows
    ]
    crowding = ", ".join(f"{row.nearest:.2f} of {row.classes:,}" for row in rows if row.batch == 1)
    note = (
        f"The search bounds scores in {DIMENSIONS} dimensions. Added times are medians, within rounds, next to the "
        "network without a head; they include the choice of the best five. The benchmark makes additional "
        f"prototypes (see `more_like`); median cosine of a prototype and its nearest: {crowding}."
    )
    return f"{markdown_table(head, lines)}\n\n{note}"
