"""Checks of a provider that need no network: for a plan of a line, and before a start."""

from partsight.runtime.core import ProviderError
from partsight.runtime.inference import AUTO, EngineSettings, ModelSettings, find_provider, is_remote
from partsight.runtime.recognition.remote.address import RemoteAddress, parse_address
from partsight.runtime.recognition.remote.credentials import read_token, tls_context
from partsight.runtime.recognition.tensors import MAX_TOP


def check_provider(provider: str, settings: ModelSettings, top: int) -> None:
    """Refuse a provider that cannot work with these settings, as far as no engine and no network is needed to know.

    Args:
        provider: Name of a provider, or the address of a model on a server.
        settings: How to run the network.
        top: Number of candidates that an answer names.

    Raises:
        ProviderError: The provider is unknown, an option of the address or a file that it names cannot be used, or a
            setting would have no effect.
    """
    if is_remote(provider):
        address = parse_address(provider)
        check_settings(address, settings)
        check_top(top)
        tls_context(address)
        read_token(address)
    elif provider != AUTO:
        find_provider(provider, settings.arithmetic)


def check_settings(address: RemoteAddress, settings: ModelSettings, *, matching: bool = True) -> None:
    """Refuse settings that the server decides, so that none is ignored in silence.

    Args:
        address: The model.
        settings: Settings that the caller gave for the network.
        matching: Whether the caller wants frames compared with golden images.

    Raises:
        ProviderError: A setting would have no effect.
    """
    if settings.arithmetic != "fp32":
        raise ProviderError(
            f"provider {address}: the server decides the precision; received {settings.arithmetic}: leave precision "
            "out, and set it where the server is started"
        )
    if settings.engine != EngineSettings():
        raise ProviderError(
            f"provider {address}: the network runs on the server, so device, threads, spinning, cache and gpu have no "
            "effect here; leave them out, and set them where the server is started"
        )
    if not matching:
        raise ProviderError(
            f"provider {address}: a server answers only with both stages; leave matching=False out, or use a provider "
            "of this machine, such as cpu"
        )


def check_top(top: int) -> None:
    """Refuse more candidates than a server names.

    Raises:
        ProviderError: `top` is more than that.
    """
    if top > MAX_TOP:
        raise ProviderError(f"top is {top}; a server names at most {MAX_TOP} candidates: set top to {MAX_TOP} or less")
