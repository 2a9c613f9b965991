"""Prototypes: the last matrix of a cosine head, one column a part, read from an ONNX file and written into it.

In a package of very many parts they lie in a file beside it; then the ONNX file changes in its metadata alone.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from partsight.runtime.errors import DependencyError, EnrollError, PackageError
from partsight.runtime.manifest import METADATA_KEY, Manifest
from partsight.runtime.session import EMBEDDING_NAME, SCORE_NAME, FloatArray

_PASSES_ON = frozenset({"Cast", "Identity"})


@dataclass(frozen=True)
class PrototypeModel:
    """An ONNX file whose score is the embedding times a matrix of prototypes.

    Attributes:
        model: onnx.ModelProto; left as it is.
        place: of the prototypes among the initialisers; None where they are in a file beside it.
        values: (d, classes), of the file's own number type.
    """

    model: Any
    place: int | None
    values: np.ndarray

    @classmethod
    def parse(cls, data: bytes, source: str, beside: FloatArray | None = None) -> "PrototypeModel":
        """Find the prototypes in an ONNX file.

        Args:
            data: its bytes.
            source: where they came from, for messages.
            beside: (classes, d), the prototypes of a model that gives embeddings alone.

        Raises:
            DependencyError: the package `onnx` is not installed.
            PackageError: it is not an ONNX file.
            EnrollError: its scores are not computed from prototypes.
        """
        onnx = import_onnx()
        model = onnx.ModelProto()
        try:
            model.ParseFromString(data)
        except Exception as error:  # of protobuf, whose implementations have errors of their own
            raise PackageError(f"{source}: is not an ONNX file ({error}); export the package again") from error
        if beside is not None:
            return cls(model, None, beside.T)
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
        if self.place is not None:
            name = graph.initializer[self.place].name
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(values, self.values.dtype), name)
            graph.initializer[self.place].CopyFrom(tensor)
        for output in graph.output:
            if output.name == SCORE_NAME:
                output.type.tensor_type.shape.dim[1].dim_value = values.shape[1]
        del graph.value_info[:]  # remarks on shapes, some of which are others now; the runtime infers them
        bare = manifest.without_files()
        for item in model.metadata_props:
            if item.key == METADATA_KEY:
                item.value = bare.to_json().decode()
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def import_onnx() -> ModuleType:
    """Import the package that reads and writes ONNX files.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise DependencyError(
            f"enrolment changes an ONNX file, and the package that does so cannot be imported ({error}); install it "
            "with: pip install 'partsight[enroll]'"
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
