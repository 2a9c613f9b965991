"""Search for the best scores of a cosine head with so many parts that the whole product outlasts the network.

At 100,000 parts the product with all prototypes reads 0.5 to 0.8 GB from memory for each batch. But prototypes of real
parts lie near a few directions. The network computes the product in these directions alone, which bounds every score
from above. A class whose bound does not reach the second best score cannot be among the best two: its score is not
computed.

Split an embedding q and a prototype p each into its share in the directions and the rest. Then

    q·p = q_near·p_near + q_rest·p_rest ≤ q_near·p_near + |q_rest| |p_rest|        (Cauchy-Schwarz)

which is one product of vectors with one number more than there are directions. Such bounds are the common way to exact
search for the largest product; FEXIPRO (SIGMOD 2017, doi 10.1145/3035918.3064009) also rotates by the singular vectors.
Unlike an approximate index, the search needs no tuning, never misses the best class, and takes a 40th of the memory of
the prototypes.
"""

import numpy as np

from partsight.runtime.core import FloatArray, find_reaching, lower_limit

EXACT = 192
"""Number of classes whose score is always computed: the classes with the largest bounds."""

_MAX_SHARE = 1 / 8  # of the classes: to gather more prototypes takes longer than to compute all scores
_REST_SLACK = 1e-6  # in the squared length of the rest, for the rounding of float32


class PrototypeSearch:
    """The scores of a cosine head from their bounds: exact for the best classes. Thread-safe.

    It computes without BLAS, whose threads would still spin on the CPU's cores when the next frame needs them.

    Attributes:
        prototypes: Prototypes, (classes, d) float32.
        classes: Number of classes.
        embedding_size: d.
    """

    def __init__(self, prototypes: FloatArray, *, is_plain: bool = False) -> None:
        """Store the prototypes, without a copy; the search never writes to them.

        Args:
            prototypes: Prototypes, (classes, d) float32, rows of length 1 at most.
            is_plain: Whether to ignore the bounds and compute every score, to compare with.
        """
        self.prototypes, self.is_plain = prototypes, is_plain
        self.classes, self.embedding_size = prototypes.shape

    def score(self, bound: FloatArray, embedding: FloatArray, slack: float = 1e-5) -> FloatArray:
        """Return the scores of all classes.

        The best two classes of a row, and their scores, are the same as in `embedding @ prototypes.T`, except for the
        rounding of float32. The scores of the `EXACT` classes with the largest bounds are exact, too; the best 32
        classes are nearly always among them. Other scores are not computed: they get at most the lowest exact score.

        Args:
            bound: Upper bounds of the scores, (batch, classes) float32; changed in place.
            embedding: Embeddings, (batch, d) float32.
            slack: Most by which rounding may have lowered a bound.

        Returns:
            (batch, classes) float32.
        """
        if self.is_plain:
            plain: FloatArray = embedding @ self.prototypes.T
            return plain
        for row, frame in zip(bound, embedding, strict=True):
            if np.isfinite(frame).all():
                self._replace_bounds(row, frame, slack)
            else:
                row.fill(np.nan)
        return bound

    def _replace_bounds(self, row: FloatArray, embedding: FloatArray, slack: float) -> None:
        """Replace bounds by scores, until no class left can be among the best two.

        Args:
            row: Bounds of one frame, (classes,); changed in place.
            embedding: Embedding of the frame, (d,).
            slack: See `score`.
        """
        limit = lower_limit(row, min(EXACT, self.classes))
        first = find_reaching(row, limit)
        exact = self._exact(first, embedding)
        second_best = float(np.sort(exact)[-2:][0]) - slack  # a class with a lower bound cannot be among the best two
        others, further = first[:0], exact[:0]
        if limit > second_best:  # bounds between the two are still to be checked
            row[first] = -np.inf
            others = find_reaching(row, second_best)
            if len(others) > _MAX_SHARE * self.classes:  # a frame that is like no part
                row[:] = self._exact(slice(None), embedding)
                return
            further = self._exact(others, embedding)
        np.minimum(row, exact.min(), out=row)
        row[others] = further
        row[first] = exact

    def _exact(self, classes: np.ndarray | slice, embedding: FloatArray) -> FloatArray:
        # A matrix product may round the same prototype differently in another row. Then of two parts with the same
        # prototype not always the first would win.
        exact: FloatArray = np.einsum("ij,j->i", self.prototypes[classes], embedding)
        return exact


def bound_matrix(prototypes: FloatArray, directions: FloatArray) -> FloatArray:
    """Return the matrix with which the network multiplies to bound scores.

    Args:
        prototypes: Prototypes, (classes, d) float32.
        directions: Directions, (d, k) float32, orthonormal.

    Returns:
        (k + 1, classes) float32: the share of each prototype in the directions, then the length of its rest.
    """
    near = prototypes @ directions
    squares = np.einsum("ij,ij->i", prototypes, prototypes) - np.einsum("ij,ij->i", near, near)
    rest = np.sqrt(np.maximum(squares, 0) + np.float32(_REST_SLACK))
    return np.ascontiguousarray(np.concatenate([near, rest[:, None]], axis=1).T)
