"""The head of an ONNX file: the prototypes of a cosine head, one column for each part, to read and to replace.

In a package of very many parts the prototypes are in a file of their own. The ONNX file then has the bounds of their
scores.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from partsight.runtime.core import DependencyError, EnrollError, FloatArray, PackageError
from partsight.runtime.inference import BOUND_NAME, EMBEDDING_NAME, SCORE_NAME, bound_matrix
from partsight.runtime.package import DIGEST_KEY, METADATA_KEY, Manifest, with_digest

DIRECTIONS_NAME, BOUNDS_NAME = "search_directions", "search_bounds"
"""Initialisers of a model that computes bounds, (d, k) and (k + 1, classes); see `prototype_search.bound_matrix`."""

_PASSES_ON = frozenset({"Cast", "Identity"})


@dataclass(frozen=True)
class PrototypeModel:
    """An ONNX file that computes scores as the embedding times a matrix of prototypes, or bounds of such scores.

    Attributes:
        model: The file as an onnx.ModelProto; methods do not change it.
        index: Index among the initialisers of the prototypes, or of the bounds.
        values: Prototypes, (d, classes), in the number type of the file.
        directions: Directions of a model that computes bounds, (d, k); None for other models.
    """

    model: Any
    index: int
    values: np.ndarray
    directions: FloatArray | None = None

    @classmethod
    def parse(cls, data: bytes, source: str, prototypes: FloatArray | None = None) -> "PrototypeModel":
        """Find the prototypes in an ONNX file.

        Args:
            data: Bytes of the file.
            source: Name of the file, for messages.
            prototypes: Prototypes from a file of their own, (classes, d); None if the ONNX file has them.

        Raises:
            DependencyError: the package `onnx` is not installed.
            PackageError: the data are not an ONNX file, or the model should compute bounds and does not.
            EnrollError: the model does not compute scores from prototypes.
        """
        onnx = import_onnx()
        model = onnx.ModelProto()
        try:
            model.ParseFromString(data)
        except Exception as error:  # each implementation of protobuf has its own errors
            raise PackageError(f"{source}: is not an ONNX file ({error}); export the package again") from error
        if prototypes is not None:
            indices = {item.name: index for index, item in enumerate(model.graph.initializer)}
            if not {DIRECTIONS_NAME, BOUNDS_NAME} <= indices.keys():
                raise PackageError(f"{source}: has no bounds of scores; export the package again")
            directions = onnx.numpy_helper.to_array(model.graph.initializer[indices[DIRECTIONS_NAME]])
            return cls(model, indices[BOUNDS_NAME], prototypes.T, directions)
        index = find_prototypes(model.graph)
        if index is None:
            raise EnrollError(
                f"{source}: its scores are not the embedding times one prototype for each part; no part can be added: "
                "train again with all parts and --head cosine, and export"
            )
        return cls(model, index, np.array(onnx.numpy_helper.to_array(model.graph.initializer[index])))

    def with_prototypes(self, values: FloatArray, manifest: Manifest) -> bytes:
        """Return the bytes of the file with other prototypes; every other weight keeps its bytes.

        Args:
            values: Prototypes, (d, classes).
            manifest: Manifest for the file's metadata; the copy there names no models, files and golden images.
        """
        onnx = import_onnx()
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        name = graph.initializer[self.index].name
        matrix = values if self.directions is None else bound_matrix(np.ascontiguousarray(values.T), self.directions)
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(matrix, self.values.dtype), name)
        graph.initializer[self.index].CopyFrom(tensor)
        for output in graph.output:
            if output.name in {SCORE_NAME, BOUND_NAME}:
                output.type.tensor_type.shape.dim[1].dim_value = values.shape[1]
        del graph.value_info[:]  # shapes of arrays, some of which change; the runtime infers them
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
            f"enrolment and bundles write ONNX files, and the package onnx cannot be imported ({error}); run: "
            "pip install 'partsight[enroll]'"
        ) from error
    return onnx  # type: ignore[no-any-return]


def find_prototypes(graph: Any) -> int | None:
    """Return the index of the initialiser that times the embedding gives the score; None if there is none."""
    producer = {name: node for node in graph.node for name in node.output}
    last = producer.get(_origin(SCORE_NAME, producer))
    if (
        last is None
        or last.op_type != "MatMul"
        or _origin(last.input[0], producer) != _origin(EMBEDDING_NAME, producer)
    ):
        return None
    readers = sum(name == last.input[1] for node in graph.node for name in node.input)
    indices = [index for index, item in enumerate(graph.initializer) if item.name == last.input[1]]
    return indices[0] if indices and readers == 1 else None


def _origin(name: str, producer: dict[str, Any]) -> str:
    """Follow a tensor back through nodes that do not change its numbers."""
    while name in producer and producer[name].op_type in _PASSES_ON:
        name = producer[name].input[0]
    return name
