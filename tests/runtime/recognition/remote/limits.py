"""Limits of time for a moment: a slow machine still starts and answers with the usual ones."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from partsight.runtime.recognition.remote.session import RemoteSession


@contextmanager
def short_of_time(limit_s: float) -> Iterator[None]:
    """Let calls that start within the block end after `limit_s`, whatever their address says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemoteSession, "end_of_call", lambda _: time.monotonic() + limit_s)
        yield
