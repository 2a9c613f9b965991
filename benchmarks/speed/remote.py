"""What does a server cost, and what do replicas bring? Frames through Ray Serve, compared with a recogniser of its own.

In each round a recogniser of this process, one that asks by HTTP and one that asks by gRPC answer the same frames, one
at a time and 16 at a time. Then several clients at once send single frames to one replica, and to two. Server and
clients share the cores of this machine, so figures of two machines are better, and need a network.

Example:
    python -m benchmarks.speed.remote line3.partsight --data PARTS --rounds 10
"""

import argparse
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.common.frames import batches, line_frames, parse_size, size_text
from benchmarks.common.plot import BLUE, GREEN, GREY, PlotBar, bar_figure
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import Rounds, Turn, difference, interleave, median_of, timed
from partsight.runtime import EngineSettings, Recognizer
from partsight.runtime.cluster.ray_session import ray_session
from partsight.runtime.cluster.serve.server import Endpoint, deploy, start_server
from partsight.runtime.cluster.serve.settings import Replicas, ServedPackage
from partsight.runtime.core import Pixels
from partsight.runtime.matching import usable_cores

BATCH = 16
PLACES = ("local", "HTTP", "gRPC")
ONE, TWO = "one", "two"
"""Names of the served models: with one replica, and with two."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    frames = line_frames(args.data, args.frames, args.frame_size)
    with served(args) as endpoint, contextlib.ExitStack() as stack:
        open_one = partial(_opened, stack, args)
        recognizers = {
            place: open_one(address) for place, address in zip(PLACES, _addresses(args, endpoint), strict=True)
        }
        latencies = interleave(latency_turns(recognizers, frames, args.seconds / 4), args.rounds, "latency")
        deploy(settings_of(args, TWO, 2))
        clients = {
            name: [open_one(f"kserve://127.0.0.1:{endpoint.port}/{name}") for _ in range(args.clients)]
            for name in (ONE, TWO)
        }
        loads = interleave(load_turns(clients, frames, args.seconds), args.rounds, "replicas")
    text = f"{_about(args)}\n\n{latency_table(latencies)}\n\n{load_table(loads, args.clients)}"
    results = {"clients": args.clients, "latency_s": latencies, "s_per_frame": loads}
    bars = [
        ("one frame", [_bar(latencies, place, 1) for place in PLACES]),
        (f"{BATCH} frames", [_bar(latencies, place, BATCH) for place in PLACES]),
    ]
    write_report(args, results, text, bar_figure(bars, "ms a frame", "Recognition here and on a server"))


@contextlib.contextmanager
def served(args: argparse.Namespace) -> Iterator[Endpoint]:
    """Serve a package with one replica until the end of the block."""
    endpoint = Endpoint(port=_free_port(), grpc_port=_free_port())
    with ray_session(cpus=16):
        start_server(endpoint)
        deploy(settings_of(args, ONE, 1))
        yield endpoint


def settings_of(args: argparse.Namespace, name: str, count: int) -> ServedPackage:
    """Return settings for so many replicas, each with its share of the cores."""
    cores = max(1, usable_cores() // count)
    gpus = 0.0 if args.provider in ("cpu", "openvino") else 0.25
    return ServedPackage(
        name=name,
        path=str(args.package.absolute()),
        provider=args.provider,
        threads=cores,
        replicas=Replicas(count, cpus=cores, gpus=gpus),
    )


def latency_turns(recognizers: dict[str, Recognizer], frames: Sequence[Pixels], turn_s: float) -> dict[str, Turn]:
    """Return a turn of some seconds for each place and size of a batch, which gives the seconds of a call."""

    def turn(recognizer: Recognizer, size: int) -> Turn:
        source = batches(frames, size)
        return lambda: timed(lambda: recognizer.recognize_batch(next(source)), turn_s)

    return {
        _key(place, size): turn(recognizer, size) for place, recognizer in recognizers.items() for size in (1, BATCH)
    }


def load_turns(clients: dict[str, list[Recognizer]], frames: Sequence[Pixels], seconds: float) -> dict[str, Turn]:
    """Return a turn for each model, in which all clients send single frames; it gives the seconds a frame."""
    return {name: partial(_seconds_per_frame, each, frames, seconds) for name, each in clients.items()}


def latency_table(rounds: Rounds) -> str:
    """Return a table of medians, and of the differences to the recogniser of this process within the rounds."""
    rows = []
    for size in (1, BATCH):
        local = rounds[_key("local", size)]
        for place in PLACES:
            found = rounds[_key(place, size)]
            more = "" if place == "local" else f"{difference(found, local) / size * 1e3:+.1f} ms"
            each = median_of(found) / size * 1e3
            rows.append((f"{size}", place, f"{median_of(found) * 1e3:.1f} ms", f"{each:.1f} ms", more))
    return markdown_table(("frames a call", "where", "a call", "a frame", "more than local, a frame"), rows)


def load_table(rounds: Rounds, clients: int) -> str:
    """Return a table of frames a second by the number of replicas."""
    rows = [
        (replicas, str(clients), f"{1 / median_of(rounds[name]):.1f}", f"{median_of(rounds[ONE], rounds[name]):.2f}")
        for name, replicas in ((ONE, "1"), (TWO, "2"))
    ]
    return markdown_table(("replicas", "clients", "frames/s", "times one replica"), rows)


def _seconds_per_frame(clients: Sequence[Recognizer], frames: Sequence[Pixels], seconds: float) -> float:
    counts = [0] * len(clients)
    ends_at = time.perf_counter() + seconds

    def send(index: int) -> None:
        number = index
        while time.perf_counter() < ends_at:
            clients[index].recognize(frames[number % len(frames)])
            counts[index] += 1
            number += len(clients)

    started = time.perf_counter()
    threads = [threading.Thread(target=send, args=(index,)) for index in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - started) / sum(counts)


def _addresses(args: argparse.Namespace, endpoint: Endpoint) -> tuple[str, str, str]:
    http = f"kserve://127.0.0.1:{endpoint.port}/{ONE}"
    return args.provider, http, f"kserve://127.0.0.1:{endpoint.grpc_port}/{ONE}?protocol=grpc"


def _opened(stack: contextlib.ExitStack, args: argparse.Namespace, provider: str) -> Recognizer:
    engine = EngineSettings(threads=usable_cores()) if provider == args.provider else None
    return stack.enter_context(Recognizer(args.package, provider=provider, batch_size=BATCH, engine=engine))


def _key(place: str, size: int) -> str:
    return f"{place}, {size}"


def _bar(rounds: Rounds, place: str, size: int) -> PlotBar:
    each = median_of(rounds[_key(place, size)]) / size * 1e3
    return PlotBar(place, each, f"{each:.1f} ms", {"local": GREEN, "HTTP": BLUE}.get(place, GREY))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _about(args: argparse.Namespace) -> str:
    return (
        f"Ray Serve on this machine, {args.provider}, frames {size_text(args.frame_size)}, {args.rounds} rounds. "
        "Medians of the rounds; differences and ratios within rounds. A replica waits up to 5 ms for frames of others."
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "remote", rounds=10, frames=64)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=8, help="clients at once (default: %(default)s)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=4.0,
        help="seconds of a turn with them, and a quarter of it without (default: %(default)s)",
    )
    parser.add_argument("--frame-size", type=parse_size, default=(1280, 1024), help="default: 1280x1024")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
