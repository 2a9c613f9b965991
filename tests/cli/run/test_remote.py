"""`partsight run --provider kserve://...`: a line that asks a server."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended
from tests.kserve_server import KServeServer, RefusedError, Tensors

Call = Callable[..., Ended]

ADDRESS = "kserve://no.such.host/line3?timeout_s=0.5"


def refuse_after_the_start(server: KServeServer, requests: int) -> None:
    """Refuse one request with "busy", and the one after it for good."""

    def refuse(status: int) -> Callable[[Tensors], Tensors]:
        def fault(_: Tensors) -> Tensors:
            raise RefusedError(status)

        return fault

    server.faults += [lambda tensors: tensors] * requests + [refuse(503), refuse(400)]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_run(call: Call, matching_package: Path, photos: Path, protocol: str) -> None:
    with KServeServer("line3", {"1": matching_package}) as server:
        options = ["--camera", f"folder:{photos}", "--provider"]
        remote = call("run", matching_package, *options, server.address(protocol))
        local = call("run", matching_package, *options, "cpu")
    records = [[json.loads(line) for line in ended.out.splitlines()] for ended in (remote, local)]
    found, expected = ([(record["label"], record["score"]) for record in of_one] for of_one in records)
    assert (remote.code, found) == (local.code, expected)
    assert len(found) == 4


def test_the_totals_name_the_server(call: Call, matching_package: Path, photos: Path) -> None:
    with KServeServer("line3", {"1": matching_package}) as server:
        refuse_after_the_start(server, 2)
        ended = call(
            "run", matching_package, "--camera", f"folder:{photos}", "--provider", server.address(), "--log", "json"
        )
    events = [json.loads(line) for line in ended.err.splitlines()]
    (total,) = [event for event in events if event["event"] == "server_total"]
    assert (total["remote_retries"], total["remote_failures"]) == (1, 1)
    assert ended.code == 4
    assert {"server_lost"} <= {event["event"] for event in events}


def test_a_check_needs_no_server(call: Call, matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", None)
    ended = call("run", matching_package, "--camera", "usb:0", "--provider", ADDRESS, "--check")
    assert (ended.code, ended.err) == (0, "")
    assert f"{ADDRESS}, batches of 16" in ended.out


@pytest.mark.parametrize(
    ("options", "datum"),
    [
        (["--precision", "int8"], "int8"),
        (["--threads", "2"], "threads"),
        (["--cache", "folder"], "cache"),
        (["--top", "6"], "top is 6"),
        (["--device", "0"], "device"),
        (["--provider", "kserve://host"], "HOST:PORT/MODEL"),
        (["--provider", "kserve://host/m?tlsx=1"], "tlsx"),
    ],
)
@pytest.mark.parametrize("check", [["--check"], []], ids=["check", "run"])
def test_options_that_no_server_honours(
    call: Call, matching_package: Path, options: list[str], datum: str, check: list[str]
) -> None:
    ended = call("run", matching_package, "--camera", "usb:0", "--provider", ADDRESS, *options, *check)
    assert ended.code == 1
    assert datum in ended.err


def test_bench_measures_this_machine(call: Call, matching_package: Path, photos: Path) -> None:
    ended = call("bench", matching_package, "--frames", photos, "--provider", "kserve://host/m")
    assert ended.code == 1
    assert "is a server" in ended.err
