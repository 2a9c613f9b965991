"""The matching graph answers as NumPy and OpenCV do."""

import inspect
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from partsight.runtime.matching import MatchingSpec
from partsight.runtime.matching.graph_nodes import ALLOWED_OPERATORS, FRAMES_TRACED, Trace
from partsight.runtime.matching.graph_operations import GraphOperations
from partsight.runtime.matching.matcher import Matches
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.trace import arrays_of, bank_name, matching_graph
from partsight.runtime.package.onnx_file import check_onnx
from tests.runtime.matching.case import (
    FRAMES,
    SPEC,
    Case,
    bank_of,
    by_arrays,
    feeds,
    load_case,
    session,
    stretch_samples,
)

MAX_DIFFERENCE = 1e-3  # of agreement; rounding makes 1e-5
MAX_PARALLAX_PX = 0.01


@pytest.fixture(scope="module")
def case(example_parts: Path) -> Case:
    return load_case(example_parts)


@pytest.fixture(scope="module")
def graph(case: Case) -> onnx.ModelProto:
    return matching_graph(SPEC, case.bank)


def assert_same(found: list[Any], expected: Matches) -> None:
    """Compare all outputs; finalists that agree equally may stand in any order."""
    classes, agreement, references, poses, parallax, lead = found
    valid = expected.agreement > 0
    print("largest difference of agreement:", np.abs(agreement - expected.agreement).max())
    assert np.abs(agreement - expected.agreement).max() < MAX_DIFFERENCE
    assert (classes[:, 0] == expected.classes[:, 0]).all()
    assert (classes == expected.classes)[valid].all()
    assert (references == expected.references)[valid].all()
    assert np.abs(poses - np.stack(expected.poses.values, -1))[valid].max() < MAX_DIFFERENCE
    shifts = np.stack([expected.parallax.right, expected.parallax.down], 2)
    assert parallax.shape == shifts.shape
    assert np.abs(parallax - shifts)[valid].max() < MAX_PARALLAX_PX
    assert np.abs(lead - expected.lead).max() < MAX_DIFFERENCE


@pytest.mark.parametrize("count", [1, 5, 16])
def test_answers_as_arrays_do(case: Case, graph: onnx.ModelProto, count: int) -> None:
    found = session(graph).run(None, feeds(case, count))
    expected = by_arrays(case, count)
    assert_same(found, expected)
    assert (expected.classes[:, 0] == case.classes[:count]).mean() > 0.9
    assert [values.dtype for values in found] == [np.int64, np.float32, np.int64] + [np.float32] * 3


@pytest.mark.parametrize("count", [1, 16])
def test_answers_on_openvino(case: Case, graph: onnx.ModelProto, count: int) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    # Without the hint it computes in bfloat16 where the processor can.
    model = core.compile_model(core.read_model(graph.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_same(list(model(feeds(case, count)).values()), by_arrays(case, count))


def test_other_sizes_of_references(case: Case) -> None:
    spec = MatchingSpec(height=144, width=192, by_thumbnail=0)
    frames, references = case.frames[:, 24:-24], case.references[:, 24:-24]
    wide = Case(references, np.ascontiguousarray(frames), case.score, case.classes, bank_of(references))
    assert_same(session(matching_graph(spec, wide.bank)).run(None, feeds(wide)), by_arrays(wide, FRAMES, spec))


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_fewer_parts_than_finalists_or_candidates(case: Case, parts: int) -> None:
    few = case.part(parts)
    assert_same(session(matching_graph(SPEC, few.bank)).run(None, feeds(few)), by_arrays(few))


def test_several_references_of_a_class(case: Case) -> None:
    classes = [0, 0, 0, 1, 2, 2, *range(3, 57)]
    many = Case(case.references, case.frames, case.score[:, :57], case.classes, bank_of(case.references, classes))
    assert_same(session(matching_graph(SPEC, many.bank)).run(None, feeds(many)), by_arrays(many))


def test_serves_a_bank_that_grew(case: Case) -> None:
    graph = matching_graph(SPEC, case.first(30))
    assert_same(session(graph).run(None, feeds(case)), by_arrays(case))


def test_operators_sizes_and_names(case: Case, graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    check_onnx(graph.SerializeToString(), "matching")
    assert {node.op_type for node in graph.graph.node} <= ALLOWED_OPERATORS
    assert not ALLOWED_OPERATORS & {"If", "Loop", "Scan", "Atan"}
    assert graph.ByteSize() < 1e6
    assert (graph.opset_import[0].version, graph.ir_version) == (18, 10)
    first = {
        value.name: value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.graph.input, *graph.graph.output)
    }
    in_bank = {name: axis for name, axis in first.items() if name.startswith("bank.")}
    assert set(in_bank) == {bank_name(name) for name in arrays_of(case.bank)}
    assert {name for name, axis in in_bank.items() if axis == "classes"} == {"bank.references_of"}
    assert set(in_bank.values()) == {"references", "classes"}
    rest = {name: axis for name, axis in first.items() if name not in in_bank}
    names = ("frames", "score", "classes", "agreement", "references", "poses", "parallax", "lead")
    assert rest == dict.fromkeys(names, "batch")


def test_coordinates_stay_float32(graph: onnx.ModelProto) -> None:
    casts = {node.attribute[0].i for node in graph.graph.node if node.op_type == "Cast"}
    assert casts == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


def test_batch_can_be_fixed(case: Case, graph: onnx.ModelProto) -> None:
    fixed = session(graph, batch=5)
    assert fixed.get_inputs()[0].shape[0] == 5
    assert_same(fixed.run(None, feeds(case, 5)), by_arrays(case, 5))


def test_has_every_operation_that_matching_uses() -> None:
    names = {name for name, _ in inspect.getmembers(ArrayOperations) if not name.startswith("_")}
    assert {name for name, _ in inspect.getmembers(GraphOperations) if not name.startswith("_")} == names - {"channels"}


def test_indexing_and_operators_as_numpy() -> None:
    values = np.random.default_rng(1).random((4, 6, 7), np.float32)
    written = Trace()
    node = written.input("values", np.float32, (FRAMES_TRACED, 6, 7), {0: "batch"})
    other = np.float32([[2], [3], [4], [5], [6], [7]])

    def results(x: Any) -> list[Any]:
        return [
            x[:, 1:-1, ::2],
            x[..., 0],
            x[:, -1, :],
            x[:, None, :, 1:3, None],
            x[:, :, 2][..., None],
            1 - x,
            2 / (x + other),
            other * x - -x,
            (x @ other.reshape(1, 6)[:, :1].repeat(7, 0)) / 3,
            other.T @ x,
            x.reshape(-1, 42),
        ]

    for number, result in enumerate(results(node)):
        written.output(f"result_{number}", result)
    for found, expected in zip(session(written.model).run(None, {"values": values}), results(values), strict=True):
        assert found.shape == expected.shape
        assert np.allclose(found, expected)


def test_atan_is_exact_where_poses_turn() -> None:
    written = Trace()
    node = written.input("values", np.float32, (FRAMES_TRACED,), {0: "batch"})
    written.output("angle", GraphOperations.atan(node))
    values = np.linspace(-0.6, 0.6, 1001, dtype=np.float32)
    (found,) = session(written.model).run(None, {"values": values})
    assert np.abs(found - np.arctan(values)).max() < 1e-7
    assert math.tan(0.42) < 0.6


class TestSabotage:
    """A graph that is wrong in one place gives answers that differ by more than rounding does."""

    def _difference(self, case: Case, graph: onnx.ModelProto, values: dict[str, np.ndarray] | None = None) -> float:
        agreement = session(graph).run(["agreement"], values or feeds(case))[0]
        return float(np.abs(agreement[:, 0] - by_arrays(case).agreement[:, 0]).max())

    def test_a_grid_that_is_stretched(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        stretch_samples(monkeypatch)
        assert self._difference(case, matching_graph(SPEC, case.bank)) > 10 * MAX_DIFFERENCE

    def test_channels_that_are_swapped(self, case: Case, graph: onnx.ModelProto) -> None:
        swapped = {**feeds(case), "frames": np.ascontiguousarray(case.frames[..., ::-1])}
        assert self._difference(case, graph, swapped) > 10 * MAX_DIFFERENCE

    @pytest.mark.parametrize("name", ["thumbnails", "middle", "fine_rows", "fine_slopes", "image", "slope"])
    def test_rows_of_the_bank_that_are_shifted(self, case: Case, graph: onnx.ModelProto, name: str) -> None:
        values = feeds(case)
        values[bank_name(name)] = np.roll(values[bank_name(name)], 1, axis=0)
        assert self._difference(case, graph, values) > MAX_DIFFERENCE

    def test_another_tolerance(self, case: Case) -> None:
        other = msgspec.structs.replace(SPEC, tolerance_px=SPEC.tolerance_px * 1.1)
        assert self._difference(case, matching_graph(other, case.bank)) > MAX_DIFFERENCE
