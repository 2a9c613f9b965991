"""The Ray session: Ray of its own on this machine, or a cluster that runs already."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partsight.runtime.core import RemoteError, import_extra

NAMESPACE = "partsight"
"""Namespace of partsight's actors within Ray."""

CONNECT_S = 5.0
"""Limit for the first contact with a cluster. Ray itself tries for minutes."""

_OBJECT_STORE_BYTES = 512 * 2**20


@contextmanager
def ray_session(
    address: str | None = None, *, cpus: int | None = None, gpus: int | None = None, metrics_port: int | None = None
) -> Iterator[str]:
    """Start Ray on this machine, or join a cluster, until the end of the block.

    Ray runs without usage statistics and dashboard, and writes its logs to files only. Ray that was started here ends
    with the block, and all that runs in it; a cluster that was joined goes on. From 2.59 on, Ray that starts here makes
    a token in `~/.ray/auth_token`, and demands it from programs that join.

    Args:
        address: HOST:PORT of a cluster's head, or `auto` for the cluster of this machine; None for Ray of its own.
        cpus: Number of CPUs for Ray's scheduler, if it starts here; None for the cores of the machine.
        gpus: Number of GPUs, as for `cpus`; None for those of the machine.
        metrics_port: Port of the metrics for Prometheus, as for `cpus`; None for any free one.

    Yields:
        Address of the session, HOST:PORT, with which other programs join it.

    Raises:
        DependencyError: Ray is not installed.
        RemoteError: The cluster does not answer, or Ray does not start.
    """
    if address is not None:
        if address != "auto":
            _check_reachable(address)
        _use_token()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what later versions do; else Ray warns
    # On a busy machine a proxy of Ray Serve takes longer to start than Ray's 5 s; Ray then kills it, again and again.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "30")
    ray = import_extra("ray", "ray")
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"address": address or "local"}
    if address is None:
        options |= {"num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False}
        options |= {"object_store_memory": _OBJECT_STORE_BYTES, "_metrics_export_port": metrics_port}
    try:
        ray.init(**options, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, OSError, ValueError, ray.exceptions.RayError) as error:
        raise RemoteError(_fault(address, error)) from error
    try:
        yield str(ray.get_runtime_context().gcs_address)
    finally:
        if "ray.serve" in sys.modules:  # it would ask the controller of this session in the next one, too
            sys.modules["ray.serve"].context._set_global_client(None)
        ray.shutdown()


def _use_token() -> None:
    """Send this user's token to the cluster, if there is one; a cluster that demands none ignores it.

    Ray reads the variable at its import, and of a cluster that it joins it does not take the token by itself.
    """
    token = Path.home() / ".ray" / "auth_token"
    if token.exists() or "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _check_reachable(address: str) -> None:
    """Refuse an address where no program listens: Ray would try for minutes, and then end this process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise RemoteError(f"received the address {address!r}; expected HOST:PORT of the cluster's head, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        raise RemoteError(
            f"{address}: no Ray cluster answers ({error}); run `ray status --address {address}` on this machine, and "
            "check the address and the firewall"
        ) from error


def _fault(address: str | None, error: Exception) -> str:
    reason = " ".join(str(error).split())
    if address is None:
        return f"Ray does not start on this machine: {reason}; the folder /tmp/ray/session_latest/logs has its logs"
    remedy = (
        "run `ray start --head` first, or give HOST:PORT of a cluster that this machine belongs to; if the cluster "
        "demands a token, set RAY_AUTH_MODE=token before the program starts, and put the token into ~/.ray/auth_token"
    )
    return f"{address}: Ray cannot join the cluster: {reason}; {remedy}"
