"""The cosine head of very many parts, taken out of the graph: the package's search computes scores in its place."""

from typing import Literal

import numpy as np
import onnx

from partsight.export.graph import Graph
from partsight.runtime.errors import ExportError
from partsight.runtime.manifest import Decision
from partsight.runtime.prototypes import find_prototypes
from partsight.runtime.search import DIMENSIONS, PrototypeSearch
from partsight.runtime.selection import best_first
from partsight.runtime.session import SCORE_NAME, FloatArray

SEARCH_FROM = 10_000
"""Parts from which on a package has a search, unless it is told: below, the product takes less than a twentieth of the
network's time on a CPU, and a network that gives scores itself is the simpler package."""

WhenSearch = Literal["auto", "always", "never"]
WHEN_SEARCH: tuple[WhenSearch, ...] = ("auto", "always", "never")

_PROBES = 256


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
            f"a search was asked for, and the scores are a {decision.score}; expected those of a cosine head: train "
            "with --head cosine, or export without --search always"
        )
    return when == "always" or (when == "auto" and is_cosine and classes >= SEARCH_FROM)


def cut_head(model: onnx.ModelProto) -> FloatArray:
    """Take the product with the prototypes out of a folded model, which then gives embeddings alone.

    Args:
        model: changed in place.

    Returns:
        The prototypes, (classes, d) float32.

    Raises:
        ExportError: the graph does not end in such a product.
    """
    place = find_prototypes(model.graph)
    if place is None:
        raise ExportError(
            "the graph's scores are not the embedding times one constant; expected so of a cosine head: please report "
            "it with the backbone's name, and export with --search never"
        )
    values = onnx.numpy_helper.to_array(model.graph.initializer[place])
    outputs = [item for item in model.graph.output if item.name != SCORE_NAME]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    Graph(model).drop_unused()
    onnx.checker.check_model(model, full_check=True)
    return np.ascontiguousarray(values.T, np.float32)


def check_search(prototypes: FloatArray) -> None:
    """Let the search find prototypes, and refuse it if the product with all finds others.

    Args:
        prototypes: (classes, d) float32.

    Raises:
        ExportError: the best two scores are not the same.
    """
    probes = np.ascontiguousarray(prototypes[:: max(1, len(prototypes) // _PROBES)])
    found = PrototypeSearch(prototypes, DIMENSIONS).score(probes)
    expected = PrototypeSearch.plain(prototypes).score(probes)
    for row, plain in zip(found, expected, strict=True):
        difference = np.abs(row[best_first(row, 2)] - plain[best_first(plain, 2)]).max()
        if not difference <= 1e-5:
            raise ExportError(
                f"the search finds best scores that are off by {difference:.2g}; expected those of the product with "
                "all prototypes: please report it, and export with --search never"
            )
