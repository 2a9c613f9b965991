"""A cluster that does not answer is an error at once: Ray itself would try for minutes, and then end the process."""

import pytest

from partsight.runtime import RemoteError
from partsight.runtime.cluster.ray_session import ray_session
from tests.runtime.cluster.serve.clients import free_port


@pytest.mark.parametrize("address", ["", "host", "host:", ":6379", "host:x", "host:0", "host:99999", "127.0.0.1:PORT"])
def test_an_address_without_a_cluster_is_refused(address: str) -> None:
    with pytest.raises(RemoteError), ray_session(address.replace("PORT", str(free_port()))):
        pass
