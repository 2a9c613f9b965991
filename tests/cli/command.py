"""The command in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.waiting import HANG_S

HEAVY = ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "partsight.train", "partsight.export")


def partsight(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; stdout and stderr come apart, as text."""
    return python("-m", "partsight.cli", *map(str, arguments), **environment)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=HANG_S,
        env=os.environ | environment,
    )


def without(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command where `module` is not installed."""
    hide = f"import sys\nsys.modules[{module!r}] = None\n"
    return python("-c", f"{hide}from partsight.cli.main import main\nsys.exit(main({list(map(str, arguments))!r}))")


def loaded_by(*arguments: str | Path) -> set[str]:
    """The modules that the command loads."""
    code = f"""
import sys
from partsight.cli.main import main
try:
    main({list(map(str, arguments))!r})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = python("-c", code)
    return set(done.stderr.splitlines()[-1].split())
