"""The outputs of a bundle: the decision, as nodes of its graph. `recognition.ANSWER_TENSORS` is their contract."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.matching import Matches, MatchingSpec, Rule
from partsight.runtime.matching.graph_nodes import Node, Trace
from partsight.runtime.matching.graph_operations import GraphOperations
from partsight.runtime.recognition import ANSWER_TENSORS, MAX_TOP, NETWORK_SCORE, REASONS
from partsight.runtime.recognition.tensors import NO_PART

RECOGNISED, AGREES_WITH_NONE, TWO_PARTS_FIT = range(len(REASONS))
"""Values of the output `reason`: indices of `REASONS`."""

_OPS = GraphOperations()


@dataclass(frozen=True)
class Texts:
    """Texts of the outputs `label` and `package_id`, which only ONNX Runtime computes: OpenVINO has no texts.

    Attributes:
        labels: Labels of the parts, in order.
        package_id: Id of the package.
    """

    labels: Sequence[str]
    package_id: str


@dataclass(frozen=True)
class Scored:
    """Nodes that the outputs need next to the matches.

    Attributes:
        score: Scores of the network, (batch, parts) float32.
        references_of: References of each part, (parts, most references of a part), see `Bank`.
    """

    score: Node
    references_of: Node


def add_outputs(
    trace: Trace, matches: Matches, scored: Scored, rule: Rule, spec: MatchingSpec, texts: Texts | None
) -> None:
    """Append the decision, equal to `Matches` and `decide_matched`, and all outputs.

    Args:
        trace: Graph of the bundle.
        matches: Comparison of each frame with its candidates, as nodes.
        scored: Further nodes.
        rule: Least agreement that is accepted.
        spec: Settings of the comparison, with the least margin.
        texts: Texts of two outputs; None to leave these out.
    """
    outputs = _decision(matches, rule, spec) | _top(matches) | _best(matches, scored)
    if texts is not None:
        outputs |= _texts(trace, outputs, texts)
    for tensor in ANSWER_TENSORS:
        if tensor.name in outputs:
            trace.output(tensor.name, outputs[tensor.name])
    trace.output(NETWORK_SCORE, scored.score)


def _decision(matches: Matches, rule: Rule, spec: MatchingSpec) -> dict[str, Node]:
    agreement, accepted, needed = matches.agreement[:, 0], matches.is_accepted(rule, spec), matches.needed(rule)
    refused = _OPS.where(agreement >= needed, np.int64(TWO_PARTS_FIT), np.int64(AGREES_WITH_NONE))
    return {
        "label_index": matches.classes[:, 0],
        "agreement": agreement,
        "margin": matches.margin,
        "threshold": needed,
        "least_margin": matches.least_margin(spec),
        "accepted": accepted,
        "reason": _OPS.where(accepted, np.int64(RECOGNISED), refused),
    }


def _top(matches: Matches) -> dict[str, Node]:
    missing = max(0, MAX_TOP - matches.agreement.shape[1])
    agreement = _OPS.concat([matches.agreement, *[matches.agreement[:, :1] * 0.0] * missing])[:, :MAX_TOP]
    index = _OPS.concat([matches.classes, *[matches.classes[:, :1]] * missing])[:, :MAX_TOP]
    return {"top_index": _OPS.where(agreement > 0, index, np.int64(NO_PART)), "top_agreement": agreement}


def _best(matches: Matches, scored: Scored) -> dict[str, Node]:
    """Return pose and reference of the best part."""
    x, y, angle, shear, stretch = (values[:, 0] for values in matches.poses.values)
    degrees = angle * np.float32(180 / np.pi)
    first = _OPS.take_index(scored.references_of, matches.classes[:, 0])[:, 0]
    return {
        "pose": _OPS.stack([x, y, degrees, shear, stretch]),
        "reference": matches.references[:, 0] - first,
    }


def _texts(trace: Trace, outputs: dict[str, Node], texts: Texts) -> dict[str, Node]:
    """Return the label of each frame, empty if the part is unknown, and the id of the package for each frame.

    Gather is one of the few operators that ONNX Runtime has for texts.
    """
    labels = trace.store("labels", np.array([*texts.labels, ""], np.object_))
    package_id = trace.store("package_id_text", np.array([texts.package_id], np.object_))
    index = _OPS.where(outputs["accepted"], outputs["label_index"], np.int64(len(texts.labels)))
    return {"label": _rows(labels, index), "package_id": _rows(package_id, index * 0)}


def _rows(table: Node, index: Node) -> Node:
    return table.trace.add("Gather", [table, index], index.shape, axis=0)
