import pytest

from partsight.runtime.core.errors import ProviderError
from partsight.runtime.inference.providers import PROVIDERS, find_provider


def test_one_of_them_alone_is_the_cpu_that_others_fall_back_to() -> None:
    assert [provider.name for provider in PROVIDERS.values() if provider.is_cpu] == ["cpu"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_says_how_it_is_installed(name: str) -> None:
    provider = find_provider(name)
    assert provider.name == name
    assert "pip install" in provider.install
    assert "fp32" in provider.arithmetic


@pytest.mark.parametrize(("name", "arithmetic", "able"), [("cpu", "bf16", "openvino"), ("cuda", "int8", "cpu, openv")])
def test_a_precision_that_it_does_not_compute_in(name: str, arithmetic: str, able: str) -> None:
    with pytest.raises(ProviderError, match=rf"'{name}' was asked for precision {arithmetic}; .* computed by {able}"):
        find_provider(name, arithmetic)  # type: ignore[arg-type]
