"""How the time of a frame grows with the number of parts: the plain product in the network, and the search."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import _speed
import numpy as np
import onnx

from partsight.export.search import cut_head
from partsight.runtime import ModelPackage
from partsight.runtime.decision import decide
from partsight.runtime.images import Pixels
from partsight.runtime.prototypes import PrototypeModel
from partsight.runtime.search import DIMENSIONS, PrototypeSearch
from partsight.runtime.selection import best_first
from partsight.runtime.session import FloatArray, Session

NEIGHBOURS = 8
SHORTLIST = 32


@dataclass(frozen=True)
class ClassesRow:
    """What was found for one number of parts and one size of batch; milliseconds are of a frame.

    Attributes:
        classes: how many parts.
        batch: frames in one run.
        network_ms: to the embedding, without any head.
        plain_ms, search_ms: what the head and the choice of the best add to it.
        plain_share, search_share: the same, of the network's time.
        needed_median, needed_most: how many classes have a bound that reaches the second best score.
        same_best: share of frames whose best two are the same with both heads.
        same_shortlist: share of frames whose best 32 are the same with both heads.
        unlike_ms: what the search adds to a frame of noise, which is like no part.
        nearest: median cosine of a prototype and the one most like it.
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
    same_best: float
    same_shortlist: float
    unlike_ms: float
    nearest: float


class CountingSearch(PrototypeSearch):
    """A search that can say how many classes its bound leaves."""

    def needed(self, embedding: FloatArray) -> np.ndarray:
        """Return for each frame how many classes have a bound that reaches the second best score."""
        if self._directions is None:
            return np.full(len(embedding), self.classes)
        near = embedding @ self._directions
        rest = np.sqrt(np.maximum(np.square(embedding).sum(axis=1) - np.square(near).sum(axis=1), 0))
        second = np.partition(embedding @ self._prototypes.T, -2, axis=1)[:, -2]
        return np.asarray((near @ self._near + rest[:, None] * self._rest >= second[:, None]).sum(axis=1))


def more_like(prototypes: FloatArray, count: int, seed: int = 0) -> FloatArray:
    """Return the real prototypes, and as many more that lie as they do; (count, d).

    Each is a real one, moved up to half-way towards one of its eight nearest, plus the difference of another real one
    and a near one of its own, at 0.2 to 0.7 of its length: new members of the families that there are, spread as their
    members are. They crowd more than real parts would: every one of them has close siblings.
    """
    rng = np.random.default_rng(seed)
    likeness = prototypes @ prototypes.T
    np.fill_diagonal(likeness, -1)
    near = np.argsort(-likeness, axis=1)[:, :NEIGHBOURS]
    made = np.empty((count, prototypes.shape[1]), np.float32)
    real = min(count, len(prototypes))
    # Of fewer than there are, those spread over all: labels are sorted, and siblings lie beside each other.
    made[:real] = prototypes[np.linspace(0, len(prototypes) - 1, real).astype(int)]
    for start in range(real, count, 4096):
        rows = made[start : start + 4096]
        own, other = rng.integers(0, len(prototypes), (2, len(rows)))
        towards, sibling = (near[places, rng.integers(0, NEIGHBOURS, len(rows))] for places in (own, other))
        share, length = (rng.uniform(*limits, (len(rows), 1)).astype(np.float32) for limits in ((0, 0.5), (0.2, 0.7)))
        rows[:] = (1 - share) * prototypes[own] + share * prototypes[towards]
        rows += length * (prototypes[other] - prototypes[sibling])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def measure_classes(package: ModelPackage, frames: Pixels, sizes: list[int], rounds: int) -> list[ClassesRow]:
    """Measure all sizes, one at a time: the largest network has 800 MB of prototypes.

    Args:
        package: with its prototypes in the network.
        frames: (count, height, width, 3) uint8, as `preprocess` makes them.
        sizes: numbers of parts.
        rounds: in which all take their turn.
    """
    model = PrototypeModel.parse(package.model_bytes("fp32"), str(package.path))
    cut = onnx.ModelProto()
    cut.CopyFrom(model.model)
    real, headless = cut_head(cut), cut.SerializeToString()
    alone = Session(headless, search=PrototypeSearch(real[:1]))
    embedding = np.concatenate([alone.run(frames[start : start + 16]).embedding for start in range(0, len(frames), 16)])
    noise = np.random.default_rng(0).integers(0, 256, (4, *frames.shape[1:]), np.uint8)
    unlike = alone.run(noise).embedding
    rows: list[ClassesRow] = []
    for size in sizes:
        prototypes = more_like(real, size)
        search = CountingSearch(prototypes)
        heads = {
            "network": alone,
            "plain": Session(model.with_prototypes(prototypes.T, package.manifest)),
            "search": Session(headless, search=search),
        }
        turns = {
            f"{name} {batch}": _turn(_answering(session, frames, batch, name != "network"))
            for name, session in heads.items()
            for batch in (1, 16)
        }
        found = _speed.interleave(turns, rounds, f"{size:,} parts")
        facts = _facts(search, embedding, unlike, rounds)
        rows += [_row(found, size, batch, facts) for batch in (1, 16)]
    return rows


def _turn(task: Callable[[], object]) -> Callable[[], float]:
    return lambda: _speed.timed(task)


def _answering(session: Session, frames: Pixels, batch: int, has_head: bool) -> Callable[[], object]:
    labels = [str(place) for place in range(session.classes)]
    starts = itertools.cycle(range(0, len(frames) - batch + 1, batch))

    def answer() -> None:
        start = next(starts)
        inference = session.run(frames[start : start + batch])
        if has_head:
            decide(inference.score, labels, 0.5, 5)

    return answer


def _facts(search: CountingSearch, embedding: FloatArray, unlike: FloatArray, rounds: int) -> dict[str, Any]:
    """Return what does not depend on the batch."""
    needed = np.concatenate([search.needed(embedding[start : start + 8]) for start in range(0, len(embedding), 8)])
    pairs = [
        (best_first(row, SHORTLIST), best_first(plain, SHORTLIST))
        for start in range(0, len(embedding), 8)
        for row, plain in zip(
            search.score(embedding[start : start + 8]), embedding[start : start + 8] @ search.prototypes.T, strict=True
        )
    ]
    some = search.prototypes[:: max(1, search.classes // 200)]
    nearest = [np.partition(row @ search.prototypes.T, -2)[-2] for row in some]
    unlike_s = [_speed.timed(lambda: search.score(unlike), 0.02) for _ in range(rounds)]
    return {
        "needed_median": float(np.median(needed)),
        "needed_most": int(needed.max()),
        "same_best": float(np.mean([found[:2].tolist() == plain[:2].tolist() for found, plain in pairs])),
        "same_shortlist": float(np.mean([set(found) == set(plain) for found, plain in pairs])),
        "unlike_ms": _speed.median_of(unlike_s) * 1000 / len(unlike),
        "nearest": float(np.median(nearest)),
    }


def _row(found: _speed.Rounds, classes: int, batch: int, facts: dict[str, Any]) -> ClassesRow:
    network = found[f"network {batch}"]
    network_ms = _speed.median_of(network) * 1000 / batch
    added = [_speed.difference(found[f"{name} {batch}"], network) * 1000 / batch for name in ("plain", "search")]
    return ClassesRow(classes, batch, network_ms, *added, *(value / network_ms for value in added), **facts)


def classes_table(rows: list[ClassesRow]) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "parts", "batch", "network, ms a frame", "plain product adds", "search adds", "classes that the bound leaves",
        "best two the same", "best 32 the same", "search, frame of noise",
    )  # fmt: skip
    lines = [
        (
            f"{row.classes:,}",
            str(row.batch),
            f"{row.network_ms:.2f}",
            f"{row.plain_ms:.2f} ms ({row.plain_share:.1%})",
            f"{row.search_ms:.2f} ms ({row.search_share:.1%})",
            f"{row.needed_median:.0f}, at most {row.needed_most}",
            f"{row.same_best:.1%}",
            f"{row.same_shortlist:.1%}",
            f"{row.unlike_ms:.2f} ms",
        )
        for row in rows
    ]
    note = (
        f"The search estimates in {DIMENSIONS} dimensions. Added: to the network's time without a head, within rounds, "
        "with the choice of the best five; median. Prototypes beyond the package's own are made of them (see "
        "`more_like`); median cosine of nearest prototypes: "
        + ", ".join(f"{row.nearest:.2f} of {row.classes:,}" for row in rows[::2])
        + "."
    )
    return f"{_speed.markdown(head, lines)}\n\n{note}"
