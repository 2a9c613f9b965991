"""A campaign in its own process, and its rows for the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]

Rows = dict[tuple[str, str], dict[str, Any]]
"""Fields of `campaign.Row` by job and fault."""


def rows_of(folder: Path, *arguments: str, module: str = "tests.faults") -> Rows:
    """Run the command with arguments and return its rows. It must finish whatever it finds."""
    file = folder / "rows.json"
    file.unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--json", str(file)],
        cwd=_ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert file.exists(), ended.stdout + ended.stderr
    rows = {(row["job"], row["fault"]): row for row in json.loads(file.read_bytes())}
    assert ended.returncode == any(row["problems"] for row in rows.values()), ended.stderr
    return rows
