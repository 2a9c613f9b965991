"""`partsight serve`: answer frames of other programs and machines, by Ray Serve."""

import argparse
import math
import signal
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.options import PRECISIONS, above_zero, finite, positive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partsight.runtime.cluster.serve.server import Endpoint
    from partsight.runtime.cluster.serve.settings import ServedPackage

_DESCRIPTION = """\
Serve packages to other programs and machines, over HTTP and gRPC, in the KServe v2 protocol that Triton speaks, too.
Without --address the command starts Ray on this machine and serves until Ctrl+C. With --address it deploys to a Ray
cluster, waits until the packages answer, and returns. Run it again with a new package under the same name: no request
is lost, and if the new package cannot be used, the old one goes on. docs/serve.md has all of it.
"""

_EXAMPLE = """\
examples:
  partsight serve line3.partsight
  partsight serve line3=line3.partsight caps=caps.partsight --host 0.0.0.0 --token-file token
  partsight serve line3=new.partsight --address 127.0.0.1:6379
  partsight serve line3.partsight --replicas 2 --provider cuda --gpus 0.5

It needs Ray. Run `pip install 'partsight[cpu,ray]'` first.
"""

_CHECK_S = 10.0
_CLUSTER_CORES = 2.0
_GPU_SHARE = 0.5


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight serve` to the command."""
    parser = subparsers.add_parser(
        "serve",
        help="answer frames of other programs and machines",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "packages",
        nargs="+",
        metavar="[NAME=]PACKAGE",
        help="package to serve; without a name, under its folder's name",
    )
    _add_server(parser.add_argument_group("server"))
    _add_replicas(parser.add_argument_group("replicas"))
    _add_trust(parser.add_argument_group("trust"))
    parser.set_defaults(run=run)


def _add_server(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="head of a Ray cluster that this machine belongs to, or auto (default: start Ray here)",
    )
    group.add_argument("--host", help="address for HTTP (default: 127.0.0.1, for programs on this machine alone)")
    group.add_argument("--port", type=positive, help="port for HTTP (default: 8000)")
    group.add_argument(
        "--grpc-port",
        type=positive,
        metavar="PORT",
        help="port for gRPC, at every address of this machine and without TLS (default: no gRPC)",
    )
    group.add_argument(
        "--metrics-port",
        type=positive,
        metavar="PORT",
        help="port for Prometheus, at every address of this machine (default: any free one; the command prints it)",
    )
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate for HTTPS, with its chain, PEM")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="key of the certificate, PEM")


def _add_replicas(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--replicas", type=positive, default=1, metavar="N", help="replicas a package (default: 1)")
    group.add_argument(
        "--cpus",
        type=above_zero,
        metavar="N",
        help="cores a replica (default: an equal share of this machine's; with --address 2)",
    )
    group.add_argument(
        "--gpus",
        type=above_zero,
        metavar="SHARE",
        help=f"share of a GPU a replica (default: {_GPU_SHARE} for cuda and tensorrt, so that a swap fits the new "
        "replica next to the old one; else 0)",
    )
    group.add_argument("--provider", default="cpu", help="cpu, openvino, cuda or tensorrt (default: %(default)s)")
    group.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    group.add_argument(
        "--batch", type=positive, default=16, metavar="N", help="most frames answered at once (default: %(default)s)"
    )
    group.add_argument(
        "--max-wait-ms",
        type=finite,
        default=5.0,
        metavar="MS",
        help="longest wait of a frame for frames of other clients (default: %(default)s)",
    )


def _add_trust(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="tokens that clients must send, one a line; only its owner may read the file (default: no token)",
    )
    group.add_argument(
        "--trusted-key",
        dest="trusted_keys",
        action="append",
        metavar="FILE.pub",
        help="refuse packages that this key did not sign; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the packages and return the exit code."""
    from partsight.runtime.cluster.ray_session import ray_session
    from partsight.runtime.cluster.serve.server import metrics_url, stop_server

    _check(args)
    served = _served(args)
    if args.address is not None:
        with ray_session(args.address):
            _start(args)
            _deploy(served)
        return ExitCode.DONE
    with ray_session(cpus=_cpus_for_swaps(served), metrics_port=args.metrics_port) as address:
        endpoint = _start(args)
        _deploy(served)
        with _until_stopped() as stopped:
            print(_ready_text(endpoint, served, address), flush=True)
            print(f"stats: {metrics_url()}", flush=True)
            _watch(stopped)
            print("stopping: requests that are under way are answered first", flush=True)
            stop_server()
    return ExitCode.DONE


def _check(args: argparse.Namespace) -> None:
    if (args.tls_cert is None) != (args.tls_key is None):
        args.parser.error("--tls-cert and --tls-key belong together: give both or none")
    if not 0 <= args.max_wait_ms < math.inf:
        args.parser.error(f"--max-wait-ms is {args.max_wait_ms}; expected at least 0")
    if args.address is not None and args.metrics_port is not None:
        args.parser.error("--metrics-port is for Ray that starts here; a cluster has the port of its `ray start`")


def _served(args: argparse.Namespace) -> "list[ServedPackage]":
    from partsight.runtime.cluster.serve.access import read_token_digests
    from partsight.runtime.cluster.serve.settings import Replicas, ServedPackage
    from partsight.runtime.signing import read_keys

    named = [_named(text) for text in args.packages]
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        args.parser.error(f"received the names {', '.join(names)}; expected each once: write NAME=PACKAGE")
    cores = args.cpus or (_CLUSTER_CORES if args.address else _equal_share(len(named) * args.replicas))
    gpus = args.gpus or (_GPU_SHARE if args.provider in ("cuda", "tensorrt") else 0.0)
    keys = read_keys(args.trusted_keys) if args.trusted_keys else None
    tokens = read_token_digests(args.token_file) if args.token_file else ()
    return [
        ServedPackage(
            name=name,
            path=str(path),
            provider=args.provider,
            precision=args.precision,
            batch_size=args.batch,
            threads=max(1, int(cores)),
            max_wait_ms=args.max_wait_ms,
            trusted_keys=keys,
            token_digests=tokens,
            replicas=Replicas(args.replicas, cores, gpus),
        )
        for name, path in named
    ]


def _named(text: str) -> tuple[str, Path]:
    """Return name and absolute path of a package: replicas run in another folder."""
    name, equals, path = text.partition("=")
    if not equals:
        name, path = "", text
    folder = Path(path).absolute()
    return name or folder.stem, folder


def _equal_share(replicas: int) -> float:
    from partsight.runtime.matching import usable_cores

    return max(1.0, usable_cores() // replicas)


def _cpus_for_swaps(served: "Sequence[ServedPackage]") -> int:
    """Return CPUs for Ray's scheduler: a swap starts the new replicas before it stops the old ones."""
    needed = sum(settings.replicas.count * settings.replicas.cpus for settings in served)
    return math.ceil(2 * needed) + 2


def _start(args: argparse.Namespace) -> "Endpoint":
    """Start Ray Serve's proxies, unless they run already."""
    from partsight.runtime.cluster.serve.server import Endpoint, is_running, start_server
    from partsight.runtime.core import RemoteError

    asked = {"host": args.host, "port": args.port, "grpc_port": args.grpc_port}
    asked |= {"certificate": args.tls_cert, "key": args.tls_key}
    given = {name: value for name, value in asked.items() if value is not None}
    endpoint = Endpoint(**given)
    if is_running():
        if given:
            raise RemoteError(
                "Ray Serve already runs on this cluster, and its addresses are fixed: leave out --host, --port, "
                "--grpc-port and --tls-…, or run `serve shutdown` first, which ends all its applications"
            )
    else:
        start_server(endpoint)
        for line in _exposed(endpoint, has_token=args.token_file is not None):
            print(line, flush=True)
    return endpoint


def _exposed(endpoint: "Endpoint", *, has_token: bool) -> list[str]:
    """Return a line for each port that other machines can reach."""
    ports = [] if endpoint.host in ("127.0.0.1", "localhost", "::1") else [f"HTTP port {endpoint.port}"]
    if endpoint.grpc_port is not None:
        ports.append(f"gRPC port {endpoint.grpc_port}")
    need = "with a token" if has_token else "without a token: give --token-file FILE"
    return [f"exposed: every host that reaches this machine can use {port} {need}" for port in ports]


def _deploy(served: "Sequence[ServedPackage]") -> None:
    from partsight.runtime.cluster.serve.server import deploy

    for settings in served:
        deploy(settings)
        print(f"{settings.name}: {settings.path} answers", flush=True)


def _ready_text(endpoint: "Endpoint", served: "Sequence[ServedPackage]", address: str) -> str:
    name = served[0].name
    token = " -H 'Authorization: Bearer TOKEN'" if served[0].token_digests else ""
    insecure = " --cacert FILE" if endpoint.certificate else ""
    url = f"{endpoint.url}/v2/models/{name}/infer"
    body = '{"inputs": [{"name": "frame_file", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}'
    return (
        f"serving at {endpoint.url}; stop with Ctrl+C\n"
        f"try:   printf '{body}' \"$(base64 -w0 frame.jpg)\" | curl -s{token}{insecure} -d @- {url}\n"
        f"swap:  partsight serve {name}=NEW.partsight --address {address}"
    )


@contextmanager
def _until_stopped() -> "Iterator[threading.Event]":
    """Yield an event that Ctrl+C and SIGTERM set. Ray's own handler of SIGTERM would end the process at once."""
    stopped = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in signals}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(stopped: threading.Event) -> None:
    """Wait for the end; an error ends the command if Ray is gone, so that a supervisor starts it again."""
    from partsight.runtime.cluster.serve.server import is_running
    from partsight.runtime.core import RemoteError

    while not stopped.wait(_CHECK_S):
        if not is_running():
            raise RemoteError("Ray Serve has ended; start the command again, and see the logs in /tmp/ray")
