"""Every benchmark names its options without loading TensorFlow, which takes seconds."""

import subprocess
import sys
from pathlib import Path

import benchmarks

PROGRAM = """
import contextlib, importlib, io, sys
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    shown = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown):
        importlib.import_module(name).main()
    loaded = [library for library in ("tensorflow", "keras", "torch") if library in sys.modules]
    print(name, "usage:" in shown.getvalue(), *loaded)
"""
ROOT = Path(benchmarks.__path__[0])
BENCHMARKS = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in sorted(ROOT.rglob("*.py"))
    if "make_parser(__doc__" in path.read_text("utf-8")
]


def test_help_shows_the_usage_and_loads_no_training_library() -> None:
    assert "benchmarks.speed.training" in BENCHMARKS
    command = [sys.executable, "-c", PROGRAM, *BENCHMARKS]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [f"{name} True" for name in BENCHMARKS]
