"""The cosine head of very many parts: the graph bounds the scores, and the package's search computes those that matter.

The prototypes go into a file of their own.
"""

from typing import Any, Literal

import numpy as np
import onnx

from partsight.export.graph import Graph
from partsight.runtime.core import ExportError, FloatArray, Pixels, best_first
from partsight.runtime.enrolment import BOUNDS_NAME, DIRECTIONS_NAME, find_prototypes
from partsight.runtime.inference import BOUND_NAME, EMBEDDING_NAME, SCORE_NAME, PrototypeSearch, Session, bound_matrix
from partsight.runtime.package import Decision

SEARCH_FROM = 10_000
"""Parts from which on a package has a search, unless the user decides: there the product takes a fifth of the network's
time on a CPU, one frame at a time. Below, a network that gives the scores itself is the simpler package."""

WhenSearch = Literal["auto", "always", "never"]
WHEN_SEARCH: tuple[WhenSearch, ...] = ("auto", "always", "never")

DIMENSIONS = 48
"""Directions of the bounds. At 100,000 parts they are read from memory for each batch, 19 MB; with 32 twice as many
classes reach the second best score."""

_REST_SLACK = 1e-6  # in squares up to 1, for the rounding of float32
_MAX_DIFFERENCE = 1e-5
_SAMPLE = 4096  # prototypes that the directions are taken from
_SPARE_DIRECTIONS = 16
_ITERATIONS = 3


def wants_search(when: WhenSearch, decision: Decision, classes: int) -> bool:
    """Say whether a package shall have a search.

    Args:
        when: `auto` for a cosine head of `SEARCH_FROM` parts or more.
        decision: of the network's scores.
        classes: how many parts.

    Raises:
        ExportError: it shall always, and the head is not a cosine head.
    """
    is_cosine = decision.score == "cosine"
    if when == "always" and not is_cosine:
        raise ExportError(
            f"the scores are a {decision.score}, and a search needs the scores of a cosine head: train "
            "with --head cosine, or export without --search always"
        )
    return when == "always" or (when == "auto" and is_cosine and classes >= SEARCH_FROM)


def replace_head(model: onnx.ModelProto, dimensions: int = DIMENSIONS) -> FloatArray:
    """Put bounds of the scores in the place of the product with the prototypes.

    Args:
        model: folded, with a cosine head; changed in place.
        dimensions: of the bounds.

    Returns:
        The prototypes, (classes, d) float32.

    Raises:
        ExportError: the graph does not end in such a product.
    """
    index = find_prototypes(model.graph)
    if index is None:
        raise ExportError(
            "the graph's scores are not the embedding times one constant; expected so of a cosine head: please report "
            "it with the backbone's name, and export with --search never"
        )
    prototypes = np.ascontiguousarray(onnx.numpy_helper.to_array(model.graph.initializer[index]).T, np.float32)
    outputs = [item for item in model.graph.output if item.name != SCORE_NAME]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    Graph(model).drop_unused()
    _add_bounds(model.graph, prototypes, dimensions)
    onnx.checker.check_model(model, full_check=True)
    return prototypes


def _add_bounds(graph: onnx.GraphProto, prototypes: FloatArray, dimensions: int) -> None:
    """Compute the embedding's share in the directions and the length of its rest, and multiply both."""
    directions = principal_directions(prototypes, dimensions)
    constants = {
        DIRECTIONS_NAME: directions,
        BOUNDS_NAME: bound_matrix(prototypes, directions),
        "search_slack": np.array([_REST_SLACK], np.float32),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    near, rest = "search_near", "search_rest"
    steps: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = [
        ("MatMul", (EMBEDDING_NAME, DIRECTIONS_NAME), near, {}),
        ("ReduceSumSquare", (EMBEDDING_NAME,), "search_whole_square", {"axes": [1]}),
        ("ReduceSumSquare", (near,), "search_near_square", {"axes": [1]}),
        ("Sub", ("search_whole_square", "search_near_square"), "search_rest_square", {}),
        ("Max", ("search_rest_square", "search_slack"), "search_rest_positive", {}),
        ("Add", ("search_rest_positive", "search_slack"), "search_rest_more", {}),
        ("Sqrt", ("search_rest_more",), rest, {}),
        ("Concat", (near, rest), "search_vector", {"axis": 1}),
        ("MatMul", ("search_vector", BOUNDS_NAME), BOUND_NAME, {}),
    ]
    for operator, inputs, output, attributes in steps:
        graph.node.append(onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
    shape = ["batch", len(prototypes)]
    graph.output.append(onnx.helper.make_tensor_value_info(BOUND_NAME, onnx.TensorProto.FLOAT, shape))


def principal_directions(prototypes: FloatArray, count: int) -> FloatArray:
    """Return orthonormal directions near which prototypes lie, by subspace iteration (arXiv 0909.4061, section 4.4).

    Any directions bound the scores; these do so nearly best.

    Args:
        prototypes: (classes, d) float32.
        count: of directions, less than d.

    Returns:
        (d, count) float32; the same for the same prototypes.
    """
    classes, size = prototypes.shape
    sample = prototypes[:: max(1, classes // _SAMPLE)]
    start = np.random.default_rng(0).standard_normal((size, min(size, count + _SPARE_DIRECTIONS)), np.float32)
    basis = np.linalg.qr(start)[0]
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(sample.T @ (sample @ basis))[0]
    projected = sample @ basis
    strongest = np.linalg.eigh(projected.T @ projected)[1][:, ::-1][:, :count]
    return np.ascontiguousarray(basis @ strongest, np.float32)


def check_search(model: bytes, prototypes: FloatArray, batch: Pixels) -> None:
    """Let the search find the best of some frames, and refuse it if the product with all prototypes finds others.

    Args:
        model: the ONNX file's bytes.
        prototypes: (classes, d) float32.
        batch: (frames, height, width, 3) uint8 BGR, prepared.

    Raises:
        ExportError: the best two scores are not the same.
    """
    searched, plain = (
        Session(model, search=PrototypeSearch(prototypes, is_plain=is_plain)).run(batch).score
        for is_plain in (False, True)
    )
    for found, expected in zip(searched, plain, strict=True):
        difference = np.abs(found[best_first(found, 2)] - expected[best_first(expected, 2)]).max()
        if not difference <= _MAX_DIFFERENCE:
            raise ExportError(
                f"the search finds best scores that are off by {difference:.2g}; expected those of the product with "
                "all prototypes: please report it, and export with --search never"
            )
