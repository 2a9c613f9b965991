"""A network runs: one session on the provider that was asked for, by ONNX Runtime or OpenVINO.

May import `core`.
"""

from partsight.runtime.inference.choice import AUTO, Choice, open_session
from partsight.runtime.inference.engine import (
    BOUND_NAME,
    EMBEDDING_NAME,
    INPUT_NAME,
    SCORE_NAME,
    Arithmetic,
    GpuSettings,
    Settings,
)
from partsight.runtime.inference.onnx_runtime import create_session, import_onnxruntime, provider_options
from partsight.runtime.inference.openvino import compile_model
from partsight.runtime.inference.prototype_search import PrototypeSearch, bound_matrix
from partsight.runtime.inference.providers import PROVIDERS, Provider, find_provider
from partsight.runtime.inference.session import Inference, Session

__all__ = [
    "AUTO",
    "BOUND_NAME",
    "EMBEDDING_NAME",
    "INPUT_NAME",
    "PROVIDERS",
    "SCORE_NAME",
    "Arithmetic",
    "Choice",
    "GpuSettings",
    "Inference",
    "PrototypeSearch",
    "Provider",
    "Session",
    "Settings",
    "bound_matrix",
    "compile_model",
    "create_session",
    "find_provider",
    "import_onnxruntime",
    "open_session",
    "provider_options",
]
