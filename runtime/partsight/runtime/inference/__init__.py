"""A network runs: one session on the provider that the caller named, by ONNX Runtime or OpenVINO.

May import `core`.
"""

from partsight.runtime.inference.devices import Cores, cards, find_cores, list_cores, numa_nodes
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
from partsight.runtime.inference.providers import (
    AUTO,
    PROVIDERS,
    REMOTE_SCHEME,
    Provider,
    find_provider,
    is_remote,
    without_remedy,
)
from partsight.runtime.inference.session import Session, open_session
from partsight.runtime.inference.settings import Arithmetic, EngineSettings, GpuSettings, ModelSettings

__all__ = [
    "AUTO",
    "BOUND_NAME",
    "EMBEDDING_NAME",
    "INPUT_NAME",
    "PROVIDERS",
    "REMOTE_SCHEME",
    "SCORE_NAME",
    "Arithmetic",
    "Cores",
    "EngineSettings",
    "GpuSettings",
    "Inference",
    "ModelSettings",
    "PrototypeSearch",
    "Provider",
    "Session",
    "bound_matrix",
    "cards",
    "compile_model",
    "create_session",
    "find_cores",
    "find_provider",
    "import_onnxruntime",
    "is_remote",
    "list_cores",
    "numa_nodes",
    "open_session",
    "provider_options",
    "without_remedy",
]
