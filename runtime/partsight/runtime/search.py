"""Search: a cosine head for so many parts that the product with all prototypes would take longer than the network.

At 100,000 parts that product reads 819 MB for each frame. Prototypes of real parts lie near a few directions, though: a
product in those alone estimates every score, and what it can be wrong by has a bound. Where the bound says that a class
cannot be among the best two, its exact score is never needed.

For an embedding q and a prototype p, each split into its share in the directions and the rest,

    q·p = q_near·p_near + q_rest·p_rest ≤ q_near·p_near + |q_rest| |p_rest|        (Cauchy–Schwarz)

Such bounds by partial products are the common way to exact search for the largest product; see FEXIPRO (SIGMOD 2017,
doi 10.1145/3035918.3064009), which rotates by the singular vectors as well. Unlike an approximate index it needs no
tuning, never misses the best class, and costs a matrix of a 30th of the prototypes' size.
"""

import numpy as np

from partsight.runtime.engines.engine import FloatArray
from partsight.runtime.selection import find_reaching, lower_limit

DIMENSIONS = 64
"""Directions of the estimate: with 32 the bound leaves three times the classes, with 128 the estimate takes twice."""

EXACT = 256
"""Classes whose score is always computed exactly: those of the largest bounds. A second stage looks at 32 of them."""

_SLACK = 1e-5  # for the rounding of float32, in scores up to 1
_REST_SLACK = 1e-6  # the same in the squares that the rest's length is computed from
_LARGEST_SHARE = 1 / 8  # of the classes: to gather more of them takes longer than the product with all
_SAMPLE = 4096  # prototypes that the directions are taken from: any directions are right, and these nearly the best
_SPARE_DIRECTIONS = 16
_ITERATIONS = 3


class PrototypeSearch:
    """The scores of a cosine head, exact where they decide. Keeps no state between calls; thread-safe."""

    def __init__(self, prototypes: FloatArray, dimensions: int = DIMENSIONS) -> None:
        """Prepare the estimate, which takes about a second for 100,000 prototypes.

        Args:
            prototypes: (classes, d) float32, rows of length 1 at most; kept, and never written to.
            dimensions: of the estimate. From d on, and for at most `EXACT` classes, all scores are exact.
        """
        self._prototypes = prototypes
        self._directions: FloatArray | None = None
        self.classes, self.embedding_size = prototypes.shape
        if dimensions < self.embedding_size and self.classes > EXACT:
            self._directions = principal_directions(prototypes, dimensions)
            near = prototypes @ self._directions
            self._rest = _rest_length(prototypes, near)
            self._near = np.ascontiguousarray(near.T)  # (dimensions, classes): in this order the product is fastest

    @property
    def prototypes(self) -> FloatArray:
        """(classes, d) float32."""
        return self._prototypes

    @classmethod
    def plain(cls, prototypes: FloatArray) -> "PrototypeSearch":
        """Return a search that computes every score exactly: to compare all of them, whatever it takes."""
        return cls(prototypes, prototypes.shape[1])

    def score(self, embedding: FloatArray) -> FloatArray:
        """Return the scores of all classes.

        The best two classes of a row and their scores are those of `embedding @ prototypes.T`, but for the rounding of
        float32. So are the scores of the `EXACT` classes with the largest bounds, among which nearly always are the
        best 32. The rest are estimates, which never reach the second best.

        Args:
            embedding: (batch, d) float32, rows of length 1 at most.

        Returns:
            (batch, classes) float32.
        """
        if self._directions is None:
            plain: FloatArray = embedding @ self._prototypes.T
            return plain
        near = embedding @ self._directions
        score: FloatArray = near @ self._near
        for row, whole, rest in zip(score, embedding, _rest_length(embedding, near), strict=True):
            self._correct(row, whole, float(rest))
        return score

    def _correct(self, row: FloatArray, embedding: FloatArray, rest: float) -> None:
        """Put exact scores in the place of estimates, as many as it takes.

        Args:
            row: (classes,), of one frame; changed.
            embedding: (d,), of it.
            rest: length of it outside the directions.
        """
        bound = self._rest * np.float32(rest)
        bound += row
        limit = lower_limit(bound, EXACT)
        first = find_reaching(bound, limit)
        exact = self._exact(first, embedding)
        row[first] = exact
        needed = float(np.partition(exact, -2)[-2]) - _SLACK
        if limit <= needed:
            return
        bound[first] = -np.inf
        others = find_reaching(bound, needed)
        if len(others) <= _LARGEST_SHARE * self.classes:
            row[others] = self._exact(others, embedding)
        else:  # a frame that is like no part, or a score that is not a number
            np.matmul(self._prototypes, embedding, out=row)

    def _exact(self, classes: np.ndarray, embedding: FloatArray) -> FloatArray:
        # Not a matrix product: there the same prototype can give another last digit in another place, and of two parts
        # that look the same not always the first would win.
        exact: FloatArray = np.einsum("ij,j->i", self._prototypes[classes], embedding)
        return exact


def principal_directions(prototypes: FloatArray, count: int) -> FloatArray:
    """Return orthonormal directions near which prototypes lie, by subspace iteration (arXiv 0909.4061, section 4.4).

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


def _rest_length(whole: FloatArray, near: FloatArray) -> FloatArray:
    """Return the length of what is left of each row outside the directions; never less than it is.

    Args:
        whole: (rows, d).
        near: (rows, dimensions), the share in the directions.
    """
    squares = np.einsum("ij,ij->i", whole, whole) - np.einsum("ij,ij->i", near, near)
    rest: FloatArray = np.sqrt(np.maximum(squares, 0) + np.float32(_REST_SLACK))
    return rest
