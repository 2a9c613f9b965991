"""Fixtures for tests of benchmarks: a benchmark that runs on a few frames, and its output."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Results = dict[str, Any]
RunBenchmark = Callable[..., Results]


@pytest.fixture
def run(example_parts: Path, tmp_path: Path) -> RunBenchmark:
    """Runs a benchmark, such as `speed.peers`, on the example frames and returns the results that it wrote."""

    def run(name: str, *options: str, with_data: bool = True) -> Results:
        module = importlib.import_module(f"benchmarks.{name}")
        data = ("--data", str(example_parts)) if with_data else ()
        code = module.main([*options, *data, "--out", str(tmp_path), "--name", "written"])
        assert code in (None, 0)
        assert "|---" in (tmp_path / "written.md").read_text("utf-8").replace(" ", "")
        written: dict[str, Any] = json.loads((tmp_path / "written.json").read_text("utf-8"))
        assert written["machine"]["partsight"]
        results: Results = written["results"]
        return results

    return run
