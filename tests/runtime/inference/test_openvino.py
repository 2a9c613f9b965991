import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.core.errors import ProviderError
from partsight.runtime.inference.openvino import compile_model
from partsight.runtime.inference.session import Session, open_session
from partsight.runtime.inference.settings import EngineSettings, ModelSettings
from tests.tiny import COLOURS_BGR, ONE_THREAD, SIDE_PX, solid, tiny_model, tiny_prototypes

pytest.importorskip("openvino")


def batch(colours: list[str]) -> np.ndarray:
    return np.stack([solid(colour, SIDE_PX, SIDE_PX) for colour in colours])


def can_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("size", [1, 5, 16])
def test_answers_as_onnx_runtime_does(size: int) -> None:
    frames = batch(list(np.resize(list(COLOURS_BGR), size)))
    found, expected = (Session(tiny_model(), name).run(frames) for name in ("openvino", "cpu"))
    np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-5)
    assert found.score.dtype == np.float32


def test_the_facts_of_the_model_are_the_same() -> None:
    found, expected = (Session(tiny_model(), name) for name in ("openvino", "cpu"))
    for name in ("input_hw", "classes", "embedding_size", "metadata"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.skipif(not can_bf16(), reason="needs a processor with BF16")
def test_bf16_rounds() -> None:
    frames = batch(list(COLOURS_BGR))
    exact, rounded = (
        Session(tiny_model(), "openvino", ModelSettings(arithmetic=arithmetic)).run(frames).score
        for arithmetic in ("fp32", "bf16")
    )
    assert 0 < np.abs(rounded - exact).max() < 0.05
    assert (rounded.argmax(axis=1) == exact.argmax(axis=1)).all()


def test_a_processor_without_bf16_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO itself would compute in FP32 without a warning."""
    import openvino

    class Core(openvino.Core):
        def get_property(self, *_: object) -> list[str]:  # type: ignore[override]
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Core)
    with pytest.raises(ProviderError, match=r"bf16 .*FP32, INT8"):
        Session(tiny_model(), "openvino", ModelSettings(arithmetic="bf16"))


@pytest.mark.parametrize("model", [b"", b"this is no model", tiny_model()[:200]], ids=["empty", "text", "half"])
def test_damaged_models(model: bytes) -> None:
    with pytest.raises(ProviderError, match="'openvino'"):
        Session(model, "openvino")


@pytest.mark.parametrize("call", ["Core", "get_property", "read_model"])
def test_where_openvino_fails_another_provider_is_taken(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    import openvino

    def fail(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(openvino if call == "Core" else openvino.Core, call, fail)
    with pytest.raises(ProviderError, match="no such operator"):
        Session(tiny_model(), "openvino")
    found = open_session(tiny_model(), "auto", ModelSettings())
    assert found.provider.name == "cpu"
    assert "no such operator" in found.reason


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderError, match=r"pip install 'partsight\[openvino\]'"):
        Session(tiny_model(), "openvino")


def cached(folder: Path) -> ModelSettings:
    return ModelSettings(engine=EngineSettings(cache=folder))


def test_compiled_models_are_kept(tmp_path: Path) -> None:
    for _ in range(2):
        Session(tiny_model(), "openvino", cached(tmp_path)).run(batch(["red"]))
    assert len(list(tmp_path.glob("*.blob"))) == 1


def test_a_damaged_compiled_model_is_compiled_again(tmp_path: Path) -> None:
    """OpenVINO would load it and give other scores without a warning."""
    before = Session(tiny_model(), "openvino", cached(tmp_path)).run(batch(["red"])).score
    blob = next(tmp_path.glob("*.blob"))
    whole = blob.read_bytes()
    weights = np.ascontiguousarray(tiny_prototypes().T).tobytes()
    damaged = whole.replace(weights, bytes(len(weights)))
    assert damaged != whole
    blob.write_bytes(damaged)
    after = Session(tiny_model(), "openvino", cached(tmp_path)).run(batch(["red"])).score
    np.testing.assert_array_equal(after, before)
    assert blob.read_bytes() != damaged


def test_without_a_usable_cache_it_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    session = Session(tiny_model(), "openvino", cached(tmp_path / "file"))
    assert session.run(batch(["red"])).score.argmax() == list(COLOURS_BGR).index("red")


def test_threads() -> None:
    compiled, _ = compile_model(tiny_model(), ModelSettings(engine=ONE_THREAD))
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_many_threads_get_their_own_answers() -> None:
    session = Session(tiny_model(), "openvino", ModelSettings(engine=ONE_THREAD))
    rng = np.random.default_rng(0)
    calls = [list(rng.choice(list(COLOURS_BGR), 1 + seed % 5)) for seed in range(100)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda colours: session.run(batch(colours)).score.argmax(axis=1), calls))
    names = list(COLOURS_BGR)
    assert [[names[index] for index in indices] for indices in found] == calls


def test_an_answer_does_not_change_with_the_next_run() -> None:
    session = Session(tiny_model(), "openvino")
    first = session.run(batch(["red"]))
    before = first.score.copy(), first.embedding.copy()
    session.run(batch(["blue"]))
    np.testing.assert_array_equal(first.score, before[0])
    np.testing.assert_array_equal(first.embedding, before[1])
