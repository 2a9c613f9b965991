"""Search for the best of very many scores: the graph computes bounds, and the runtime only the scores that matter.

The score of class k is the product p_k·e of its prototype and the embedding, both (d,). With orthonormal directions
D, (d, n), the product splits into (Dᵀp_k)·(Dᵀe) and the product of both rests. By Cauchy and Schwarz the second is at
most the product of the rests' lengths. So n + 1 multiplications bound a score from above, in place of d for the score.
The runtime computes exact scores only for classes whose bound reaches the second best score. The prototypes go into a
separate file.
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
"""Smallest number of parts for a search, unless the user decides. With 10,000 parts the whole product takes a fifth of
the network's time on a CPU, at one frame in a run. With fewer parts a package without search is simpler."""

WhenSearch = Literal["auto", "always", "never"]
WHEN_SEARCH: tuple[WhenSearch, ...] = ("auto", "always", "never")

DIMENSIONS = 48
"""Number of directions. At 100,000 parts each batch reads 19 MB of bounds from memory. With 32 directions in place of
48, twice as many classes reach the second best score."""

_REST_SLACK = 1e-6  # added to squares of at most 1, so that the rounding of float32 never makes a bound too low
_MAX_DIFFERENCE = 1e-5
_SAMPLE = 4096  # prototypes from which the directions are computed
_SPARE_DIRECTIONS = 16
_ITERATIONS = 3


def wants_search(when: WhenSearch, decision: Decision, classes: int) -> bool:
    """Return whether a package gets a search.

    Args:
        when: Option of the user; `auto` means yes for a cosine head of at least `SEARCH_FROM` parts.
        decision: Decision on the network's scores, which names their kind.
        classes: Number of parts.

    Raises:
        ExportError: The option is `always`, but the head is not a cosine head.
    """
    is_cosine = decision.score == "cosine"
    if when == "always" and not is_cosine:
        raise ExportError(
            f"the scores are a {decision.score}, and a search needs the scores of a cosine head: train "
            "with --head cosine, or export without --search always"
        )
    return when == "always" or (when == "auto" and is_cosine and classes >= SEARCH_FROM)


def replace_head(model: onnx.ModelProto, dimensions: int = DIMENSIONS) -> FloatArray:
    """Replace the product with the prototypes by bounds of the scores.

    Args:
        model: Folded model with a cosine head; it changes in place.
        dimensions: Number of directions.

    Returns:
        The prototypes, (classes, d) float32.

    Raises:
        ExportError: The graph does not end in a product of embedding and prototypes.
    """
    index = find_prototypes(model.graph)
    if index is None:
        raise ExportError(
            "the graph's scores are not the product of embedding and one constant; expected such a product of a cosine "
            "head: export with --search never, and please report it with the backbone's name"
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
    """Append the bounds, (batch, classes): [Dᵀe, length of e's rest] times the bound matrix, (n + 1, classes).

    The square of the rest's length is |e|² - |Dᵀe|².
    """
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
    """Return the orthonormal directions in which prototypes are longest, by randomised subspace iteration.

    Any orthonormal directions give valid bounds; the principal ones give nearly the tightest (arXiv 0909.4061, section
    4.4).

    Args:
        prototypes: Prototypes, (classes, d) float32.
        count: Number of directions, less than d.

    Returns:
        The directions, (d, count) float32; the same prototypes always give the same directions.
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
    """Check that the search finds the same best scores as the product with all prototypes.

    Args:
        model: Bytes of the ONNX file.
        prototypes: Prototypes, (classes, d) float32.
        batch: Prepared frames, (frames, height, width, 3) uint8 BGR.

    Raises:
        ExportError: The best two scores of a frame differ.
    """
    searched, plain = (
        Session(model, search=PrototypeSearch(prototypes, is_plain=is_plain)).run(batch).score
        for is_plain in (False, True)
    )
    for found, expected in zip(searched, plain, strict=True):
        difference = np.abs(found[best_first(found, 2)] - expected[best_first(expected, 2)]).max()
        if not difference <= _MAX_DIFFERENCE:
            raise ExportError(
                f"the search's best scores differ by {difference:.2g} from the product with all prototypes; expected "
                f"at most {_MAX_DIFFERENCE:g}: export with --search never, and please report it"
            )
