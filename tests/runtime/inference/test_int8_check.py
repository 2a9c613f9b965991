import logging
import platform
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.inference import int8_check, onnx_runtime
from partsight.runtime.inference.onnx_runtime import create_session, import_onnxruntime
from partsight.runtime.inference.providers import PROVIDERS
from partsight.runtime.inference.session import Session
from partsight.runtime.inference.settings import ModelSettings
from tests.tiny import tiny_model


def test_the_cpu_provider_is_exact() -> None:
    """Even without VNNI, where its sums would by default be two thirds of the right ones."""
    session = create_session(int8_check.model(), PROVIDERS["cpu"], ModelSettings("int8"))
    (maps,) = session.run(["maps"], {"pixels": np.full((1, 3, 16, 16), 255, np.uint8)})
    np.testing.assert_allclose(maps, 27 * 255 * 127, atol=4096 / 2)


def has_vnni() -> bool:
    facts = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not facts.exists():
        pytest.skip("needs Linux on x86-64, which lists the processor's instructions")
    flags = facts.read_text().partition("flags")[2].partition("\n")[0].split()
    return any("vnni" in flag for flag in flags)


def test_openvino_overflows_where_there_is_no_vnni() -> None:
    openvino = pytest.importorskip("openvino")
    assert int8_check.openvino_overflows(openvino) is not has_vnni()


def test_onnx_runtime_overflows_where_there_is_no_vnni() -> None:
    assert int8_check.onnx_runtime_overflows(import_onnxruntime()) is not has_vnni()


@pytest.mark.parametrize("overflows", [False, True])
def test_the_slower_exact_sums_are_used_only_if_needed(overflows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "onnx_runtime_overflows", lambda _: overflows)
    options = create_session(tiny_model(), PROVIDERS["cpu"], ModelSettings("int8")).get_session_options()
    if overflows:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
    else:
        with pytest.raises(RuntimeError, match="x64quantprecision"):
            options.get_session_config_entry("session.x64quantprecision")


@pytest.mark.parametrize("overflows", [False, True])
@pytest.mark.parametrize("arithmetic", ["fp32", "int8"])
def test_an_overflow_is_logged_once(
    overflows: bool, arithmetic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(int8_check, "openvino_overflows", lambda _: overflows)
    int8_check.warn_of_overflow.cache_clear()
    with caplog.at_level(logging.WARNING, "partsight.runtime"):
        for _ in range(2):
            Session(tiny_model(), "openvino", ModelSettings(arithmetic))  # type: ignore[arg-type]
    int8_check.warn_of_overflow.cache_clear()
    logged = [(record.event, record.levelname) for record in caplog.records]  # type: ignore[attr-defined]
    assert logged == ([("int8_overflows", "WARNING")] if overflows and arithmetic == "int8" else [])
