import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime import PackageError, ProviderError, Recognizer
from partsight.runtime.inference import choice as module
from partsight.runtime.inference.choice import open_session
from partsight.runtime.inference.engine import Settings
from partsight.runtime.inference.prototype_search import PrototypeSearch
from partsight.runtime.inference.session import Session
from tests.tiny import searched, solid, tiny_model, tiny_prototypes


def pretend(monkeypatch: pytest.MonkeyPatch, frame_ms: dict[str, float]) -> None:
    """Every provider runs on the CPU, at its own speed; those without one cannot be had."""
    load = Session.__init__

    def pretended(
        self: Session, model: bytes, provider: str, settings: Settings, search: PrototypeSearch | None
    ) -> None:
        if provider not in frame_ms:
            raise ProviderError(f"provider {provider!r} was asked for and could not be had: no card; mend it with: x")
        load(self, model, "cpu", settings, search)
        self.provider = module.PROVIDERS[provider]

    monkeypatch.setattr(Session, "__init__", pretended)
    monkeypatch.setattr(module, "_time", lambda session, _: frame_ms[session.provider.name])


@pytest.mark.parametrize(
    ("frame_ms", "best"),
    [({"cpu": 2.0}, "cpu"), ({"cpu": 2.0, "cuda": 0.1}, "cuda"), ({"openvino": 1.0, "cpu": 0.5, "cuda": 3}, "cpu")],
)
def test_the_fastest_that_works_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, frame_ms: dict[str, float], best: str
) -> None:
    pretend(monkeypatch, frame_ms)
    with caplog.at_level(logging.INFO, "partsight.runtime"):
        found = open_session(tiny_model(), "auto", Settings())
    assert found.session.provider.name == best
    assert found.reason.startswith(f"{best}, the fastest of: ")
    for name, value in frame_ms.items():
        assert f"{name} {value:.1f} ms a frame" in found.reason
    assert "tensorrt cannot be had (provider 'tensorrt' was asked for and could not be had: no card)" in found.reason
    assert found.reason in caplog.text


def test_none_works(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {})
    with pytest.raises(ProviderError, match=r"no provider works here that computes in fp32: cpu cannot .*doctor"):
        open_session(tiny_model(), "auto", Settings())


def test_only_those_that_compute_in_the_precision_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"cpu": 1.0, "cuda": 2.0})
    reason = open_session(tiny_model(), "auto", Settings(arithmetic="fp16")).reason
    assert "openvino" not in reason
    with pytest.raises(ProviderError, match=r"computes in bf16: openvino cannot be had"):
        open_session(tiny_model(), "auto", Settings(arithmetic="bf16"))


def test_a_damaged_model_is_not_a_matter_of_the_provider() -> None:
    with pytest.raises(PackageError, match=r"cannot load the model"):
        open_session(b"no model", "auto", Settings())


def test_a_model_that_one_provider_refuses_runs_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"cpu": 1.0, "cuda": 2.0})
    load = Session.__init__

    def refuse(self: Session, model: bytes, provider: str, *args: Any) -> None:
        if provider == "cpu":
            raise PackageError("it cannot load the model")
        load(self, model, provider, *args)

    monkeypatch.setattr(Session, "__init__", refuse)
    found = open_session(tiny_model(), "auto", Settings())
    assert found.session.provider.name == "cuda"
    assert "cpu cannot be had (it cannot load the model)" in found.reason


def test_a_name_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"cpu": 1.0})
    with pytest.raises(ProviderError, match=r"no card"):
        open_session(tiny_model(), "cuda", Settings())
    assert open_session(tiny_model(), "cpu", Settings()).reason == "it was asked for"


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_a_search_goes_to_the_session(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    pretend(monkeypatch, {"cpu": 1.0})
    search = PrototypeSearch(tiny_prototypes())
    assert open_session(searched(tiny_model()), provider, Settings(), search).session.classes == 6


def test_time_is_of_a_frame_and_the_best_of_some() -> None:
    moments = iter([0.0, 0.4, 1.0, 1.1, 2.0, 2.9])
    session = Session(tiny_model())
    assert module._time(session, 10, lambda: next(moments)) == pytest.approx(10)


def test_a_recogniser_says_what_was_taken(tiny_package: Path) -> None:
    with Recognizer(tiny_package, provider="auto", batch_size=4) as recognizer:
        assert recognizer.provider in module.PROVIDERS
        assert recognizer.provider_reason.startswith(recognizer.provider)
        assert "in batches of 4" in recognizer.provider_reason
        assert recognizer.recognize(solid("red")).label == "red"
    with Recognizer(tiny_package) as recognizer:
        assert recognizer.provider_reason == "it was asked for"
        assert isinstance(recognizer.infer([solid("red")]).score, np.ndarray)
