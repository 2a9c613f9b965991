"""OpenVINO through its own library: on Intel and AMD processors the fastest in BF16 and INT8.

The wheel of ONNX Runtime's OpenVINO provider would replace ONNX Runtime's own wheel, with older versions of both. The
library itself can be installed next to either.
"""

import sys
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from partsight.runtime.core import Pixels, ProviderError
from partsight.runtime.inference.devices import find_cores
from partsight.runtime.inference.engine import EMBEDDING_NAME, Inference, ModelInterface, Tensor
from partsight.runtime.inference.int8_check import warn_of_overflow
from partsight.runtime.inference.model_cache import open_cache, seal
from partsight.runtime.inference.providers import PROVIDERS, unavailable
from partsight.runtime.inference.settings import Arithmetic, ModelSettings

# An INT8 file marks its INT8 operations itself; the rest of it is FP32.
_HINTS: dict[Arithmetic, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}

_ANY = 0  # key of the requests for all sizes that `batch_sizes` does not name


class OpenVinoEngine:
    """A model in OpenVINO on the CPU; see `engine.Engine`."""

    def __init__(self, model: bytes, settings: ModelSettings) -> None:
        """Load and compile a model.

        Args:
            model: Bytes of an ONNX file.
            settings: How to run it.

        Raises:
            ProviderError: OpenVINO is not installed or does not work on this machine, this processor does not compute
                in `settings.arithmetic`, or OpenVINO cannot read the model.
        """
        self._compiled, network = compile_model(model, settings)
        self._interface = _interface(network)
        self._outputs = (self._interface.score_name, EMBEDDING_NAME)
        # One set for each size: a request that gets another size allocates again. Append and pop are atomic, so that
        # threads share a set without a lock.
        self._requests: dict[int, deque[Any]] = {size: deque() for size in (*settings.batch_sizes, _ANY)}

    @property
    def interface(self) -> ModelInterface:
        """The model's inputs, outputs and metadata."""
        return self._interface

    def run(self, batch: Pixels) -> Inference:
        """Run the model on a batch; see `engine.Engine`."""
        requests = self._requests.get(len(batch), self._requests[_ANY])
        try:
            request = requests.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.infer({0: batch}, share_inputs=True)
        # Copies: the next run overwrites the request's tensors.
        score, embedding = (np.array(request.get_tensor(name).data) for name in self._outputs)
        requests.append(request)
        return Inference(score, embedding)


def compile_model(model: bytes, settings: ModelSettings) -> tuple[Any, Any]:
    """Return a model compiled for the CPU, and OpenVINO's model from which it was compiled.

    Raises:
        ProviderError: see `OpenVinoEngine`; or the process does not run on the NUMA node that it is to use.
    """
    find_cores("openvino", settings.engine.device)
    openvino = _import_openvino()
    core = _start(openvino, settings.arithmetic)
    network = _read(core, model)
    folder = settings.engine.cache_folder
    cache = None if folder is None else open_cache(folder)
    try:
        compiled = core.compile_model(network, "CPU", _options(settings, cache))
    except RuntimeError as error:
        raise _unavailable(str(error)) from error
    if cache is not None:
        seal(cache)
    if settings.arithmetic == "int8":
        warn_of_overflow(openvino)
    return compiled, network


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which reports each import to Google Analytics and stores an id."""
    is_ours = "openvino_telemetry" not in sys.modules
    if is_ours:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # then OpenVINO skips it
    try:
        import openvino  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise _unavailable(f"OpenVINO cannot be imported ({error})") from error
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
        raise _unavailable(f"OpenVINO does not work on this processor ({error})") from error
    if arithmetic == "bf16" and "BF16" not in able:
        raise _unavailable(
            f"precision bf16 needs a processor with AVX-512 BF16 or AMX, and this one computes in {', '.join(able)}: "
            "choose fp32 or int8, or use such a processor"
        )
    return core


def _unavailable(reason: str) -> ProviderError:
    return unavailable(PROVIDERS["openvino"], reason)


def _read(core: Any, model: bytes) -> Any:
    try:
        return core.read_model(model)
    except RuntimeError as error:
        # No fault of the package: this version of OpenVINO may lack an operator that other providers have.
        raise ProviderError(
            f"provider 'openvino' cannot read the model ({error}); install another version of OpenVINO, or choose "
            "provider cpu. If that cannot read it either, export it again"
        ) from error


def _options(settings: ModelSettings, cache: Path | None = None) -> dict[str, Any]:
    """Return OpenVINO's options; its documentation of the CPU device explains each."""
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[settings.arithmetic],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # cameras and preprocessing need the same cores
    }
    if settings.engine.threads is not None:
        options["INFERENCE_NUM_THREADS"] = settings.engine.threads
    if cache is not None:
        options["CACHE_DIR"] = str(cache)
    return options


def _interface(network: Any) -> ModelInterface:
    info = network.get_rt_info()
    texts = info["framework"] if "framework" in info else {}  # noqa: SIM401 (it has no `get`)
    metadata = {key: str(value.value) for key, value in texts.items()}
    return ModelInterface(_tensors(network.inputs), _tensors(network.outputs), metadata)


def _tensors(nodes: Any) -> dict[str, Tensor]:
    return {
        node.get_any_name(): Tensor(node.get_element_type().to_dtype().name, _shape(node.get_partial_shape()))
        for node in nodes
    }


def _shape(sizes: Any) -> tuple[int | None, ...]:
    return tuple(None if size.is_dynamic else size.get_length() for size in sizes)
