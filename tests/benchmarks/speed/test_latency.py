from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.speed import latency
from tests.benchmarks.speed.conftest import RunSpeed


def test_latency(run_speed: RunSpeed, matching_package: Path) -> None:
    options = ("--frame-size", "320x240", "--seconds", "0.2", "--load", "0.2", "0.5", "--arrivals", "poisson")
    results = run_speed("latency", str(matching_package), *options)
    assert [load["share"] for load in results["loads"]] == [0.2, 0.5]
    assert all(load["p50_ms"] <= load["p99_ms"] <= load["max_ms"] for load in results["loads"])


def test_latency_counts_the_wait_for_the_frame_before(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = np.array([0.0, 0.001, 0.002])
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def perf_counter() -> float:
        sleep(1e-6)
        return now[0]

    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=perf_counter, sleep=sleep))
    trace = latency.play(lambda _: sleep(0.03), moments, lambda: None)
    assert (trace.end - trace.arrival)[2] == pytest.approx(0.088, abs=1e-4)  # two calls before it, and its own
    assert np.diff(trace.start) == pytest.approx([0.03, 0.03], abs=1e-4)
