"""Search: a cosine head for so many parts that the product with all prototypes would take longer than the network.

At 100,000 parts that product reads 819 MB for each batch. Prototypes of real parts lie near a few directions, though. A
product in those alone, which the network computes instead, bounds every score from above; where the bound of a class
does not reach the second best score, its own is never needed.

For an embedding q and a prototype p, each split into its share in the directions and the rest,

    q·p = q_near·p_near + q_rest·p_rest ≤ q_near·p_near + |q_rest| |p_rest|        (Cauchy–Schwarz)

which is one product of vectors a little longer than there are directions. Such bounds are the common way to exact
search for the largest product; FEXIPRO (SIGMOD 2017, doi 10.1145/3035918.3064009) rotates by the singular vectors as
well. Unlike an approximate index it needs no tuning, never misses the best class, and takes a 40th of the prototypes'
memory.
"""

import numpy as np

from partsight.runtime.core import FloatArray, find_reaching, lower_limit

EXACT = 192
"""Classes whose score is always computed: those of the largest bounds. A second stage looks at the best 32."""

_MAX_SHARE = 1 / 8  # of the classes: to gather more of them takes longer than to compute all
_REST_SLACK = 1e-6  # in the squares that the rest's length is computed from, for the rounding of float32


class PrototypeSearch:
    """The scores of a cosine head from their bounds, exact where they decide. Thread-safe.

    It computes without BLAS, whose threads would still spin on the processor's cores when the next frame needs them.
    """

    def __init__(self, prototypes: FloatArray, *, is_plain: bool = False) -> None:
        """Take the prototypes; they are kept, and never written to.

        Args:
            prototypes: (classes, d) float32, rows of length 1 at most.
            is_plain: look at no bounds and compute every score: to compare all of them, whatever it takes.
        """
        self.prototypes, self.is_plain = prototypes, is_plain
        self.classes, self.embedding_size = prototypes.shape

    def score(self, bound: FloatArray, embedding: FloatArray, slack: float = 1e-5) -> FloatArray:
        """Return the scores of all classes.

        The best two classes of a row and their scores are those of `embedding @ prototypes.T`, but for the rounding of
        float32. Exact as well are those of the `EXACT` classes with the largest bounds, among which nearly always are
        the best 32. The rest are not computed, and stand no higher than the least of those.

        Args:
            bound: (batch, classes) float32, no less than the scores; changed in place.
            embedding: (batch, d) float32.
            slack: by which rounding may have lowered a bound.

        Returns:
            (batch, classes) float32.
        """
        if self.is_plain:
            plain: FloatArray = embedding @ self.prototypes.T
            return plain
        for row, frame in zip(bound, embedding, strict=True):
            if np.isfinite(frame).all():
                self._correct(row, frame, slack)
            else:
                row.fill(np.nan)
        return bound

    def _correct(self, row: FloatArray, embedding: FloatArray, slack: float) -> None:
        """Put scores in the place of bounds, as many as it takes.

        Args:
            row: (classes,), of one frame; changed.
            embedding: (d,), of it.
            slack: see `score`.
        """
        limit = lower_limit(row, min(EXACT, self.classes))
        first = find_reaching(row, limit)
        exact = self._exact(first, embedding)
        needed = float(np.sort(exact)[-2:][0]) - slack
        others, further = first[:0], exact[:0]
        if limit > needed:
            row[first] = -np.inf
            others = find_reaching(row, needed)
            if len(others) > _MAX_SHARE * self.classes:  # a frame that is like no part
                row[:] = self._exact(slice(None), embedding)
                return
            further = self._exact(others, embedding)
        np.minimum(row, exact.min(), out=row)
        row[others] = further
        row[first] = exact

    def _exact(self, classes: np.ndarray | slice, embedding: FloatArray) -> FloatArray:
        # In a matrix product the same prototype can give another last digit in another place: of two parts that look
        # the same, not always the first would win.
        exact: FloatArray = np.einsum("ij,j->i", self.prototypes[classes], embedding)
        return exact


def bound_matrix(prototypes: FloatArray, directions: FloatArray) -> FloatArray:
    """Return what the network multiplies with to bound scores.

    Args:
        prototypes: (classes, d) float32.
        directions: (d, k) float32, orthonormal.

    Returns:
        (k + 1, classes) float32: the share of each prototype in the directions, and the length of its rest.
    """
    near = prototypes @ directions
    squares = np.einsum("ij,ij->i", prototypes, prototypes) - np.einsum("ij,ij->i", near, near)
    rest = np.sqrt(np.maximum(squares, 0) + np.float32(_REST_SLACK))
    return np.ascontiguousarray(np.concatenate([near, rest[:, None]], axis=1).T)
