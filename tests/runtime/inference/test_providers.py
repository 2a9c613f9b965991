import pytest

from partsight.runtime.core.errors import ProviderError
from partsight.runtime.inference.providers import PROVIDERS, find_provider, unavailable, without_remedy


def test_one_of_them_alone_is_the_cpu_that_others_fall_back_to() -> None:
    assert [provider.name for provider in PROVIDERS.values() if provider.is_cpu] == ["cpu"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_names_its_install_command(name: str) -> None:
    provider = find_provider(name)
    assert provider.name == name
    assert "pip install" in provider.install
    assert "fp32" in provider.arithmetic


@pytest.mark.parametrize(("name", "arithmetic", "able"), [("cpu", "bf16", "openvino"), ("cuda", "int8", "cpu, op")])
def test_a_precision_that_it_does_not_compute_in(name: str, arithmetic: str, able: str) -> None:
    with pytest.raises(ProviderError, match=rf"'{name}' .*{arithmetic}.* of {able}"):
        find_provider(name, arithmetic)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_unavailable_provider(name: str) -> None:
    error = unavailable(PROVIDERS[name], "no card")
    for datum in (repr(name), "no card", PROVIDERS[name].install, "partsight doctor"):
        assert datum in str(error)
    assert "no card" in without_remedy(error)
    assert PROVIDERS[name].install not in without_remedy(error)
