"""The providers: the names that users choose from, and the needs of each."""

from dataclasses import dataclass

from partsight.runtime.core import ProviderError
from partsight.runtime.inference.settings import Arithmetic

AUTO = "auto"
"""Name that stands for the fastest provider that works; see `session.select_provider`."""

REMOTE_SCHEME = "kserve"
"""Scheme of a provider that is a model on a server: `kserve://HOST:PORT/MODEL`, which a `Recognizer` takes."""

_REMEDY = "; fix it with: "


@dataclass(frozen=True)
class Provider:
    """A way to compute networks on this machine.

    Attributes:
        name: Name that users write.
        library: Distribution that brings it.
        install: Command that installs it.
        arithmetic: Number formats that gain something on it.
        ort_name: ONNX Runtime's name of it; empty if another library computes.
        on_card: Whether it leaves the CPU free for other work.
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
            "pip install 'partsight[openvino]' (next to the extra cpu or gpu), on an x86-64 or Arm processor",
            ("fp32", "bf16", "int8"),
        ),
        Provider("cuda", "onnxruntime-gpu", _ON_NVIDIA, ("fp32", "fp16"), "CUDAExecutionProvider", on_card=True),
        Provider(
            "tensorrt",
            "onnxruntime-gpu",
            f"pip install tensorrt, in the major version that your ONNX Runtime was built for; and {_ON_NVIDIA}",
            ("fp32", "fp16", "int8"),
            "TensorrtExecutionProvider",
            on_card=True,
        ),
    )
}
"""Providers by name, in the order in which `partsight doctor` tries them."""


def is_remote(name: str) -> bool:
    """Whether a provider's name is the address of a model on a server."""
    return name.startswith(f"{REMOTE_SCHEME}:")


def find_provider(name: str, arithmetic: Arithmetic = "fp32") -> Provider:
    """Return the provider of this machine that is called `name`.

    Raises:
        ProviderError: No provider has that name, it is a server, or the provider does not compute in `arithmetic`.
    """
    if is_remote(name):
        raise ProviderError(
            f"provider {name.partition('?')[0]} is a server, and this call runs the network on this machine; choose "
            f"one of {', '.join(PROVIDERS)}. `partsight run` and Recognizer(PACKAGE, provider=...) take a server"
        )
    try:
        provider = PROVIDERS[name]
    except KeyError:
        raise ProviderError(
            f"provider {name!r} is not known; expected one of {', '.join(PROVIDERS)}, {AUTO}, or "
            f"{REMOTE_SCHEME}://HOST:PORT/MODEL"
        ) from None
    if arithmetic not in provider.arithmetic:
        able = [other.name for other in PROVIDERS.values() if arithmetic in other.arithmetic]
        raise ProviderError(
            f"provider {name!r} does not compute in precision {arithmetic}, only in {', '.join(provider.arithmetic)}; "
            f"choose one of {', '.join(able)}, or another precision"
        )
    return provider


def unavailable(provider: Provider, reason: str) -> ProviderError:
    """Return the error that a provider does not work on this machine, with the command that installs it."""
    return ProviderError(
        f"provider {provider.name!r} is not available: {reason}{_REMEDY}{provider.install}. Run `partsight "
        "doctor` to check this machine"
    )


def without_remedy(error: Exception) -> str:
    """Return an error's message without the command that installs the provider or its library."""
    text = str(error).partition(_REMEDY)[0].partition("; install it with")[0]
    return " ".join(text.split())
