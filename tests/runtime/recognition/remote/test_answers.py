"""Answers of a server are those of this machine."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime import FrameError, PackageError, ProviderError, Recognizer
from partsight.runtime.calibration.variation import vary
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.preprocessing import Region
from partsight.runtime.inference import EngineSettings
from tests.kserve_server import KServeServer
from tests.runtime.calibration.commissioning import lines
from tests.runtime.recognition.remote.packages import untimed, with_decision, write_patterned
from tests.runtime.recognition.samples import mixed
from tests.tiny import ONE_THREAD, solid

PROTOCOLS = ("http", "grpc")


@pytest.fixture(scope="module")
def server(matching_package: Path) -> Iterator[KServeServer]:
    """A server of the tiny package with matching."""
    with KServeServer("tiny", {"1": matching_package}) as server:
        yield server


def patterned_frames(count: int, seed: int = 0) -> list[Pixels]:
    """Frames of parts in new poses, some of parts that the package does not know."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(lines.LABELS, count)
    return [vary(lines.part(label, seed=index % 3 // 2), lines.LINE, rng) for index, label in enumerate(labels)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_colours(server: KServeServer, matching_package: Path, protocol: str, batch_size: int) -> None:
    frames = mixed(23)
    with (
        Recognizer(matching_package, provider=server.address(protocol), batch_size=batch_size) as remote,
        Recognizer(matching_package, engine=ONE_THREAD, batch_size=batch_size) as local,
    ):
        assert untimed(remote.recognize_batch(frames)) == untimed(local.recognize_batch(frames))
        assert untimed(remote.start_batch(frames[:1]).wait()) == untimed([local.recognize(frames[0])])
        assert remote.recognize_batch([]) == []
        assert remote.provider == server.address(protocol)


PACKAGES: dict[str, dict[str, Any]] = {
    "whole frame": {},
    "region": {"region": Region(8, 4, 112, 120)},
    "mono": {"color": "mono"},
}


@pytest.mark.parametrize("changes", PACKAGES.values(), ids=PACKAGES)
def test_patterns(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Two sizes are made of the one that is sent; the region is cropped here, not on the server.

    In batches of another size, sums of FP32 end in another bit, also without a server.
    """
    package = write_patterned(tmp_path / "p.partsight", **changes)
    frames = patterned_frames(12)
    if "color" in changes:
        frames = [np.ascontiguousarray(frame[..., 1]) for frame in frames]
    with KServeServer("p", {"1": package}) as server:
        for protocol in PROTOCOLS:
            with (
                Recognizer(package, provider=server.address(protocol), batch_size=5) as remote,
                Recognizer(package, engine=ONE_THREAD, batch_size=5) as local,
            ):
                expected = untimed(local.recognize_batch(frames))
                assert untimed(remote.recognize_batch(frames)) == expected
                assert changes or {result.accepted for result in expected} == {True, False}
                assert remote.explain(frames[0]).to_json() == local.explain(frames[0]).to_json()


def test_cropped_frames(tmp_path: Path) -> None:
    region = Region(8, 4, 112, 120)
    package = write_patterned(tmp_path / "p.partsight", region=region)
    frames = patterned_frames(4)
    cropped = [np.ascontiguousarray(frame[4:124, 8:120]) for frame in frames]
    with KServeServer("p", {"1": package}) as server, Recognizer(package, provider=server.address()) as remote:
        with Recognizer(package, provider=server.address(), cropped=True) as of_cropped:
            assert untimed(of_cropped.recognize_batch(cropped)) == untimed(remote.recognize_batch(frames))
        with pytest.raises(FrameError, match="120"):  # before anything is sent
            remote.recognize_batch(cropped)


@pytest.mark.parametrize("threshold", [0.001, 0.4, 0.97])
def test_a_threshold_of_the_callers_own(server: KServeServer, matching_package: Path, threshold: float) -> None:
    frames = mixed(20)
    options: dict[str, Any] = {"threshold": threshold, "top": 2}
    with (
        Recognizer(matching_package, provider=server.address(), **options) as remote,
        Recognizer(matching_package, engine=ONE_THREAD, **options) as local,
    ):
        assert untimed(remote.recognize_batch(frames)) == untimed(local.recognize_batch(frames))


def test_a_threshold_that_depends_on_margin_and_network(tmp_path: Path) -> None:
    package = with_decision(write_patterned(tmp_path / "p.partsight"), by_margin=0.3, by_network=0.2)
    frames = patterned_frames(12)
    with KServeServer("p", {"1": package}) as server:
        for threshold in (None, 0.7):
            with (
                Recognizer(package, provider=server.address(), threshold=threshold) as remote,
                Recognizer(package, engine=ONE_THREAD, threshold=threshold) as local,
            ):
                found, expected = untimed(remote.recognize_batch(frames)), untimed(local.recognize_batch(frames))
            assert [result.threshold for result in found] == pytest.approx(
                [result.threshold for result in expected], abs=1e-6
            )
            assert [replace(result, threshold=0.0) for result in found] == [
                replace(result, threshold=0.0) for result in expected
            ]


def test_what_needs_no_server_works_as_ever(server: KServeServer, matching_package: Path) -> None:
    with (
        Recognizer(matching_package, provider=server.address()) as remote,
        Recognizer(matching_package, engine=ONE_THREAD) as local,
    ):
        asked = len(server.asked)
        remote.preload()
        assert remote.appearance(solid("red"), "red") == local.appearance(solid("red"), "red")
        assert np.array_equal(remote.golden_image("red"), local.golden_image("red"))  # type: ignore[arg-type]
        assert (remote.package_id, remote.threshold, remote.labels) == (
            local.package_id,
            local.threshold,
            local.labels,
        )
        assert len(server.asked) == asked


def test_an_explanation_asks_for_scores_alone(server: KServeServer, matching_package: Path) -> None:
    frame = solid((10, 200, 30))
    with (
        Recognizer(matching_package, provider=server.address()) as remote,
        Recognizer(matching_package, engine=ONE_THREAD) as local,
    ):
        found, expected = remote.explain(frame), local.explain(frame)
        assert server.asked[-1] == (("network_score", "package_id"), 1)
    assert (found.sentence, found.to_json()) == (expected.sentence, expected.to_json())
    assert np.array_equal(found.frame, expected.frame)


def test_answers_alone_ask_for_no_scores(server: KServeServer, matching_package: Path) -> None:
    with Recognizer(matching_package, provider=server.address()) as remote:
        remote.recognize(solid("red"))
    outputs, count = server.asked[-1]
    assert (count, "network_score" in outputs, "package_id" in outputs) == (1, False, True)


def test_an_embedding_is_refused(server: KServeServer, matching_package: Path) -> None:
    with (
        Recognizer(matching_package, provider=server.address()) as remote,
        pytest.raises(ProviderError, match="embedding"),
    ):
        remote.infer([solid("red")])


def test_a_model_without_scores_explains_nothing(matching_package: Path) -> None:
    with (
        KServeServer("tiny", {"1": matching_package}, lacks=["network_score"]) as server,
        Recognizer(matching_package, provider=server.address()) as remote,
    ):
        assert remote.recognize(solid("red")).label == "red"
        with pytest.raises(ProviderError, match="network_score"):
            remote.explain(solid("red"))


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "precision": ({"precision": "int8"}, "int8"),
    "threads": ({"engine": EngineSettings(threads=2)}, "threads"),
    "cache": ({"engine": EngineSettings(cache="folder")}, "cache"),
    "matching": ({"matching": False}, "matching"),
    "top": ({"top": 6}, "top is 6"),
}


@pytest.mark.parametrize(("options", "datum"), SETTINGS.values(), ids=SETTINGS)
def test_settings_without_effect_are_refused(
    server: KServeServer, matching_package: Path, options: dict[str, Any], datum: str
) -> None:
    with pytest.raises(ProviderError, match=datum):
        Recognizer(matching_package, provider=server.address(), **options)


def test_packages_that_no_server_runs(server: KServeServer, tiny_package: Path, tmp_path: Path) -> None:
    earlier = write_patterned(tmp_path / "earlier.partsight", via=None)
    for path, datum in (
        (tiny_package, "golden images"),
        (tiny_package / "model.fp32.onnx", "model.fp32.onnx"),
        (earlier, "earlier version"),
    ):
        with pytest.raises(PackageError, match=datum):
            Recognizer(path, provider=server.address())


def test_the_package_is_checked_as_ever(server: KServeServer, matching_package: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(matching_package, tmp_path / "p.partsight"))
    (copied / "bank.npy").write_bytes(b"altered")
    with pytest.raises(PackageError, match="bank"):
        Recognizer(copied, provider=server.address())


def test_a_closed_recogniser(server: KServeServer, matching_package: Path) -> None:
    recognizer = Recognizer(matching_package, provider=server.address())
    started = recognizer.start_batch([solid("red")])
    recognizer.close()
    assert [result.label for result in started.wait()] == ["red"]
    assert recognizer.take_retries() == 0


def test_the_clients_are_imported_when_needed() -> None:
    program = "import partsight.runtime, sys; sys.exit(bool({'tritonclient', 'gevent', 'grpc'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
