"""A network runs: one session on the provider that the caller named, by ONNX Runtime or OpenVINO.

May import `core`.
"""

from partsight.runtime.inference.engine import (
    BOUND_NAME,
    EMBEDDING_NAME,
    INPUT_NAME,
    SCORE_NAME,
    Inference,
)
from partsight.runtime.inference.onnx_runtime import create_session, import_onnxruntime, provider_options
from partsight.runtime.inference.openvino import compile_model
from partsight.runtime.inference.prototype_search import PrototypeSearch, bound_matrix
from partsight.runtime.inference.providers import AUTO, PROVIDERS, Provider, find_provider, without_remedy
from partsight.runtime.inference.session import Session, open_session
from partsight.runtime.inference.settings import Arithmetic, EngineSettings, GpuSettings, ModelSettings

__all__ = [
    "AUTO",
    "BOUND_NAME",
    "EMBEDDING_NAME",
    "INPUT_NAME",
    "PROVIDERS",
    "SCORE_NAME",
    "Arithmetic",
    "EngineSettings",
    "GpuSettings",
    "Inference",
    "ModelSettings",
    "PrototypeSearch",
    "Provider",
    "Session",
    "bound_matrix",
    "compile_model",
    "create_session",
    "find_provider",
    "import_onnxruntime",
    "open_session",
    "provider_options",
    "without_remedy",
]
