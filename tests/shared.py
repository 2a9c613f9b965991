"""Fixtures that are slow to build: the first worker builds each one, and all workers share it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import wait_until


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return a folder that all workers of pytest-xdist share: the first caller builds it, the others wait.

    Args:
        factory: Factory of this worker. All workers of one run have folders next to each other.
        name: Name of the folder.
        build: Function that fills the folder, which exists and is empty.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, claim, done, failed = (root / f"shared-{name}{end}" for end in ("", ".claim", ".done", ".failed"))
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        wait_until(lambda: done.exists() or failed.exists())
        assert not failed.exists(), f"another worker could not build {name}: its own error says why"
        return folder
    try:
        folder.mkdir()
        build(folder)
    except BaseException:
        failed.touch()
        raise
    done.touch()
    return folder
