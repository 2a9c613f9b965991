"""Fixtures of the health tests: all log records, and counted checks of a set-up."""

import logging

import pytest

from partsight.runtime.line.health import setup_watch, watchdog
from tests.runtime.line.health.checks import Checks


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "partsight.line")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    checks = Checks()
    for module in (setup_watch, watchdog):
        monkeypatch.setattr(module, "find_misfit", checks)
    return checks
