"""The files of examples/fleet, and the programs that their tests need."""

import shutil
from pathlib import Path

import pytest

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
HAS_EXAMPLES = pytest.mark.skipif(not FLEET.is_dir(), reason="examples are not part of this copy of the source")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs the Debian packages of {', '.join(missing)}")


def changed(name: str, folder: Path, texts: dict[str, str]) -> Path:
    """Copy a file of the fleet with other texts in it, each of which it must have."""
    text = (FLEET / name).read_text("utf-8")
    for old, new in texts.items():
        assert old in text, f"{name} has no {old}"
        text = text.replace(old, new)
    (folder / name).write_text(text, "utf-8")
    return folder / name
