"""The gate of the matching graph passes a sound graph, and refuses one with a single defect."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from partsight.export import graph_gate
from partsight.export.answers import UNKNOWN
from partsight.export.frames import PreparedFrames
from partsight.export.gate import ModelAnswers
from partsight.export.graph_gate import check_graph
from partsight.runtime.core.errors import ExportError
from partsight.runtime.matching import Bank, GraphMatcher, Matches
from partsight.runtime.matching.trace import matching_graph
from partsight.runtime.package.manifest import Decision, Matching
from tests.runtime.matching.case import SPEC, Case, load_case, stretch_samples

MATCHING = Matching(SPEC, Decision("agreement", 0.3, "by hand", 1, 0.0), (), "bank.npy", "matching.onnx")

Refused = Callable[..., str]


class Shown:
    """Stands in for `Gate`: golden images and frames of a line, and scores."""

    def __init__(self, case: Case, compared: bool = True) -> None:
        self._case, self._compared = case, compared

    def answered(self) -> Iterator[tuple[PreparedFrames, ModelAnswers]]:
        case, parts = self._case, len(self._case.references)
        for frames, score in ((case.references, np.eye(parts, dtype=np.float32)), (case.frames, case.score)):
            yield (
                PreparedFrames(frames, frames if self._compared else None),
                ModelAnswers(score, np.full(len(frames), UNKNOWN)),
            )


@pytest.fixture(scope="module")
def case(example_parts: Path) -> Case:
    return load_case(example_parts).part(20)


@pytest.fixture(scope="module")
def graph(case: Case) -> onnx.ModelProto:
    return matching_graph(SPEC, case.bank)


@pytest.fixture
def refused(case: Case) -> Refused:
    """Check a graph, expect a refusal, and return the message."""

    def _refused(graph: onnx.ModelProto) -> str:
        with pytest.raises(ExportError) as caught:
            check_graph(graph, case.bank, MATCHING, Shown(case))  # type: ignore[arg-type]
        return str(caught.value)

    return _refused


def copied(graph: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    return model


def test_a_sound_graph_passes_on_each_provider(
    case: Case, graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over golden images and frames, every one of them."""
    seen: dict[str, int] = {}

    class Counted(GraphMatcher):
        def __init__(self, graph: bytes, bank: Bank, spec: Any, provider: str) -> None:
            super().__init__(graph, bank, spec, provider)
            self.provider = provider

        def match(self, frames: Any, score: Any) -> Matches:
            seen[self.provider] = seen.get(self.provider, 0) + len(frames)
            return super().match(frames, score)

    monkeypatch.setattr(graph_gate, "GraphMatcher", Counted)
    check_graph(graph, case.bank, MATCHING, Shown(case))  # type: ignore[arg-type]
    has_openvino = graph_gate.importlib.util.find_spec("openvino") is not None
    assert seen == dict.fromkeys(("cpu", "openvino") if has_openvino else ("cpu",), 20 + len(case.frames))


def test_without_a_second_stage_nothing_is_compared(case: Case, graph: onnx.ModelProto) -> None:
    check_graph(graph, case.bank, MATCHING, Shown(case, compared=False))  # type: ignore[arg-type]


def test_a_grid_that_is_stretched(case: Case, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    stretch_samples(monkeypatch)
    message = refused(matching_graph(SPEC, case.bank))
    for datum in (" cpu ", " NumPy ", " frame ", " 0.001"):
        assert datum in message


def test_channels_that_are_swapped(graph: onnx.ModelProto, refused: Refused) -> None:
    model = copied(graph)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "frames":
                node.input[index] = "swapped"
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "from_red"))
    model.graph.node.insert(0, helper.make_node("Gather", ["frames", "from_red"], ["swapped"], axis=3))
    assert "disagree" in refused(model)


@pytest.mark.parametrize("name", ["thumbnails", "middle", "fine_rows", "image", "slope"])
def test_a_wrong_row_of_the_bank(
    name: str, case: Case, graph: onnx.ModelProto, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another(graph: bytes, bank: Bank, *options: Any) -> GraphMatcher:
        records = bank.records.copy()
        records[name] = np.roll(records[name], 1, axis=0)
        return GraphMatcher(graph, Bank.of(records), *options)

    monkeypatch.setattr(graph_gate, "GraphMatcher", of_another)
    assert "disagree" in refused(graph)


@pytest.mark.parametrize(("difference", "passes"), [(0.0, True), (9e-4, True), (2e-3, False), (np.nan, False)])
def test_how_much_agreement_may_differ(
    difference: float,
    passes: bool,
    case: Case,
    graph: onnx.ModelProto,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one frame of all, whose acceptance is the same."""

    class Off(GraphMatcher):
        def match(self, frames: Any, score: Any) -> Matches:
            found = super().match(frames, score)
            found.agreement[2, 0] -= difference
            return found

    monkeypatch.setattr(graph_gate, "GraphMatcher", Off)
    if passes:
        check_graph(graph, case.bank, MATCHING, Shown(case))  # type: ignore[arg-type]
    else:
        assert re.search(r"frame 2 .*class 2 .*0\.9", refused(graph))


def test_another_acceptance(
    case: Case, graph: onnx.ModelProto, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two parts fit for the graph, one for NumPy."""

    class Unsure(GraphMatcher):
        def match(self, frames: Any, score: Any) -> Matches:
            found = super().match(frames, score)
            found.agreement[5, 1] = found.agreement[5, 0] - SPEC.least_margin / 2
            return found

    monkeypatch.setattr(graph_gate, "GraphMatcher", Unsure)
    assert re.search(r"frame 5 .*class 5 ", refused(graph))
