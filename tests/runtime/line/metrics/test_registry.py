import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from partsight.runtime import (
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    PackageError,
    PartialFrameError,
    Recognizer,
    Stages,
)
from partsight.runtime.line import Line, Policy, camera_worker, sink_worker
from partsight.runtime.line.metrics.registry import Metrics, writable
from partsight.runtime.sinks.record import FrameEvent, Record
from tests.runtime.line.scripted import ListSink, ScriptedCamera, pictures
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

BLOCK = Policy("block", 4)
OUTCOMES = ("recognised", "unknown", "skipped", "expired", "partial", "failed")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_worker, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(sink_worker, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def recognizer(tiny_package: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_package, batch_size=4, engine=ONE_THREAD) as recognizer:
        yield recognizer


def read(metrics: Metrics, *, openmetrics: bool = False) -> Samples:
    """Return all samples by name and labels, as Prometheus' own parsers read them."""
    text = metrics.render(openmetrics=openmetrics)[0].decode()
    families = list((parse_openmetrics if openmetrics else parse_text)(text))
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)  # no series twice: Prometheus would refuse all of them
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_the_numbers_are_those_of_the_line(recognizer: Recognizer) -> None:
    scripts = iter([[*pictures(20), PartialFrameError("half"), CameraLostError("gone")], [None, solid("red")]])
    stalling = [solid("blue"), CameraTimeoutError("nothing"), np.zeros((4, 4), np.uint8), *pictures(9)]
    cameras = {"left": lambda: ScriptedCamera(next(scripts)), "right": lambda: ScriptedCamera(stalling)}

    def callback(event: FrameEvent) -> None:
        if event.record.sequence == 3:
            raise ValueError("a mistake of the user's")

    line = Line(recognizer, cameras, {"s": ListSink(3)}, policy=BLOCK, on_result=callback)
    metrics = Metrics(line)
    with line:
        assert line.wait(HANG_S)
    counters, samples = line.counters(), read(metrics)
    for name, camera in counters.cameras.items():
        found = {outcome: of(samples, "partsight_frames_total", camera=name, outcome=outcome) for outcome in OUTCOMES}
        assert found == {outcome: getattr(camera, outcome) for outcome in OUTCOMES}
        assert sum(found.values()) == camera.seen
        assert of(samples, "partsight_waiting_frames", camera=name) == 0
        answered = camera.recognised + camera.unknown
        for histogram in ("partsight_latency_seconds", "partsight_score", "partsight_margin"):
            assert of(samples, f"{histogram}_count", camera=name) == answered > 0
    assert (counters.cameras["left"].partial, counters.cameras["left"].skipped) == (1, 1)
    assert of(samples, "partsight_camera_reopenings_total", camera="left") == 1
    assert of(samples, "partsight_camera_stalls_total", camera="right") == 1
    assert of(samples, "partsight_frames_total", camera="right", outcome="failed") == 1
    assert of(samples, "partsight_callback_errors_total") == 2
    assert of(samples, "partsight_sink_refusals_total", sink="s") == 3
    assert of(samples, "partsight_sink_lost_results_total", sink="s") == 0
    assert of(samples, "partsight_sink_waiting_results", sink="s") == 0
    assert of(samples, "partsight_sink_undelivered_results", sink="s") == 0
    stages = {stage: of(samples, "partsight_stage_seconds_sum", stage=stage) for stage in STAGES}
    latency = sum(of(samples, "partsight_latency_seconds_sum", camera=name) for name in cameras)
    assert sum(stages.values()) == pytest.approx(latency, rel=1e-3)
    assert stages["network"] > 0


STAGES = ("wait", "prepare", "network", "compare")


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_line_that_has_not_started_has_all_series_already(recognizer: Recognizer, openmetrics: bool) -> None:
    line = Line(recognizer, {"c": lambda: ScriptedCamera([])}, {"s": ListSink()})
    metrics = Metrics(line)
    samples = read(metrics, openmetrics=openmetrics)
    assert of(samples, "partsight_frames_total", camera="c", outcome="expired") == 0
    assert of(samples, "partsight_latency_seconds_count", camera="c") == 0
    assert of(samples, "partsight_stage_seconds_bucket", stage="wait", le="+Inf") == 0
    assert of(samples, "partsight_running") == 0
    assert of(samples, "partsight_package_info", package_id=recognizer.package_id, score="cosine") == 1
    assert of(samples, "partsight_score_threshold") == recognizer.threshold
    assert time.time() - 3600 < of(samples, "partsight_start_time_seconds") <= time.time()
    if os.name == "posix":
        assert of(samples, "process_cpu_seconds_total") > 0
    text, content_type = metrics.render(openmetrics=openmetrics)
    assert content_type.startswith("application/openmetrics-text" if openmetrics else "text/plain; version=0.0.4")
    assert text.endswith(b"# EOF\n") == openmetrics


def test_state_of_a_camera(recognizer: Recognizer) -> None:
    camera = ScriptedCamera([solid("red")], ends=False)
    line = Line(recognizer, {"c": lambda: camera})
    metrics = Metrics(line)

    def states() -> dict[str, float]:
        samples = read(metrics)
        return {
            dict(labels)["state"]: value
            for (name, labels), value in samples.items()
            if name == "partsight_camera_state"
        }

    names = {"opening", "waiting", "open", "stalled", "lost", "ended", "failed"}
    assert states() == {name: float(name == "opening") for name in names}
    assert [re.findall("camera c|opening", trouble) for trouble in metrics.troubles()] == [[], ["camera c", "opening"]]
    with line:
        wait_until(lambda: line.counters().cameras["c"].recognised >= 1)
        assert states() == {name: float(name == "open") for name in names}
        assert metrics.troubles() == []
        assert of(read(metrics), "partsight_running") == 1
        line.stop()
        assert line.wait(HANG_S)
    assert states()["ended"] == 1
    assert len(metrics.troubles()) == 1


def test_a_swap_changes_the_package_and_leaves_no_series_of_the_old(
    recognizer: Recognizer, matching_package: Path, tmp_path: Path
) -> None:
    camera = ScriptedCamera([solid("red")], ends=False)
    old = recognizer.package_id
    line = Line(recognizer, {"c": lambda: camera})
    metrics = Metrics(line)
    with line:
        new = line.swap(matching_package)
        with pytest.raises(PackageError):
            line.swap(tmp_path / "none")
        samples = read(metrics)
    packages = [dict(labels) for name, labels in samples if name == "partsight_package_info"]
    assert packages == [{"package_id": new, "score": "agreement"}] != [{"package_id": old, "score": "cosine"}]
    assert of(samples, "partsight_package_swaps_total") == of(samples, "partsight_package_swaps_refused_total") == 1


def event(camera: str = "c", **fields: Any) -> FrameEvent:
    record = Record(
        outcome="unknown",
        camera=camera,
        source="s",
        sequence=0,
        run="r",
        timestamp=0.0,
        **{"latency_ms": 40.0, "score": 0.4, "margin": 0.02} | fields,
    )
    return FrameEvent(record, None, Stages(prepare_ms=1.0, network_ms=20.0, compare_ms=4.0))


def test_buckets(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(recognizer, {"c": lambda: ScriptedCamera([])})
    listeners: list[Callable[[FrameEvent], None]] = []
    monkeypatch.setattr(line, "listen", listeners.append)
    metrics = Metrics(line)
    (hear,) = listeners
    hear(event())
    hear(event(score=-0.2, margin=None, latency_ms=10.0))
    samples = read(metrics)
    assert of(samples, "partsight_latency_seconds_bucket", camera="c", le="0.03") == 1
    assert of(samples, "partsight_latency_seconds_bucket", camera="c", le="0.05") == 2
    assert of(samples, "partsight_latency_seconds_sum", camera="c") == pytest.approx(0.05)
    assert of(samples, "partsight_stage_seconds_sum", stage="wait") == pytest.approx(0.015)  # never below 0
    assert of(samples, "partsight_stage_seconds_sum", stage="network") == pytest.approx(0.04)
    assert of(samples, "partsight_score_bucket", camera="c", le="0.0") == 1
    assert of(samples, "partsight_score_sum", camera="c") == pytest.approx(0.4)
    assert of(samples, "partsight_margin_count", camera="c") == 1


def test_names_from_outside(recognizer: Recognizer) -> None:
    """A name from a command line may be no UTF-8; addresses of sinks have options, which may name secrets."""
    names = ["mqtt://h/t?password_env=KEY", "mqtt://h/t?password_env=OTHER", 'x"\n\udcff']
    camera = 'left "\\\n\udcfe'
    line = Line(recognizer, {camera: lambda: ScriptedCamera([solid("red")])}, {name: ListSink() for name in names})
    metrics = Metrics(line)
    with line:
        assert line.wait(HANG_S)
    for openmetrics in (False, True):
        samples = read(metrics, openmetrics=openmetrics)
        assert b"KEY" not in metrics.render(openmetrics=openmetrics)[0]
        sinks = {dict(labels)["sink"] for name, labels in samples if name == "partsight_sink_refusals_total"}
        assert sinks == {"mqtt://h/t", "mqtt://h/t 2", 'x"\n\\udcff'}
        assert of(samples, "partsight_frames_total", camera=writable(camera), outcome="recognised") == 1
        assert of(samples, "partsight_latency_seconds_count", camera=writable(camera)) == 1


def test_the_registry_of_the_process_is_left_alone(recognizer: Recognizer) -> None:
    before = {family.name for family in REGISTRY.collect()}
    lines = [Line(recognizer, {"c": lambda: ScriptedCamera([])}) for _ in range(2)]
    assert len({len(Metrics(line).render()[0].splitlines()) for line in lines}) == 1
    assert {family.name for family in REGISTRY.collect()} == before


def test_without_the_library(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(DependencyError, match=r"partsight\[metrics\]"):
        Metrics(Line(recognizer, {"c": lambda: ScriptedCamera([])}))


def test_only_metrics_load_the_library() -> None:
    code = "import sys, partsight.runtime.line; print('prometheus_client' in sys.modules, 'http.server' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
