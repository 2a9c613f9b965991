import ctypes
import sys
from pathlib import Path

import pytest

from partsight.runtime.core import memory
from partsight.runtime.core.memory import release_freed_memory


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_what_was_freed_is_given_back() -> None:
    """Between blocks that stay, where the C library keeps it."""

    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("needs glibc")
    blocks = [bytearray(b"x" * 50_000) for _ in range(4000)]
    stays = blocks[::200]
    held = resident_mb()
    blocks.clear()
    release_freed_memory()
    assert resident_mb() < held - 100
    assert all(block == b"x" * 50_000 for block in stays)


def test_where_there_is_nothing_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)  # whoever calls it gets an error
    release_freed_memory()


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_another_c_library(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def without(_: object) -> object:
        raise error

    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", without)
    release_freed_memory()
