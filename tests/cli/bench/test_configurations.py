"""Configurations: the combinations to try, and the reasons of those that do not work."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from partsight.cli.bench.configurations import find_configurations, open_baseline, open_configurations
from partsight.runtime import ModelPackage, PartsightError, ProviderError
from tests.cli.bench.made_up import CPU_FP32, CPU_INT8, OV_BF16, OV_FP32, no_tick
from tests.tiny import write_tiny_package


def test_all_that_the_package_has_is_tried(tiny_package: Path) -> None:
    package = ModelPackage.read(tiny_package)
    found = find_configurations(package, ("cpu", "openvino"), None)
    assert set(found) == {CPU_FP32, OV_FP32, OV_BF16}
    assert find_configurations(package, ("cpu",), ("int8",)) == [CPU_INT8]


@pytest.mark.parametrize(("providers", "precisions"), [(("gpu",), None), (None, ("fp8",))])
def test_unknown_names(
    tiny_package: Path, providers: tuple[str, ...] | None, precisions: tuple[str, ...] | None
) -> None:
    with pytest.raises(ProviderError, match=r"'gpu'.*cuda|'fp8'.*fp16"):
        find_configurations(ModelPackage.read(tiny_package), providers, precisions)


def test_configurations_that_do_not_work_have_a_reason(tiny_package: Path) -> None:
    with ExitStack() as stack:
        package = ModelPackage.read(tiny_package)
        opened, absent = open_configurations(package, [CPU_FP32, CPU_INT8], 2, stack, no_tick)
    assert list(opened) == [CPU_FP32]
    ((provider, precisions, reason),) = [(item.provider, item.precisions, item.reason) for item in absent]
    assert (provider, precisions) == ("cpu", ("int8",))
    assert "int8" in reason


def test_one_configuration_must_work(tiny_package: Path) -> None:
    with ExitStack() as stack, pytest.raises(ProviderError, match=r"int8.*partsight doctor"):
        open_configurations(ModelPackage.read(tiny_package), [CPU_INT8], 2, stack, no_tick)


def test_the_baseline_computes_in_fp32(tiny_package: Path) -> None:
    with ExitStack() as stack:
        configuration, recognizer = open_baseline(ModelPackage.read(tiny_package), {}, 2, stack)
        assert configuration == CPU_FP32
        assert recognizer.batch_size == 2


def test_the_baseline_needs_a_model_in_fp32(tmp_path: Path) -> None:
    package = ModelPackage.read(write_tiny_package(tmp_path / "tiny.partsight"))
    (package.path / "model.fp32.onnx").unlink()
    with ExitStack() as stack, pytest.raises(PartsightError, match=r"fp32.*cpu.*partsight doctor"):
        open_baseline(package, {}, 2, stack)
