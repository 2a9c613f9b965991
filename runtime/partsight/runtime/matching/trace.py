"""Tracing: the algorithm of `matching.matcher` becomes an ONNX graph.

`match` is written once, on arrays and an object with the array operations. Here it runs on nodes of a graph and
`GraphOperations`: each operation appends a few ONNX operators.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from partsight.runtime.matching import Bank, Matches, MatchingSpec, match
from partsight.runtime.matching.bank import FIELDS
from partsight.runtime.matching.graph_nodes import BATCH, FRAMES_TRACED, Node, Trace
from partsight.runtime.matching.graph_operations import GraphOperations

FRAMES, SCORE = "frames", "score"
CLASSES, AGREEMENT, REFERENCES = "classes", "agreement", "references"
POSES, PARALLAX, LEAD = "poses", "parallax", "lead"

_CLASSES, _REFERENCES = "classes", "references"  # names of axes


def matching_graph(spec: MatchingSpec, bank: Bank) -> onnx.ModelProto:
    """Return the whole algorithm, `match`, as an ONNX graph.

    The bank's arrays are inputs, so that one graph serves a package before and after enrolment.

    | input | |
    |---|---|
    | `frames` | (batch, height, width, 3) uint8 BGR |
    | `score` | (batch, classes) float32, scores of the network |
    | `bank.FIELD` | each array of `matching.bank.FIELDS`, of any number of references and classes |

    | output | |
    |---|---|
    | `classes` | (batch, finalists) int64, see `Matches` |
    | `agreement` | (batch, finalists) float32 |
    | `references` | (batch, finalists) int64 |
    | `poses` | (batch, finalists, 5) float32: x, y, angle, shear, stretch |
    | `parallax` | (batch, finalists, 2, rows, columns) float32: shift of each cell to the right and down, in pixels |
    | `lead` | (batch,) float32 |

    The graph fixes the counts of candidates and finalists, and the most references of a class. Trace again:

    - if a bank with fewer parts than `by_thumbnail`, `by_network` or `finalists` gets more of them;
    - if a bank shrinks below one of these counts;
    - if the most references of a class change.

    Args:
        spec: Specification of matching.
        bank: Bank of references; the graph keeps only its shapes.
    """
    trace = Trace()
    frames = trace.input(FRAMES, np.uint8, (FRAMES_TRACED, *spec.size_hw, 3), {0: BATCH})
    score = trace.input(SCORE, np.float32, (FRAMES_TRACED, bank.classes), {0: BATCH, 1: _CLASSES})
    arrays = {
        name: trace.input(bank_name(name), values.dtype, values.shape, {0: _axis(name)})
        for name, values in arrays_of(bank).items()
    }
    matches = trace_matching(frames, score, Bank(records=None, **arrays), spec)
    trace.output(CLASSES, matches.classes)
    trace.output(AGREEMENT, matches.agreement)
    trace.output(REFERENCES, matches.references)
    trace.output(POSES, GraphOperations.stack(matches.poses.values))
    right, down = (shift[:, :, None] for shift in (matches.parallax.right, matches.parallax.down))
    shape = (FRAMES_TRACED, right.shape[1], 2, *right.shape[3:])
    trace.output(PARALLAX, trace.add("Concat", [right, down], shape, axis=2))
    trace.output(LEAD, matches.lead)
    return trace.model


def trace_matching(frames: Node, score: Node, bank: Bank, spec: MatchingSpec) -> Matches:
    """Append the algorithm to the graph of these nodes; see `match`. The arrays of the bank are nodes, too."""
    operations: Any = GraphOperations()
    return match(frames, score, bank, spec, operations)


def bank_name(name: str) -> str:
    """Return the name that an array of the bank has in a graph."""
    return f"bank.{name}"


def arrays_of(bank: Bank) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a bank by name."""
    return {name: np.asarray(getattr(bank, name)) for name in FIELDS}


def _axis(name: str) -> str:
    return _CLASSES if name == "references_of" else _REFERENCES
