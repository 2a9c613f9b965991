"""The gate of the matching graph: export writes it only if each provider of this machine answers as NumPy does."""

import importlib.util

import numpy as np
import onnx

from partsight.export.answers import answers_of
from partsight.export.gate import BATCH, PrecisionGate
from partsight.runtime.core import ExportError, progress
from partsight.runtime.matching import Bank, GraphMatcher, Matcher, Matches
from partsight.runtime.package import Matching

_MAX_DIFFERENCE = 1e-3  # of agreement


def check_graph(graph: onnx.ModelProto, bank: Bank, matching: Matching, gate: PrecisionGate) -> None:
    """Compare the graph with NumPy's answers over golden images and varied frames.

    Args:
        graph: Graph from `trace.matching_graph`.
        bank: Bank of references.
        matching: Settings of the comparison.
        gate: Gate with FP32's answers to the frames.

    Raises:
        ExportError: The graph names another part, accepts another frame, or gives another agreement.
    """
    expected = Matcher(bank, matching.spec)
    providers = ["cpu", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    graphs = {name: GraphMatcher(graph.SerializeToString(), bank, matching.spec, name) for name in providers}
    for frames, answered in gate.answered():
        if frames.compared is None:
            continue
        starts = range(0, len(frames), BATCH)
        for start in progress(starts, len(starts), "checking the matching graph", f"×{BATCH}"):
            rows = slice(start, start + BATCH)
            batch, score = np.ascontiguousarray(frames.compared[rows]), answered.score[rows]
            matches = expected.match(batch, score)
            for name, found in graphs.items():
                _check(matches, found.match(batch, score), matching, f"the matching graph on {name}", start)


def _check(expected: Matches, found: Matches, matching: Matching, what: str, start: int) -> None:
    differing = np.flatnonzero(answers_of(expected, matching) != answers_of(found, matching))
    difference = np.abs(expected.agreement[:, 0] - found.agreement[:, 0])
    worst = int(differing[0] if len(differing) else difference.argmax())
    if len(differing) or not difference[worst] <= _MAX_DIFFERENCE:
        raise ExportError(
            f"{what} and NumPy disagree, so export wrote no package: for frame {start + worst} NumPy gives class "
            f"{expected.classes[worst, 0]} with agreement {expected.agreement[worst, 0]:.4f}, the graph "
            f"{found.classes[worst, 0]} with {found.agreement[worst, 0]:.4f}; expected the same class and acceptance, "
            f"and agreement within {_MAX_DIFFERENCE:g}. Please report it with the output of `partsight doctor`"
        )
