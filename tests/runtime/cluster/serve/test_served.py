"""Packages on a real Ray Serve: the same answers as here, and none lost when a package or a replica goes."""

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cv2
import msgspec
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from ray import serve
from tritonclient.utils import InferenceServerException

from partsight.runtime import Recognizer, RemoteError
from partsight.runtime.cluster import app
from partsight.runtime.cluster.serve.access import read_token_digests
from partsight.runtime.cluster.serve.server import Endpoint, deploy, is_running, metrics_url, start_server
from partsight.runtime.cluster.serve.settings import Limits, Replicas, ServedPackage
from partsight.runtime.signing import generate_key
from tests.ray_session import local_ray
from tests.runtime.cluster.serve.clients import (
    Server,
    answer_of,
    files,
    frames_of,
    free_port,
    gone,
    infer,
    load,
    prepared,
    same_answers,
)
from tests.runtime.cluster.serve.replicas import SlowReplica, WeakReplica
from tests.tiny import AGREEMENT_THRESHOLD, ONE_THREAD, solid, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until

TOKEN = "a-token-of-this-test-0123456789"
LIMITS = Limits(request_bytes=2**20, frames=8)
UNKNOWN = (10, 10, 10)


def settings(path: Path, name: str = "line3", **changes: Any) -> ServedPackage:
    """Return settings for small work: no frame waits for others, and few processes run."""
    facts: dict[str, Any] = {"batch_size": 4, "threads": 1, "max_wait_ms": 0.0, "limits": LIMITS}
    return ServedPackage(name=name, path=str(path), **(facts | {"replicas": Replicas(1, cpus=0.1)} | changes))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Packages by name, each with another id."""
    folder = tmp_path_factory.mktemp("served")

    def package(name: str) -> Path:
        path = folder / f"{name}.partsight"
        if not path.exists():
            matching = tiny_matching()
            number = len(list(folder.glob("*.partsight")))
            decision = msgspec.structs.replace(matching.decision, threshold=AGREEMENT_THRESHOLD + number / 1000)
            write_tiny_package(path, matching=msgspec.structs.replace(matching, decision=decision))
        return path

    return package


@pytest.fixture(scope="module")
def server(packages: Callable[[str], Path]) -> Iterator[Server]:
    """Ray Serve with a package `line3`."""
    with local_ray():
        found = Server(free_port(), free_port())
        assert not is_running()
        start_server(Endpoint(port=found.http_port, grpc_port=found.grpc_port))
        deploy(settings(packages("line3")))
        assert is_running()
        yield found


def ask(server: Server, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """Send a request of HTTP, and return the status and the decoded body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else None


def test_remote_answers_equal_local_ones(server: Server, packages: Callable[[str], Path]) -> None:
    colours = ("red", "blue", UNKNOWN, "green", (200, 0, 90))
    with Recognizer(packages("line3"), engine=ONE_THREAD) as recognizer:
        expected = recognizer.recognize_batch(frames_of(*colours))
        score = recognizer.infer(frames_of(*colours)).score
    assert {answer.reason for answer in expected} >= {"recognised", "agrees_with_none"}
    for client in (server.http(), server.grpc()):
        result = infer(client, "line3", "image_bgr", prepared(*colours), model_version="1")
        assert same_answers(result, expected)
        assert result.as_numpy("network_score") is None
    outputs = [triton_grpc.InferRequestedOutput("network_score")]
    result = infer(server.grpc(), "line3", "image_bgr", prepared(*colours), outputs=outputs)
    assert np.abs(result.as_numpy("network_score") - score).max() <= 1e-6
    assert result.as_numpy("label") is None


def test_whole_frames_and_files_are_answered_alike(server: Server, packages: Callable[[str], Path]) -> None:
    frames = [solid(colour, 480, 640) for colour in ("red", "cyan")]
    with Recognizer(packages("line3"), engine=ONE_THREAD) as recognizer:
        expected = recognizer.recognize_batch(frames)
    client = server.http()
    assert same_answers(
        infer(client, "line3", "frame_bgr", np.stack([frame[:300, :300] for frame in frames])), expected
    )
    encoded = [cv2.imencode(kind, frame)[1].tobytes() for kind, frame in zip((".png", ".jpg"), frames, strict=True)]
    assert same_answers(infer(client, "line3", "frame_file", files(*encoded)), expected, within=0.02)


def test_a_client_needs_nothing_but_json(server: Server) -> None:
    one = {"name": "image_bgr", "datatype": "UINT8", "shape": [1, 36, 36, 3], "data": prepared("red").tolist()}
    outputs = [{"name": name} for name in ("label", "accepted", "agreement")]
    body = json.dumps({"id": "7", "inputs": [one], "outputs": outputs}).encode()
    status, answer = ask(server, "POST", "/v2/models/line3/infer", body)
    assert (status, answer["id"], answer["model_name"]) == (200, "7", "line3")
    assert [output["data"] for output in answer["outputs"]] == [["red"], [True], [1.0]]


def test_the_server_describes_itself(server: Server, packages: Callable[[str], Path]) -> None:
    client, grpc = server.http(), server.grpc()
    for one in (client, grpc):
        assert one.is_server_live()
        assert one.is_server_ready()
        assert one.is_model_ready("line3")
        assert one.is_model_ready("line3", "1")
    metadata, grpc_metadata = client.get_model_metadata("line3"), grpc.get_model_metadata("line3", as_json=True)
    assert [item["name"] for item in metadata["inputs"]] == [item["name"] for item in grpc_metadata["inputs"]]
    assert metadata["inputs"][0]["shape"] == [-1, 36, 36, 3]
    config, grpc_config = client.get_model_config("line3"), grpc.get_model_config("line3", as_json=True)["config"]
    with Recognizer(packages("line3"), engine=ONE_THREAD) as recognizer:
        facts = {"package_id": recognizer.package_id, "labels": "6", "threshold": repr(recognizer.threshold)}
    for found in (config, grpc_config):
        assert {key: value.get("string_value") for key, value in found["parameters"].items() if key in facts} == facts
        assert found["max_batch_size"] == LIMITS.frames
    assert client.get_server_metadata()["name"] == grpc.get_server_metadata().name == "partsight"
    assert client.get_model_repository_index() == [{"name": "line3", "version": "1", "state": "READY"}]
    assert [model.state for model in grpc.get_model_repository_index().models] == ["READY"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image_bgr", prepared("red").astype(np.float32)),
        ("image_bgr", np.repeat(prepared("red"), LIMITS.frames + 1, axis=0)),
        ("frame_bgr", np.zeros((1, 0, 8, 3), np.uint8)),
        ("frame_file", files(b"\xff\xd8\xff\xe0 no picture")),
    ],
)
def test_frames_that_cannot_be_answered_are_refused(server: Server, name: str, values: np.ndarray) -> None:
    for client, status in ((server.http(), "400"), (server.grpc(), "StatusCode.INVALID_ARGUMENT")):
        with pytest.raises(InferenceServerException) as caught:
            infer(client, "line3", name, values)
        assert caught.value.status() == status
        assert caught.value.message()


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/v2/models/line3/infer", b"{", {}, 400),
        ("POST", "/v2/models/line3/infer", b"\0" * (LIMITS.request_bytes + 1), {}, 413),
        ("POST", "/v2/models/line3/infer", b"", {"Content-Encoding": "gzip"}, 415),
        ("GET", "/v2/models/other", b"", {}, 404),
    ],
)
def test_requests_that_are_none_are_refused(
    server: Server, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, answer = ask(server, method, path, body, **headers)
    assert (found, list(answer)) == (status, ["error"])


def test_two_packages_answer_by_name_and_one_demands_a_token(
    server: Server, packages: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    deploy(settings(packages("caps"), "caps", token_digests=read_token_digests(file)))
    ids = {}
    for name, metadata in (("line3", {}), ("caps", {"authorization": f"Bearer {TOKEN}"})):
        result = infer(server.http(), name, "image_bgr", prepared("red"), headers=dict(metadata))
        ids[name] = result.as_numpy("package_id")[0]
        given = {"application": name} | metadata
        assert infer(server.grpc(), name, "image_bgr", prepared("red"), headers=given).as_numpy("label")[0] == b"red"
        secret = f"&token_file={file}" if metadata else ""
        for protocol, port in (("http", server.http_port), ("grpc", server.grpc_port)):
            address = f"kserve://127.0.0.1:{port}/{name}?protocol={protocol}{secret}"
            with Recognizer(packages(name), provider=address, batch_size=4) as recognizer:
                assert recognizer.recognize(solid("red")).label == "red"
    assert ids["line3"] != ids["caps"]
    assert [entry["name"] for entry in server.http().get_model_repository_index()] == ["caps", "line3"]
    for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": TOKEN}, {"Authorization": "Basic x"}):
        assert ask(server, "GET", "/v2/models/caps", **wrong)[0] == 401
    with pytest.raises(InferenceServerException) as caught:
        infer(server.grpc(), "caps", "image_bgr", prepared("red"), headers={"application": "caps"})
    assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
    assert ask(server, "GET", "/v2/health/ready")[0] == 200
    serve.delete("caps")


def test_a_swap_loses_no_request_and_mixes_no_answers(server: Server, packages: Callable[[str], Path]) -> None:
    with load(server, "line3", clients=3, may_retry=False) as found:
        found.wait_for(50)
        before = found.package_ids()
        with ThreadPoolExecutor(1) as pool:
            new = packages("new")
            swap = pool.submit(deploy, settings(new), SlowReplica)
            wait_until(new.with_suffix(".starts").exists)
            found.wait_for(50)  # the old replica answers while the new one loads
            assert found.package_ids() == before
            new.with_suffix(".may_load").touch()
            swap.result(HANG_S)
        found.wait_for(50)
        after = infer(server.http(), "line3", "image_bgr", prepared("red")).as_numpy("package_id")[0].decode()
    print(f"swap: {found.answered} of {len(found.answers)} frames answered, {len(found.wrong())} wrong")
    assert (found.faults, found.wrong()) == ([], [])
    assert found.package_ids() == before | {after}
    assert after not in before


def test_a_package_that_cannot_be_used_leaves_the_old_one(
    server: Server, packages: Callable[[str], Path], tmp_path: Path
) -> None:
    key = generate_key(tmp_path / "factory")
    with load(server, "line3", clients=2, may_retry=False) as found:
        found.wait_for(10)
        with pytest.raises(RemoteError) as caught:
            deploy(settings(packages("unsigned"), trusted_keys=(key,)))
        found.wait_for(10)
    assert str(packages("unsigned")) in str(caught.value)
    assert (found.faults, found.wrong(), len(found.package_ids())) == ([], [], 1)
    assert server.http().is_server_ready()


@pytest.fixture(scope="module")
def weak(server: Server, packages: Callable[[str], Path]) -> str:
    """Two replicas that answer one frame at a time, and may be killed or stalled."""
    limits = Limits(answer_s=2.0, health_s=1.0)
    few = settings(packages("weak"), "weak", batch_size=1, limits=limits, replicas=Replicas(2, cpus=0.1))
    deploy(few, WeakReplica)
    return few.name


def test_more_requests_than_may_wait_are_refused_and_asked_again(server: Server, weak: str) -> None:
    with load(server, weak, clients=16, may_retry=True) as found:
        wait_until(lambda: found.retries["503"] > 0)
        found.wait_for(50)
    print(f"queue full: {found.answered} of {len(found.answers)} frames answered, retries {dict(found.retries)}")
    assert found.wrong() == []
    assert set(found.retries) == {"503"}


def test_killed_replicas_cost_no_frame(server: Server, weak: str) -> None:
    killed = set()
    with load(server, weak, clients=3, may_retry=True) as found:
        for _ in range(3):
            found.wait_for(20)
            killed.add(answer_of(weak, "pid"))
            os.kill(max(killed - gone(killed)), signal.SIGKILL)
            wait_until(lambda: gone(killed) == killed)
        found.wait_for(100)
    print(f"3 kills: {found.answered} of {len(found.answers)} frames answered, retries {dict(found.retries)}")
    assert len(killed) == 3
    assert found.wrong() == []


def test_a_stalled_replica_is_replaced(server: Server, weak: str) -> None:
    with load(server, weak, clients=3, may_retry=True) as found:
        found.wait_for(20)
        stalled = {answer_of(weak, "stall")}
        wait_until(lambda: gone(stalled))
        found.wait_for(20)
    print(f"stall: {found.answered} of {len(found.answers)} frames answered, retries {dict(found.retries)}")
    assert found.wrong() == []


def test_metrics_reach_prometheus(server: Server) -> None:
    infer(server.http(), "line3", "image_bgr", prepared("red", UNKNOWN))

    def metrics() -> bool:
        with urlopen(metrics_url(), timeout=10) as answer:
            text = answer.read().decode()
        return "ray_partsight_served_frames_total{" in text and "ray_partsight_served_package_info{" in text

    wait_until(metrics)


def test_an_app_of_serve_run_needs_only_a_package(packages: Callable[[str], Path]) -> None:
    assert app({"package": str(packages("line3")), "batch": "8", "cpus": "0.5"}) is not None
    for wrong in ({}, {"package": "x", "batch": "0"}, {"package": "x", "typo": "1"}, {"package": "a b"}):
        with pytest.raises(RemoteError):
            app(wrong)
