"""The server: Ray Serve's proxies, and packages that it serves, replaces or refuses."""

import contextlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partsight.runtime.cluster.serve.application import application
from partsight.runtime.cluster.serve.directory import DEPLOYMENT, served_models
from partsight.runtime.cluster.serve.grpc_messages import SERVICER
from partsight.runtime.cluster.serve.replica import Replica
from partsight.runtime.cluster.serve.settings import Limits, ServedPackage
from partsight.runtime.core import RemoteError, import_extra

START_S = 600.0
"""Longest time until a package answers: TensorRT compiles for minutes."""

_SETTINGS_S = 10.0
_POLL_S = 0.2
_REASON = re.compile(r"^partsight\.[\w.]+: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Endpoint:
    """Where Ray Serve's proxies listen.

    Attributes:
        host: Address for HTTP.
        port: Port for HTTP.
        grpc_port: Port for gRPC, at every address of the machine and without TLS; None for no gRPC.
        certificate, key: Files of TLS, in PEM; None for plain HTTP.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """URL for HTTP, without a path."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http{'s' if self.certificate else ''}://{host}:{self.port}"


def import_serve() -> Any:
    """Return the module `ray.serve`, with a quiet log.

    Raises:
        DependencyError: Ray is not installed.
    """
    serve = import_extra("ray.serve", "ray")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return serve


def is_running() -> bool:
    """Return whether Ray Serve runs on the cluster: then its addresses are fixed."""
    return bool(import_serve().status().proxies)


def start_server(endpoint: Endpoint) -> None:
    """Start Ray Serve's proxies.

    Raises:
        RemoteError: They do not start, for example because another program uses the port.
    """
    serve = import_serve()
    limit_s = 2 * Limits().answer_s  # a replica answers, if only with an error, before the proxy gives up
    http: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port, "request_timeout_s": limit_s}
    if endpoint.certificate and endpoint.key:
        http |= {"ssl_certfile": str(endpoint.certificate), "ssl_keyfile": str(endpoint.key)}
    grpc: dict[str, Any] | None = None
    if endpoint.grpc_port is not None:
        grpc = {"port": endpoint.grpc_port, "grpc_servicer_functions": [SERVICER]}
        grpc |= {"request_timeout_s": limit_s, "enable_reflection": False}
    try:
        serve.start(proxy_location="EveryNode", http_options=http, grpc_options=grpc)
    except Exception as error:  # Ray raises nearly any kind
        reason = " ".join(str(error).split())
        raise RemoteError(
            f"Ray Serve does not start at {endpoint.url}: {reason[-400:]}; another program may use the port: give "
            "another --port"
        ) from error


def metrics_url() -> str:
    """Return the URL of the metrics of this node of Ray."""
    ray = import_extra("ray", "ray")
    own = ray.get_runtime_context().get_node_id()
    (node,) = [node for node in ray.nodes() if node["NodeID"] == own]
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def stop_server() -> None:
    """End all packages, each after the requests that it works on. The end of Ray ends Ray Serve."""
    for name in served_models():
        import_serve().delete(name)


def deploy(settings: ServedPackage, replica: type[Replica] = Replica, limit_s: float = START_S) -> None:
    """Serve a package, or replace the package that has its name, and wait until it answers.

    The old replicas answer until new ones have answered a golden image. If the new package does not get there, the old
    one goes on.

    Args:
        settings: Package, and how to run it.
        replica: Class of its replicas.
        limit_s: Longest time until it answers, in seconds.

    Raises:
        RemoteError: The package cannot be served; the message has the replica's reason.
    """
    old = _running_settings(settings.name)
    _run(settings, replica)
    reason = _wait(settings.name, limit_s)
    if reason is None:
        return
    if old is None:
        import_serve().delete(settings.name)
        raise RemoteError(f"{settings.name}: {settings.path} is not served: {reason}")
    _run(old, replica)  # else Ray Serve would not replace a replica of the old package that is lost later
    _wait(settings.name, limit_s)
    raise RemoteError(f"{settings.name}: {settings.path} is not served: {reason}; {old.path} goes on answering")


def _run(settings: ServedPackage, replica: type[Replica]) -> None:
    serve = import_serve()
    built = application(settings, replica)
    target = serve.RunTarget(target=built, name=settings.name, route_prefix=_route_of(settings.name))
    try:
        serve.run_many([target], wait_for_applications_running=False)
    except Exception as error:  # Ray raises nearly any kind
        raise RemoteError(f"{settings.name}: cannot be deployed: {' '.join(str(error).split())[-400:]}") from error


def _route_of(name: str) -> str:
    """Return the route of an application: the first has all paths, so that it answers for the server, too."""
    context = import_extra("ray.serve.context", "ray")
    found = context._get_global_client().get_serve_details()["applications"]
    routes = {other: facts.get("route_prefix") for other, facts in found.items()}
    own = routes.pop(name, None)
    return own or ("/" if "/" not in routes.values() else f"/v2/models/{name}")


def _running_settings(name: str) -> ServedPackage | None:
    """Return the settings of the package that answers under a name; None if none does."""
    if not served_models().get(name):
        return None
    handle = import_serve().get_app_handle(name)
    with contextlib.suppress(Exception):  # its replicas are lost at this moment: there is nothing to go back to
        found = handle.settings.remote().result(timeout_s=_SETTINGS_S)
        return found if isinstance(found, ServedPackage) else None
    return None


def _wait(name: str, limit_s: float) -> str | None:
    """Wait until an application runs; return the reason if it does not."""
    serve = import_serve()
    ends_at = time.monotonic() + limit_s
    while True:
        found = serve.status().applications[name]
        if found.status == "RUNNING":
            return None
        message = found.deployments[DEPLOYMENT].message if DEPLOYMENT in found.deployments else found.message
        if found.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            return _reason(message or found.message)
        if time.monotonic() > ends_at:
            return f"it does not answer after {limit_s:g} s; {_reason(message or found.message)}"
        time.sleep(_POLL_S)


def _reason(message: str) -> str:
    """Return the sentence of partsight's error in Ray's message, or the end of the message."""
    found = _REASON.findall(message)
    return str(found[-1]) if found else " ".join(message.split())[-600:]
