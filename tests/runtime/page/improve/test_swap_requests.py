"""Requests for a swap that a second person approves."""

from pathlib import Path

import pytest

from partsight.runtime.core import PageError
from partsight.runtime.page.improve.swap_requests import SwapRequests


def test_another_person_approves_it_once(tmp_path: Path) -> None:
    requests = SwapRequests(tmp_path)
    request = requests.ask("0123", "emil")
    assert requests.open == request
    for who in ("emil", "EMIL"):
        with pytest.raises(PageError):
            requests.approve(request.number, who)
    assert requests.approve(request.number, "erna") == request
    assert requests.open is None
    with pytest.raises(PageError):
        requests.approve(request.number, "erna")


def test_one_at_a_time_and_none_that_somebody_did_not_see(tmp_path: Path) -> None:
    requests = SwapRequests(tmp_path)
    first = requests.ask("0123", "emil")
    with pytest.raises(PageError):
        requests.ask("4567", "erna")
    requests.close(first.number)
    second = requests.ask("4567", "emil")
    with pytest.raises(PageError):
        requests.approve(first.number, "erna")
    assert requests.open == second


def test_it_survives_a_restart(tmp_path: Path) -> None:
    request = SwapRequests(tmp_path).ask("0123", "emil")
    after = SwapRequests(tmp_path)
    assert after.open == request
    after.close(request.number)
    assert SwapRequests(tmp_path).open is None


def test_a_damaged_file_is_no_request(tmp_path: Path) -> None:
    SwapRequests(tmp_path).ask("0123", "emil")
    (tmp_path / "swap_request.json").write_bytes(b"{")
    with pytest.raises(PageError):
        SwapRequests(tmp_path)
