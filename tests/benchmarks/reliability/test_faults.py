"""Faults, few of each: they run, count, and lose nothing."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills there")
def test_callback_and_sigterm(run: RunBenchmark, tiny_package: Path) -> None:
    results = run("reliability.faults", str(tiny_package), "--times", "2", "--only", "callback", "sigterm")
    assert [row["lost"] for row in results["rows"]] == [0, 0]
    assert all(row["accepted"] > 0 for row in results["rows"])


@pytest.mark.debian
@pytest.mark.skipif(shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None, reason="mosquitto is not installed")
def test_camera_and_broker(run: RunBenchmark, tiny_package: Path) -> None:
    pytest.importorskip("paho.mqtt")
    results = run("reliability.faults", str(tiny_package), "--times", "1", "--only", "camera", "broker")
    assert [row["lost"] for row in results["rows"]] == [0, 0]
