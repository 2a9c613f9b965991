"""The command, as a user runs it."""

import subprocess
import sys
from pathlib import Path

from tests.waiting import HANG_S


def partsight(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "partsight.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=HANG_S)
