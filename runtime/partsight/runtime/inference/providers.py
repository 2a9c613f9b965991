"""The providers: what users choose from, and the one place that says what each needs."""

from dataclasses import dataclass

from partsight.runtime.core import ProviderError
from partsight.runtime.inference.engine import Arithmetic


@dataclass(frozen=True)
class Provider:
    """Something that computes networks.

    Attributes:
        name: what users write.
        library: the distribution that brings it.
        install: the command that installs it.
        arithmetic: what it computes in, usefully.
        ort_name: what ONNX Runtime calls it; empty where another library computes.
        on_card: whether it leaves the processor free for other work.
    """

    name: str
    library: str
    install: str
    arithmetic: tuple[Arithmetic, ...]
    ort_name: str = ""
    on_card: bool = False

    @property
    def is_cpu(self) -> bool:
        """Whether it is ONNX Runtime's own CPU provider, to which its others would fall back."""
        return self.ort_name == "CPUExecutionProvider"


_ON_NVIDIA = (
    "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'partsight[gpu]', on a machine with an NVIDIA GPU and "
    "a driver for CUDA 13"
)

PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            "cpu", "onnxruntime", "pip install 'partsight[cpu]'", ("fp32", "fp16", "int8"), "CPUExecutionProvider"
        ),
        Provider(
            "openvino",
            "openvino",
            "pip install 'partsight[openvino]' (beside the extra cpu or gpu), on an x86-64 or Arm processor",
            ("fp32", "bf16", "int8"),
        ),
        Provider("cuda", "onnxruntime-gpu", _ON_NVIDIA, ("fp32", "fp16"), "CUDAExecutionProvider", on_card=True),
        Provider(
            "tensorrt",
            "onnxruntime-gpu",
            f"pip install tensorrt, of the major version that ONNX Runtime was built for; and {_ON_NVIDIA}",
            ("fp32", "fp16", "int8"),
            "TensorrtExecutionProvider",
            on_card=True,
        ),
    )
}
"""By name, in the order in which `partsight doctor` tries them."""


def find_provider(name: str, arithmetic: Arithmetic = "fp32") -> Provider:
    """Return the provider called `name`.

    Raises:
        ProviderError: there is none of that name, or it does not compute in `arithmetic`.
    """
    try:
        provider = PROVIDERS[name]
    except KeyError:
        raise ProviderError(
            f"provider {name!r} is not known; expected one of {', '.join(PROVIDERS)}, or auto"
        ) from None
    if arithmetic not in provider.arithmetic:
        able = [other.name for other in PROVIDERS.values() if arithmetic in other.arithmetic]
        raise ProviderError(
            f"provider {name!r} was asked for precision {arithmetic}; it computes in {', '.join(provider.arithmetic)}, "
            f"and {arithmetic} is computed by {', '.join(able)}"
        )
    return provider


def not_had(provider: Provider, reason: str) -> ProviderError:
    """Return the error that a provider which was asked for by name cannot be had."""
    return ProviderError(
        f"provider {provider.name!r} was asked for and could not be had: {reason}; mend it with: {provider.install}. "
        "`partsight doctor` shows what is missing"
    )
