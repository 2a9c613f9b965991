"""ONNX Runtime: a session on the provider that the caller named, and on no other."""

import os
from types import ModuleType
from typing import Any

from partsight.runtime.core import DependencyError, PackageError, Pixels, ProviderError
from partsight.runtime.inference.devices import Cores, find_cores
from partsight.runtime.inference.engine import EMBEDDING_NAME, INPUT_NAME, Inference, ModelInterface, Tensor
from partsight.runtime.inference.int8_check import onnx_runtime_overflows
from partsight.runtime.inference.io_binding import BoundRuns
from partsight.runtime.inference.model_cache import make_cache
from partsight.runtime.inference.providers import Provider, unavailable
from partsight.runtime.inference.settings import ModelSettings

_SPIN_US = 50
"""Microseconds for which a waiting thread spins: enough between two operations. A thread waits longer if another task
took its core, as a rule the matching of the batch before; spinning would take a core from that."""

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntimeEngine:
    """A model in ONNX Runtime; see `engine.Engine`."""

    def __init__(self, model: bytes, provider: Provider, settings: ModelSettings) -> None:
        """Load a model.

        Args:
            model: Bytes of an ONNX file.
            provider: Provider to run it on.
            settings: How to run it.

        Raises:
            ProviderError: The provider does not work on this machine.
            PackageError: The bytes are not a model.
            DependencyError: ONNX Runtime is not installed.
        """
        self._session = create_session(model, provider, settings)
        self._cores = find_cores(provider.name, settings.engine.device)
        self._interface = _interface(self._session)
        self._outputs = [self._interface.score_name, EMBEDDING_NAME]
        is_bound = not provider.is_cpu and settings.engine.gpu.io_binding
        card = settings.engine.device or 0
        self._bound = BoundRuns(self._session, settings.batch_sizes, "cuda", card) if is_bound else None

    @property
    def interface(self) -> ModelInterface:
        """The model's inputs, outputs and metadata."""
        return self._interface

    def run(self, batch: Pixels) -> Inference:
        """Run the model on a batch; see `engine.Engine`."""
        if self._bound is not None:
            return self._bound.run(batch)
        with self._cores.pinned():  # the calling thread computes, too
            score, embedding = self._session.run(self._outputs, {INPUT_NAME: batch})
        return Inference(score, embedding)


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, which comes from one of two extras, without the telemetry that it sends to Microsoft.

    Raises:
        DependencyError: ONNX Runtime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reads it once, at its import
    try:
        import onnxruntime  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise DependencyError(
            f"ONNX Runtime cannot be imported ({error}); install it with: pip install 'partsight[cpu]' "
            "(or 'partsight[gpu]' for an NVIDIA GPU, never both)"
        ) from error
    return onnxruntime  # type: ignore[no-any-return]


def provider_options(provider: Provider, settings: ModelSettings) -> dict[str, str]:
    """Return ONNX Runtime's options of a provider; its documentation explains each.

    For TensorRT, make the cache folder.
    """
    gpu, device = settings.engine.gpu, settings.engine.device
    card = {} if device is None else {"device_id": str(device)}
    limit = {} if gpu.memory_limit_bytes is None else {"gpu_mem_limit": str(gpu.memory_limit_bytes)}
    if provider.name == "cuda":
        return {
            "cudnn_conv_algo_search": "EXHAUSTIVE" if gpu.exhaustive_search else "HEURISTIC",
            "cudnn_conv_use_max_workspace": "1",
            "prefer_nhwc": _flag(gpu.nhwc),
            "use_tf32": _flag(gpu.tf32),
            "enable_cuda_graph": _flag(gpu.cuda_graphs and gpu.io_binding),
            # By default the arena doubles with each growth and never shrinks.
            "arena_extend_strategy": "kSameAsRequested",
            **limit,
            **card,
        }
    if provider.name == "tensorrt":
        return {
            "trt_fp16_enable": _flag(settings.arithmetic == "fp16"),
            "trt_int8_enable": _flag(settings.arithmetic == "int8"),
            "trt_cuda_graph_enable": _flag(gpu.cuda_graphs and gpu.io_binding),
            **_tensorrt_profile(settings),
            **_tensorrt_cache(settings),
            **card,
        }
    return {}


def _tensorrt_profile(settings: ModelSettings) -> dict[str, str]:
    """Return the sizes of all batches to come: for one outside the profile TensorRT builds again, for minutes."""
    if settings.input_hw is None:
        return {}
    sizes = {"min": 1, "opt": max(settings.batch_sizes), "max": max(settings.batch_sizes)}
    height, width = settings.input_hw
    return {f"trt_profile_{key}_shapes": f"{INPUT_NAME}:{size}x{height}x{width}x3" for key, size in sizes.items()}


def _tensorrt_cache(settings: ModelSettings) -> dict[str, str]:
    folder = settings.engine.cache_folder
    if folder is None or make_cache(folder) is None:  # TensorRT itself would make it with the rights of the umask
        return {}
    engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    return {**engine, "trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}


def _flag(value: bool) -> str:
    return "1" if value else "0"


def create_session(model: bytes, provider: Provider, settings: ModelSettings) -> Any:
    """Return an onnxruntime.InferenceSession on a provider.

    Raises:
        ProviderError: The provider does not work on this machine, or its device is not there.
        PackageError: The bytes are not a model.
        DependencyError: ONNX Runtime is not installed.
    """
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    if provider.ort_name not in available:
        built = f"the installed ONNX Runtime {ort.__version__} was built with {', '.join(available)} only"
        raise unavailable(provider, built)
    cores = find_cores(provider.name, settings.engine.device)
    options = _session_options(ort, provider, settings, cores)
    try:
        with cores.pinned():  # ONNX Runtime's threads start here, and its copy of the weights is in the node's memory
            session = ort.InferenceSession(
                model,
                options,
                providers=[(provider.ort_name, provider_options(provider, settings))],
                enable_fallback=0,  # by default a failed run goes on with other providers, and only stdout says so
            )
    except ProviderError:
        raise
    except Exception as error:
        if provider.is_cpu:
            raise PackageError(f"ONNX Runtime cannot load the model ({error}); export it again") from error
        raise unavailable(provider, str(error)) from error
    if session.get_providers()[0] != provider.ort_name:
        raise unavailable(provider, f"the session came up on {', '.join(session.get_providers())}")
    # For a fallback its Python half keeps the file: as much memory as the model, and partsight never falls back.
    session._model_bytes = None
    return session


def _session_options(ort: ModuleType, provider: Provider, settings: ModelSettings, cores: Cores) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors: ONNX Runtime raises whatever matters
    # With a number, ONNX Runtime binds no thread to a core by itself, and threads stay on the cores of their maker.
    options.intra_op_num_threads = settings.engine.threads or cores.physical
    options.add_session_config_entry("session.intra_op.allow_spinning", _flag(settings.engine.spinning))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))  # from 1.27 on
    # By default threads spin on for some ten milliseconds after a run, on cores that the next frames need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider.is_cpu and onnx_runtime_overflows(ort):
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not provider.is_cpu:
        options.intra_op_num_threads = 1  # the card computes; a pool of threads would only wait
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
    return options


def _interface(session: Any) -> ModelInterface:
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return ModelInterface(_tensors(session.get_inputs()), _tensors(session.get_outputs()), metadata)


def _tensors(nodes: Any) -> dict[str, Tensor]:
    return {node.name: Tensor(_DTYPES.get(node.type, node.type), _shape(node)) for node in nodes}


def _shape(node: Any) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in node.shape)  # else the name of a free size
