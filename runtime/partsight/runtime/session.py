"""The ONNX Runtime session: on the provider that was asked for, or not at all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.errors import DependencyError, PackageError, ProviderError
from partsight.runtime.images import Pixels

INPUT_NAME = "image_bgr"
SCORE_NAME = "score"
EMBEDDING_NAME = "embedding"

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Provider:
    """An execution provider and what it needs.

    Attributes:
        name: what users write.
        ort_name: what ONNX Runtime calls it.
        install: the command that installs it.
        options: handed to ONNX Runtime.
        is_cpu: whether it is ONNX Runtime's own CPU provider, to which others would fall back.
    """

    name: str
    ort_name: str
    install: str
    options: Mapping[str, str] = field(default_factory=dict)
    is_cpu: bool = False


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("cpu", "CPUExecutionProvider", "pip install 'partsight[cpu]'", is_cpu=True),
        Provider(
            "cuda",
            "CUDAExecutionProvider",
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'partsight[gpu]', on a machine with an "
            "NVIDIA GPU and a driver for CUDA 13",
            # HEURISTIC: the default EXHAUSTIVE search would run again for each new batch size.
            options={"cudnn_conv_algo_search": "HEURISTIC"},
        ),
    )
}


@dataclass(frozen=True)
class Inference:
    """What the network says of a batch.

    Attributes:
        score: (batch, classes) float32.
        embedding: (batch, d) float32.
    """

    score: FloatArray
    embedding: FloatArray


class Session:
    """One loaded model on one provider. Safe to use from several threads."""

    def __init__(self, model: bytes, provider: str = "cpu", threads: int | None = None) -> None:
        """Load a model.

        Args:
            model: an ONNX file's bytes.
            provider: `cpu` or `cuda`; there is no fallback from one to another.
            threads: for the CPU's share of the work; None for one a physical core.

        Raises:
            ProviderError: the provider cannot be had here.
            PackageError: the bytes are not a model of partsight's contract.
            DependencyError: no ONNX Runtime is installed.
        """
        self.provider = find_provider(provider)
        self._session = _create(model, self.provider, threads)
        self.input_hw, self.classes, self.embedding_size = _check_contract(self._session)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, batch: Pixels) -> Inference:
        """Run the network on (batch, height, width, 3) uint8 BGR, as `preprocess` makes it."""
        score, embedding = self._session.run([SCORE_NAME, EMBEDDING_NAME], {INPUT_NAME: batch})
        return Inference(score, embedding)


def find_provider(name: str) -> Provider:
    """Return the provider called `name`.

    Raises:
        ProviderError: there is none of that name.
    """
    try:
        return PROVIDERS[name]
    except KeyError:
        raise ProviderError(f"provider {name!r} is not known; expected one of {', '.join(PROVIDERS)}") from None


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, which comes from one of two extras.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise DependencyError(
            f"ONNX Runtime cannot be imported ({error}); install it with: pip install 'partsight[cpu]' "
            "(or 'partsight[gpu]' for an NVIDIA GPU, never both)"
        ) from error
    return onnxruntime  # type: ignore[no-any-return]


def _create(model: bytes, provider: Provider, threads: int | None) -> Any:
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    if provider.ort_name not in available:
        raise ProviderError(
            f"provider {provider.name!r} was asked for, but the installed ONNX Runtime {ort.__version__} was built "
            f"with {', '.join(available)} only; mend it with: {provider.install}. `partsight doctor` shows more"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors: what matters is raised
    if threads is not None:
        options.intra_op_num_threads = threads
    if not provider.is_cpu:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, options, providers=[(provider.ort_name, dict(provider.options))])
    except Exception as error:
        if provider.is_cpu:
            raise PackageError(f"ONNX Runtime cannot load the model ({error}); export it again") from error
        raise _not_had(provider, str(error)) from error
    if session.get_providers()[0] != provider.ort_name:
        raise _not_had(provider, f"the session came up on {', '.join(session.get_providers())}")
    return session


def _not_had(provider: Provider, reason: str) -> ProviderError:
    return ProviderError(
        f"provider {provider.name!r} was asked for and could not be had: {reason}; mend it with: {provider.install}. "
        "`partsight doctor` shows what is missing"
    )


def _check_contract(session: Any) -> tuple[tuple[int, int], int, int]:
    """Return the input's (height, width), the number of classes and the embedding's size."""
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    kind, shape = inputs.get(INPUT_NAME, ("", []))
    is_image = len(inputs) == 1 and kind == "tensor(uint8)" and len(shape) == 4 and shape[3] == 3
    has_any_batch = is_image and not isinstance(shape[0], int)
    rows = [outputs.get(name, ("", [])) for name in (SCORE_NAME, EMBEDDING_NAME)]
    if not has_any_batch or any(kind != "tensor(float)" or len(shape) != 2 for kind, shape in rows):
        raise PackageError(
            f"the model has inputs {inputs} and outputs {outputs}; expected one input {INPUT_NAME} uint8 (batch, "
            f"height, width, 3) of any batch, and the outputs {SCORE_NAME} float32 (batch, classes) and "
            f"{EMBEDDING_NAME} float32 (batch, d): use `partsight export`"
        )
    sizes = (*shape[1:3], outputs[SCORE_NAME][1][-1], outputs[EMBEDDING_NAME][1][-1])
    if not all(isinstance(size, int) and 0 < size < math.inf for size in sizes):
        raise PackageError(f"the model's height, width, classes and embedding are {sizes}; expected fixed numbers")
    height, width, classes, embedding_size = sizes
    return (height, width), classes, embedding_size
