"""The line's benchmarks, small: they run, count and say so when something was lost."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from partsight.runtime.line import Policy
from tests.benchmarks.conftest import Load
from tests.tiny import tiny_manifest, write_tiny_package

FEW = ("--frames", "4", "--frame-size", "64x48")


@pytest.fixture
def results(example_parts: Path, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Reads what a script wrote."""

    def read(name: str) -> dict[str, Any]:
        assert "| --- |" in (tmp_path / f"{name}.md").read_text("utf-8")
        found: dict[str, Any] = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))["results"]
        return found

    return read


@pytest.mark.parametrize("queue", ["0", "8"])
def test_a_soak_with_swaps(
    queue: str,
    load: Load,
    results: Callable[[str], dict[str, Any]],
    tiny_package: Path,
    example_parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soak, policies = load("soak"), list[Policy]()
    line = soak.Line
    monkeypatch.setattr(
        soak, "Line", lambda *args, **options: (policies.append(options["policy"]), line(*args, **options))[1]
    )
    decision = msgspec.structs.replace(tiny_manifest().decision, method="another")
    other = write_tiny_package(tmp_path / "other.partsight", decision=decision)
    where = ("--data", str(example_parts), "--out", str(tmp_path))
    code = soak.main(
        [
            *(str(tiny_package), *FEW, *where, "--seconds", "2", "--cameras", "2", "--fps", "50"),
            *("--swap", str(other), "--swaps", "3", "--queue", queue),
        ]
    )
    assert code == 0
    assert policies == [Policy("queue", 8) if queue == "8" else Policy()]
    verdict = results("soak")["verdict"]
    assert verdict["is_whole"]
    assert (verdict["sent"], verdict["seen"], verdict["swaps"], verdict["packages"]) == (200, 200, 3, 2)
    assert (tmp_path / "soak.png").stat().st_size > 5_000


def test_a_verdict_sees_each_loss(load: Load) -> None:
    soak = load("soak")
    whole = {
        **dict.fromkeys(("sent", "seen", "accounted"), 10),
        **dict.fromkeys(("answered", "counted_answers", "written"), 4),
        **dict.fromkeys(("told_twice", "without_package", "swaps", "packages", "p50_ms", "p99_ms", "p999_ms"), 0),
        **dict.fromkeys(("longest_pause_ms", "longest_pause_at_swap_ms", "memory_mb", "memory_spread"), 0.0),
    }
    assert soak.Verdict(**whole).is_whole
    for name in (
        "sent",
        "seen",
        "accounted",
        "answered",
        "counted_answers",
        "written",
        "told_twice",
        "without_package",
    ):
        assert not soak.Verdict(**whole | {name: 3}).is_whole, name


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills there")
def test_callback_and_sigterm(
    load: Load,
    results: Callable[[str], dict[str, Any]],
    tiny_package: Path,
    example_parts: Path,
    tmp_path: Path,
) -> None:
    where = ("--data", str(example_parts), "--out", str(tmp_path))
    assert load("faults").main([str(tiny_package), *where, "--times", "2", "--only", "callback", "sigterm"]) == 0
    rows = results("faults")["rows"]
    assert [row["lost"] for row in rows] == [0, 0]
    assert all(row["accepted"] > 0 for row in rows)


@pytest.mark.debian
@pytest.mark.skipif(shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None, reason="mosquitto is not installed")
def test_camera_and_broker(
    load: Load,
    results: Callable[[str], dict[str, Any]],
    tiny_package: Path,
    example_parts: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("paho.mqtt")
    where = ("--data", str(example_parts), "--out", str(tmp_path))
    assert load("faults").main([str(tiny_package), *where, "--times", "1", "--only", "camera", "broker"]) == 0
    assert [row["lost"] for row in results("faults")["rows"]] == [0, 0]
