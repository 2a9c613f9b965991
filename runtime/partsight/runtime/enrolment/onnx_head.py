"""Prototypes: the last matrix of a cosine head, one column a part, read from an ONNX file and written into it.

In a package of very many parts they lie in a file beside it, and the ONNX file holds what bounds their scores.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from partsight.runtime.core import DependencyError, EnrollError, FloatArray, PackageError
from partsight.runtime.inference import BOUND_NAME, EMBEDDING_NAME, SCORE_NAME, bound_matrix
from partsight.runtime.package import DIGEST_KEY, METADATA_KEY, Manifest, with_digest

DIRECTIONS_NAME, BOUNDS_NAME = "search_directions", "search_bounds"
"""Initialisers of a model that gives bounds: (d, k) and, of `search.bound_matrix`, (k + 1, classes)."""

_PASSES_ON = frozenset({"Cast", "Identity"})


@dataclass(frozen=True)
class PrototypeModel:
    """An ONNX file whose score is the embedding times a matrix of prototypes, or which bounds such scores.

    Attributes:
        model: onnx.ModelProto; left as it is.
        place: of that matrix among the initialisers, or of what bounds the scores.
        values: the prototypes, (d, classes), of the file's own number type.
        directions: (d, k), of a model that bounds scores.
    """

    model: Any
    place: int
    values: np.ndarray
    directions: FloatArray | None = None

    @classmethod
    def parse(cls, data: bytes, source: str, beside: FloatArray | None = None) -> "PrototypeModel":
        """Find the prototypes in an ONNX file.

        Args:
            data: its bytes.
            source: where they came from, for messages.
            beside: (classes, d), the prototypes of a model that bounds scores.

        Raises:
            DependencyError: the package `onnx` is not installed.
            PackageError: it is not an ONNX file, or bounds no scores though it should.
            EnrollError: its scores are not computed from prototypes.
        """
        onnx = import_onnx()
        model = onnx.ModelProto()
        try:
            model.ParseFromString(data)
        except Exception as error:  # of protobuf, whose implementations have errors of their own
            raise PackageError(f"{source}: is not an ONNX file ({error}); export the package again") from error
        if beside is not None:
            places = {item.name: place for place, item in enumerate(model.graph.initializer)}
            if not {DIRECTIONS_NAME, BOUNDS_NAME} <= places.keys():
                raise PackageError(f"{source}: has no bounds of scores; export the package again")
            directions = onnx.numpy_helper.to_array(model.graph.initializer[places[DIRECTIONS_NAME]])
            return cls(model, places[BOUNDS_NAME], beside.T, directions)
        place = find_prototypes(model.graph)
        if place is None:
            raise EnrollError(
                f"{source}: its scores are not the embedding times one prototype a part, so no part can be added; "
                "train again with all parts and with --head cosine, and export"
            )
        return cls(model, place, np.array(onnx.numpy_helper.to_array(model.graph.initializer[place])))

    def with_prototypes(self, values: FloatArray, manifest: Manifest) -> bytes:
        """Return the file's bytes with other prototypes; every other weight keeps its bytes.

        Args:
            values: (d, classes).
            manifest: for the file's metadata, where the copy is without models, files and golden images.
        """
        onnx = import_onnx()
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        name = graph.initializer[self.place].name
        matrix = values if self.directions is None else bound_matrix(np.ascontiguousarray(values.T), self.directions)
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(matrix, self.values.dtype), name)
        graph.initializer[self.place].CopyFrom(tensor)
        for output in graph.output:
            if output.name in {SCORE_NAME, BOUND_NAME}:
                output.type.tensor_type.shape.dim[1].dim_value = values.shape[1]
        del graph.value_info[:]  # remarks on shapes, some of which are others now; the runtime infers them
        bare = manifest.without_files()
        texts = {item.key: item.value for item in model.metadata_props if item.key != DIGEST_KEY}
        onnx.helper.set_model_props(model, {**texts, METADATA_KEY: bare.to_json().decode()})
        return with_digest(model.SerializeToString(deterministic=True))


def import_onnx() -> ModuleType:
    """Import the package that reads and writes ONNX files.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise DependencyError(
            f"enrolment and bundles write ONNX files, and the library for that cannot be imported ({error}); install "
            "it with: pip install 'partsight[enroll]'"
        ) from error
    return onnx  # type: ignore[no-any-return]


def find_prototypes(graph: Any) -> int | None:
    """Return the place of the initialiser that the embedding is multiplied with to give the score, if that is so."""
    producer = {name: node for node in graph.node for name in node.output}
    last = producer.get(_origin(SCORE_NAME, producer))
    if (
        last is None
        or last.op_type != "MatMul"
        or _origin(last.input[0], producer) != _origin(EMBEDDING_NAME, producer)
    ):
        return None
    readers = sum(name == last.input[1] for node in graph.node for name in node.input)
    places = [place for place, item in enumerate(graph.initializer) if item.name == last.input[1]]
    return places[0] if places and readers == 1 else None


def _origin(name: str, producer: dict[str, Any]) -> str:
    """Follow a tensor back through nodes that pass on the same numbers."""
    while name in producer and producer[name].op_type in _PASSES_ON:
        name = producer[name].input[0]
    return name
