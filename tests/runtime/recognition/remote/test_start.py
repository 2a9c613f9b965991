"""What a recogniser asks of a server before it takes the first frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime import PackageError, Recognizer, RemoteError
from tests.kserve_server import KServeServer
from tests.runtime.recognition.remote.packages import with_decision, write_patterned
from tests.tiny import solid, tiny_matching, write_tiny_package

PROTOCOLS = ("http", "grpc")
OF_EACH = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def other_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny package with matching, with another threshold and so another id."""
    path = tmp_path_factory.mktemp("packages") / "other.partsight"
    return with_decision(write_tiny_package(path, matching=tiny_matching()), threshold=0.6)


def id_of(package: Path) -> str:
    """Return the id of a package."""
    with Recognizer(package) as recognizer:
        return recognizer.package_id


@OF_EACH
def test_one_frame_and_one_full_batch(matching_package: Path, protocol: str) -> None:
    """The batch shows that no limit of the server is in the way."""
    with (
        KServeServer("m", {"1": matching_package}) as server,
        Recognizer(matching_package, provider=server.address(protocol), batch_size=7),
    ):
        assert [count for _, count in server.asked] == [1, 7]


@OF_EACH
def test_the_newest_version_with_the_package_is_taken(
    matching_package: Path, other_package: Path, protocol: str
) -> None:
    with KServeServer("m", {"9": other_package, "10": matching_package}) as server:
        with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
            assert len(server.asked) == 2  # nothing of version 9
            server.swap("12", other_package)  # a new version disturbs nobody
            assert recognizer.recognize(solid("red")).label == "red"
        with Recognizer(other_package, provider=server.address(protocol)) as recognizer:
            assert recognizer.recognize(solid("red")).threshold == pytest.approx(0.6)


@OF_EACH
def test_no_version_has_the_package(matching_package: Path, other_package: Path, protocol: str) -> None:
    with (
        KServeServer("m", {"1": other_package, "2": other_package}) as server,
        pytest.raises(PackageError) as raised,
    ):
        Recognizer(matching_package, provider=server.address(protocol))
    text = str(raised.value)
    assert all(datum in text for datum in (id_of(matching_package), id_of(other_package), "version 1", "version 2"))


def test_a_named_version_is_the_only_one(matching_package: Path, other_package: Path) -> None:
    with KServeServer("m", {"1": matching_package, "2": other_package}) as server:
        with Recognizer(matching_package, provider=server.address(version="1")) as recognizer:
            assert recognizer.provider == server.address(version="1")
        with pytest.raises(PackageError, match="version 2"):
            Recognizer(matching_package, provider=server.address(version="2"))
        with pytest.raises(RemoteError, match="3"):
            Recognizer(matching_package, provider=server.address(version="3"))


@OF_EACH
def test_an_unknown_model(matching_package: Path, protocol: str) -> None:
    with KServeServer("m", {"1": matching_package}) as server:
        address = server.address(protocol).replace("/m?", "/n?")
        with pytest.raises(RemoteError, match="check the model's name"):
            Recognizer(matching_package, provider=address)


@OF_EACH
def test_a_model_of_another_size(matching_package: Path, tmp_path: Path, protocol: str) -> None:
    patterned = write_patterned(tmp_path / "p.partsight")
    with KServeServer("m", {"1": patterned}) as server, pytest.raises(RemoteError, match=r"\[-1, 36, 36, 3\]"):
        Recognizer(matching_package, provider=server.address(protocol))


@OF_EACH
def test_a_model_without_an_output(matching_package: Path, protocol: str) -> None:
    with (
        KServeServer("m", {"1": matching_package}, lacks=["pose"]) as server,
        pytest.raises(RemoteError, match="pose"),
    ):
        Recognizer(matching_package, provider=server.address(protocol))


@OF_EACH
def test_a_server_that_is_not_ready(matching_package: Path, protocol: str) -> None:
    with KServeServer("m", {"1": matching_package}, is_ready=False) as server:
        with pytest.raises(RemoteError, match="not ready"):
            Recognizer(matching_package, provider=server.address(protocol, timeout_s=0.3))
        server.is_ready = True
        Recognizer(matching_package, provider=server.address(protocol)).close()


@OF_EACH
def test_no_server(matching_package: Path, protocol: str) -> None:
    with KServeServer("m", {"1": matching_package}) as server:
        address = server.address(protocol, timeout_s=0.3)
    with pytest.raises(RemoteError, match=r"timeout_s=0\.3"):
        Recognizer(matching_package, provider=address)


def test_the_other_protocol(matching_package: Path) -> None:
    with KServeServer("m", {"1": matching_package}) as server:
        swapped = server.address("grpc", timeout_s=0.5).replace("protocol=grpc", "protocol=http")
        with pytest.raises(RemoteError):
            Recognizer(matching_package, provider=swapped)
        swapped = server.address("http", timeout_s=0.5).replace("protocol=http", "protocol=grpc")
        with pytest.raises(RemoteError):
            Recognizer(matching_package, provider=swapped)


def test_a_batch_beyond_the_servers_largest_message(matching_package: Path) -> None:
    limit = [("grpc.max_receive_message_length", 10_000)]  # two frames
    with KServeServer("m", {"1": matching_package}, grpc_options=limit) as server:
        Recognizer(matching_package, provider=server.address("grpc"), batch_size=2).close()
        with pytest.raises(RemoteError, match="smaller batch"):
            Recognizer(matching_package, provider=server.address("grpc"), batch_size=16)
        Recognizer(matching_package, provider=server.address("http"), batch_size=16).close()


def test_a_batch_that_the_server_refuses(matching_package: Path) -> None:
    def refuse(tensors: dict[str, np.ndarray]) -> Any:
        return {"package_id": tensors["package_id"]}

    with KServeServer("m", {"1": matching_package}) as server:
        server.faults += [lambda tensors: tensors, refuse]
        with pytest.raises(RemoteError, match="lacks"):
            Recognizer(matching_package, provider=server.address(), batch_size=16)
