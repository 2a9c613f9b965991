"""Distributions with entry points, as pip installs them, in a folder that is put on sys.path."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(
    folder: Path, name: str, group: str, points: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> None:
    """Write a distribution into a folder.

    Args:
        folder: Folder on sys.path, see `site`.
        name: Name of the distribution.
        group: Group of its entry points.
        points: Entry points: name to `module` or `module:object`.
        modules: Module name to its source text.
    """
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    for module, text in (modules or {}).items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()


def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a new folder on sys.path, for `install`."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder
