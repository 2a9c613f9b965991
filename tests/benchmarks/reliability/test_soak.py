"""The soak, small: it runs, counts, and finds each loss."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.reliability.soak import SoakFindings
from tests.benchmarks.conftest import RunBenchmark
from tests.tiny import tiny_manifest, write_tiny_package

FEW = ("--frames", "4", "--frame-size", "64x48", "--seconds", "2", "--cameras", "2", "--fps", "50")
WHOLE = {
    **dict.fromkeys(("sent", "seen", "accounted"), 10),
    **dict.fromkeys(("answered", "counted_answers", "written"), 4),
    **dict.fromkeys(("repeated", "without_package", "swaps", "packages", "p50_ms", "p99_ms", "p999_ms"), 0),
    **dict.fromkeys(("longest_pause_ms", "longest_pause_at_swap_ms", "memory_mb", "memory_spread"), 0.0),
}


@pytest.mark.parametrize("queue", [0, 8])
def test_a_soak_with_swaps(queue: int, run: RunBenchmark, tiny_package: Path, tmp_path: Path) -> None:
    decision = msgspec.structs.replace(tiny_manifest().decision, method="another")
    other = write_tiny_package(tmp_path / "other.partsight", decision=decision)
    swaps = ("--swap", str(other), "--swaps", "3", "--queue", str(queue))
    results = run("reliability.soak", str(tiny_package), *FEW, *swaps)
    verdict = results["verdict"]
    assert verdict["is_whole"]
    assert (verdict["sent"], verdict["seen"], verdict["swaps"], verdict["packages"]) == (200, 200, 3, 2)
    assert results["arguments"]["queue"] == queue
    assert (tmp_path / "written.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    "name",
    ["sent", "seen", "accounted", "answered", "counted_answers", "written", "repeated", "without_package"],
)
def test_each_loss_is_found(name: str) -> None:
    assert SoakFindings(**WHOLE).is_whole
    assert not SoakFindings(**WHOLE | {name: 3}).is_whole
