"""OpenVINO by its own library: on Intel and AMD processors the fastest in BF16 and INT8.

Not by way of ONNX Runtime's OpenVINO provider, whose wheel takes the place of ONNX Runtime's own and brings older
versions of both; this one stands beside either.
"""

import sys
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from partsight.runtime.core import FloatArray, Pixels, ProviderError
from partsight.runtime.inference.engine import EMBEDDING_NAME, Arithmetic, Settings, Signature, Tensor, scores_of
from partsight.runtime.inference.int8_check import warn_of_overflow
from partsight.runtime.inference.model_cache import open_cache, seal
from partsight.runtime.inference.providers import PROVIDERS, not_had

# An INT8 file says itself what is computed in INT8; the rest of it is FP32.
_HINTS: dict[Arithmetic, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}

_ANY = 0  # in place of a size: any that does not come often


class OpenVinoEngine:
    """A model in OpenVINO on the CPU; see `engine.Engine`."""

    def __init__(self, model: bytes, settings: Settings) -> None:
        """Load and compile a model.

        Raises:
            ProviderError: OpenVINO is not installed or does not work here, this processor does not compute what was
                asked for, or OpenVINO cannot read the model.
        """
        self._compiled, network = compile_model(model, settings)
        self._signature = _signature(network)
        self._outputs = (scores_of(self._signature), EMBEDDING_NAME)
        # One set for each size that comes often: a request that gets another size allocates anew. Append and pop are
        # atomic: threads share it without a lock.
        self._requests: dict[int, deque[Any]] = {size: deque() for size in (*settings.batch_sizes, _ANY)}

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self._signature

    def run(self, batch: Pixels) -> tuple[FloatArray, FloatArray]:
        """Return scores and embeddings; see `engine.Engine`."""
        requests = self._requests.get(len(batch), self._requests[_ANY])
        try:
            request = requests.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.infer({0: batch}, share_inputs=True)
        # Copies: the request is used again.
        score, embedding = (np.array(request.get_tensor(name).data) for name in self._outputs)
        requests.append(request)
        return score, embedding


def compile_model(model: bytes, settings: Settings) -> tuple[Any, Any]:
    """Return a model compiled for the CPU, and as it was read.

    Raises:
        ProviderError: see `OpenVinoEngine`.
    """
    openvino = _import_openvino()
    core = _start(openvino, settings.arithmetic)
    network = _read(core, model)
    cache = None if settings.cache is None else open_cache(settings.cache)
    try:
        compiled = core.compile_model(network, "CPU", _options(settings, cache))
    except RuntimeError as error:
        raise not_had(PROVIDERS["openvino"], str(error)) from error
    if cache is not None:
        seal(cache)
    if settings.arithmetic == "int8":
        warn_of_overflow(openvino)
    return compiled, network


def _import_openvino() -> ModuleType:
    """Import it without its telemetry, which tells Google Analytics of each import and keeps an id at home."""
    is_ours = "openvino_telemetry" not in sys.modules
    if is_ours:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO does without one it cannot import
    try:
        import openvino  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise not_had(PROVIDERS["openvino"], f"OpenVINO cannot be imported ({error})") from error
    finally:
        if is_ours:
            sys.modules.pop("openvino_telemetry", None)
    return openvino  # type: ignore[no-any-return]


def _start(openvino: ModuleType, arithmetic: Arithmetic) -> Any:
    """Return OpenVINO's core, on a processor that computes in `arithmetic`."""
    try:
        core = openvino.Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        raise not_had(PROVIDERS["openvino"], f"OpenVINO does not work on this processor ({error})") from error
    if arithmetic == "bf16" and "BF16" not in able:
        raise not_had(
            PROVIDERS["openvino"],
            f"precision bf16 needs a processor with AVX-512 BF16 or AMX, and this one computes in {', '.join(able)}: "
            "ask for fp32 or int8, or take such a processor",
        )
    return core


def _read(core: Any, model: bytes) -> Any:
    try:
        return core.read_model(model)
    except RuntimeError as error:
        # What else a provider reads may be unknown to this version of OpenVINO: no fault of the package.
        raise ProviderError(
            f"provider 'openvino' cannot read the model ({error}); mend it with another version of OpenVINO, or take "
            "provider cpu: if that cannot read it either, export it again"
        ) from error


def _options(settings: Settings, cache: Path | None = None) -> dict[str, Any]:
    """Return what OpenVINO is told; its documentation of the CPU device names and explains each."""
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[settings.arithmetic],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # cameras and preprocessing need the same cores
    }
    if settings.threads is not None:
        options["INFERENCE_NUM_THREADS"] = settings.threads
    if cache is not None:
        options["CACHE_DIR"] = str(cache)
    return options


def _signature(network: Any) -> Signature:
    def tensors(nodes: Any) -> dict[str, Tensor]:
        return {
            node.get_any_name(): Tensor(
                node.get_element_type().to_dtype().name,
                tuple(None if size.is_dynamic else size.get_length() for size in node.get_partial_shape()),
            )
            for node in nodes
        }

    info = network.get_rt_info()
    texts = info["framework"] if "framework" in info else {}  # noqa: SIM401 (it has no `get`)
    metadata = {key: str(value.value) for key, value in texts.items()}
    return Signature(tensors(network.inputs), tensors(network.outputs), metadata)
