"""ONNX Runtime: on the provider that was asked for, or not at all."""

import os
from types import ModuleType
from typing import Any

from partsight.runtime.core import DependencyError, FloatArray, PackageError, Pixels, ProviderError
from partsight.runtime.inference.engine import EMBEDDING_NAME, INPUT_NAME, Settings, Signature, Tensor, scores_of
from partsight.runtime.inference.int8_check import onnx_runtime_overflows
from partsight.runtime.inference.io_binding import BoundRuns
from partsight.runtime.inference.model_cache import make_cache
from partsight.runtime.inference.providers import Provider, not_had

_SPIN_US = 50
"""So long threads spin at most: enough between two operations. One that waits longer does so because a core was taken,
as a rule by the comparison of the batch before, and would spin on the core that the comparison needs."""

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntimeEngine:
    """A model in ONNX Runtime; see `engine.Engine`."""

    def __init__(self, model: bytes, provider: Provider, settings: Settings) -> None:
        """Load a model.

        Raises:
            ProviderError: the provider cannot be had here.
            PackageError: the bytes are not a model.
            DependencyError: no ONNX Runtime is installed.
        """
        self._session = create_session(model, provider, settings)
        self._signature = _signature(self._session)
        self._outputs = [scores_of(self._signature), EMBEDDING_NAME]
        is_bound = not provider.is_cpu and settings.gpu.io_binding
        self._bound = BoundRuns(self._session, settings.batch_sizes, "cuda") if is_bound else None

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self._signature

    def run(self, batch: Pixels) -> tuple[FloatArray, FloatArray]:
        """Return scores and embeddings; see `engine.Engine`."""
        if self._bound is not None:
            return self._bound.run(batch)
        score, embedding = self._session.run(self._outputs, {INPUT_NAME: batch})
        return score, embedding


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, which comes from one of two extras, without its telemetry, which tells Microsoft of its use.

    Raises:
        DependencyError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # which it looks for once, when it is imported
    try:
        import onnxruntime  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise DependencyError(
            f"ONNX Runtime cannot be imported ({error}); install it with: pip install 'partsight[cpu]' "
            "(or 'partsight[gpu]' for an NVIDIA GPU, never both)"
        ) from error
    return onnxruntime  # type: ignore[no-any-return]


def provider_options(provider: Provider, settings: Settings) -> dict[str, str]:
    """Return what ONNX Runtime is told about a provider; its documentation names and explains each.

    The folder of TensorRT's cache is made.
    """
    gpu = settings.gpu
    limit = {} if gpu.memory_limit_bytes is None else {"gpu_mem_limit": str(gpu.memory_limit_bytes)}
    if provider.name == "cuda":
        return {
            "cudnn_conv_algo_search": "EXHAUSTIVE" if gpu.exhaustive_search else "HEURISTIC",
            "cudnn_conv_use_max_workspace": "1",
            "prefer_nhwc": _flag(gpu.nhwc),
            "use_tf32": _flag(gpu.tf32),
            "enable_cuda_graph": _flag(gpu.cuda_graphs and gpu.io_binding),
            # The arena would otherwise double with each growth, and never give anything back.
            "arena_extend_strategy": "kSameAsRequested",
            **limit,
        }
    if provider.name == "tensorrt":
        return {
            "trt_fp16_enable": _flag(settings.arithmetic == "fp16"),
            "trt_int8_enable": _flag(settings.arithmetic == "int8"),
            "trt_cuda_graph_enable": _flag(gpu.cuda_graphs and gpu.io_binding),
            **_tensorrt_profile(settings),
            **_tensorrt_cache(settings),
        }
    return {}


def _tensorrt_profile(settings: Settings) -> dict[str, str]:
    """Say at once which batches will come: at one outside the profile the engine would be built again, for minutes."""
    if settings.input_hw is None:
        return {}
    sizes = {"min": 1, "opt": max(settings.batch_sizes), "max": max(settings.batch_sizes)}
    height, width = settings.input_hw
    return {f"trt_profile_{key}_shapes": f"{INPUT_NAME}:{size}x{height}x{width}x3" for key, size in sizes.items()}


def _tensorrt_cache(settings: Settings) -> dict[str, str]:
    # TensorRT would make it with the rights of the umask.
    if settings.cache is None or make_cache(settings.cache) is None:
        return {}
    folder = str(settings.cache)
    engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
    return {**engine, "trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}


def _flag(value: bool) -> str:
    return "1" if value else "0"


def create_session(model: bytes, provider: Provider, settings: Settings) -> Any:
    """Return an onnxruntime.InferenceSession on a provider, or none.

    Raises:
        ProviderError, PackageError, DependencyError: see `OnnxRuntimeEngine`.
    """
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    if provider.ort_name not in available:
        raise ProviderError(
            f"provider {provider.name!r} was asked for, but the installed ONNX Runtime {ort.__version__} was built "
            f"with {', '.join(available)} only; mend it with: {provider.install}. `partsight doctor` shows more"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors: what matters is raised
    if settings.threads is not None:
        options.intra_op_num_threads = settings.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", _flag(settings.spinning))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))  # from 1.27 on
    # Within a run alone: by default they spin on for some ten milliseconds, on cores that the next frames need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider.is_cpu and onnx_runtime_overflows(ort):
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not provider.is_cpu:
        options.intra_op_num_threads = 1  # the card computes; a pool of threads would only wait
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
    try:
        session = ort.InferenceSession(
            model,
            options,
            providers=[(provider.ort_name, provider_options(provider, settings))],
            enable_fallback=0,  # else a run that fails goes on with other providers, and says so on standard output
        )
    except Exception as error:
        if provider.is_cpu:
            raise PackageError(f"ONNX Runtime cannot load the model ({error}); export it again") from error
        raise not_had(provider, str(error)) from error
    if session.get_providers()[0] != provider.ort_name:
        raise not_had(provider, f"the session came up on {', '.join(session.get_providers())}")
    # Its Python half keeps the file, to start again on another provider: as much memory as the model, for nothing.
    session._model_bytes = None
    return session


def _signature(session: Any) -> Signature:
    def tensors(nodes: Any) -> dict[str, Tensor]:
        return {
            node.name: Tensor(
                _DTYPES.get(node.type, node.type),
                tuple(size if isinstance(size, int) else None for size in node.shape),
            )
            for node in nodes
        }

    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return Signature(tensors(session.get_inputs()), tensors(session.get_outputs()), metadata)
