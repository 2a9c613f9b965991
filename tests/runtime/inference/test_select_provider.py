import logging
from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import PackageError, ProviderError, Recognizer
from partsight.runtime.inference import PROVIDERS, ModelSettings, PrototypeSearch, Session, open_session
from partsight.runtime.inference import session as module
from partsight.runtime.inference.providers import unavailable
from partsight.runtime.inference.session import frame_time_ms
from tests.tiny import searched, solid, tiny_model, tiny_prototypes


def pretend(monkeypatch: pytest.MonkeyPatch, frame_ms: dict[str, float]) -> None:
    """Every provider runs on the CPU, at its own speed; a provider without a speed does not work."""
    load = Session.__init__

    def pretended(
        self: Session, model: bytes, provider: str, settings: ModelSettings, search: PrototypeSearch | None
    ) -> None:
        if provider not in frame_ms:
            raise unavailable(PROVIDERS[provider], "no card")
        load(self, model, "cpu", settings, search)
        self.provider = PROVIDERS[provider]

    monkeypatch.setattr(Session, "__init__", pretended)
    monkeypatch.setattr(module, "frame_time_ms", lambda session, _: frame_ms[session.provider.name])


@pytest.mark.parametrize(
    ("frame_ms", "best"),
    [({"cpu": 2.0}, "cpu"), ({"cpu": 2.0, "cuda": 0.1}, "cuda"), ({"openvino": 1.0, "cpu": 0.5, "cuda": 3}, "cpu")],
)
def test_the_fastest_that_works_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, frame_ms: dict[str, float], best: str
) -> None:
    pretend(monkeypatch, frame_ms)
    with caplog.at_level(logging.INFO, "partsight.runtime"):
        session = open_session(tiny_model(), "auto", ModelSettings())
    assert session.provider.name == best
    for name, value in frame_ms.items():
        assert f"{name} {value:.1f} ms" in session.reason
    assert "no card" in session.reason
    assert "pip install" not in session.reason
    (record,) = caplog.records
    assert record.event == "provider_taken"  # type: ignore[attr-defined]
    assert session.reason in record.getMessage()


def test_none_works(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {})
    with pytest.raises(ProviderError, match=r"fp32.*no card.*partsight doctor"):
        open_session(tiny_model(), "auto", ModelSettings())


def test_only_providers_that_compute_in_the_precision_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"cpu": 1.0, "cuda": 2.0})
    assert "openvino" not in open_session(tiny_model(), "auto", ModelSettings(arithmetic="fp16")).reason
    with pytest.raises(ProviderError, match=r"bf16.*openvino") as caught:
        open_session(tiny_model(), "auto", ModelSettings(arithmetic="bf16"))
    assert "cuda" not in str(caught.value)


def test_a_damaged_model_is_an_error_of_the_package() -> None:
    with pytest.raises(PackageError):
        open_session(b"no model", "auto", ModelSettings())


def test_a_model_that_one_provider_refuses_runs_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"cpu": 1.0, "cuda": 2.0})
    load = Session.__init__

    def refuse(self: Session, model: bytes, provider: str, *args: Any) -> None:
        if provider == "cpu":
            raise PackageError("no such operator")
        load(self, model, provider, *args)

    monkeypatch.setattr(Session, "__init__", refuse)
    session = open_session(tiny_model(), "auto", ModelSettings())
    assert session.provider.name == "cuda"
    assert "no such operator" in session.reason


def test_a_named_provider_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"cpu": 1.0})
    with pytest.raises(ProviderError, match="no card"):
        open_session(tiny_model(), "cuda", ModelSettings())
    assert open_session(tiny_model(), "cpu", ModelSettings()).provider.name == "cpu"


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_a_search_goes_to_the_session(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    pretend(monkeypatch, {"cpu": 1.0})
    search = PrototypeSearch(tiny_prototypes())
    assert open_session(searched(tiny_model()), provider, ModelSettings(), search).classes == 6


def test_the_time_is_of_one_frame_in_the_fastest_batch() -> None:
    moments = iter([0.0, 0.4, 1.0, 1.1, 2.0, 2.9])
    assert frame_time_ms(Session(tiny_model()), 10, lambda: next(moments)) == pytest.approx(10)


def test_a_recogniser_names_its_provider(tiny_package: Path) -> None:
    with Recognizer(tiny_package, provider="auto", batch_size=4) as recognizer:
        assert recognizer.provider in PROVIDERS
        assert recognizer.provider_reason.startswith(recognizer.provider)
        assert "batches of 4" in recognizer.provider_reason
        assert recognizer.recognize(solid("red")).label == "red"
    with Recognizer(tiny_package) as recognizer:
        assert recognizer.provider_reason
