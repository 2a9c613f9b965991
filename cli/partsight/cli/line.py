"""`partsight run` with live cameras or sinks: the line, until it is told to stop."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from partsight.cli.exit_codes import ExitCode
from partsight.runtime import PartsightError, Recognizer
from partsight.runtime.cameras import Camera, CameraOptions, check_address, open_camera
from partsight.runtime.line import Line, LineCounters, Policy, Watch
from partsight.runtime.sinks import Sink, open_sink

_ENDING = frozenset({"folder", "video"})  # cameras that lose nothing and come to an end
_STATUS_S = 0.5


def is_line(args: argparse.Namespace) -> bool:
    """Say whether the command asks for more than the answers to a folder of images."""
    wants = args.sink or args.policy or args.takt_ms or args.watch
    return bool(wants) or len(args.camera) > 1 or any(_scheme(address) != "folder" for address in args.camera)


def run_line(args: argparse.Namespace, load: Callable[[str | Path], Recognizer]) -> int:
    """Run the line until its cameras end, SIGTERM or Ctrl-C; then answer and write what was accepted.

    Args:
        args: of `partsight run`.
        load: loads a package with the recogniser's options of the command.
    """
    _log_to_stderr()
    cameras = _cameras(args)
    policy = _policy(args, cameras)
    with ExitStack() as stack:
        sinks: dict[str, Sink] = {address: stack.enter_context(open_sink(address)) for address in _sinks(args)}
        line = stack.enter_context(Line(load(args.package), cameras, sinks, policy=policy, takt_ms=args.takt_ms))
        if args.watch:
            stack.enter_context(Watch(line, args.package, load))
        is_interrupted = _wait(line)
    counters = line.counters()
    _write_status(line, counters, end="\n")
    for text in _summary(counters):
        print(text, file=sys.stderr)
    if is_interrupted:
        return ExitCode.INTERRUPTED
    lost = sum(sink.lost for sink in counters.sinks.values())
    failed = sum(camera.failed + camera.partial for camera in counters.cameras.values())
    return ExitCode.SOME_FAILED if failed or lost else ExitCode.DONE


def _wait(line: Line) -> bool:
    """Wait for the line's end with a status line in a terminal; return whether Ctrl-C ended it."""
    interrupted = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            interrupted.set()
        line.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not line.wait(_STATUS_S):
            _write_status(line, line.counters())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return interrupted.is_set()


def _cameras(args: argparse.Namespace) -> dict[str, Callable[[], Camera]]:
    try:
        options = CameraOptions(
            exposure_us=args.exposure_us,
            gain_db=args.gain_db,
            region=args.region,
            trigger=args.trigger,
            fps=args.fps,
            timeout_s=args.timeout_s,
        )
    except PartsightError as error:
        _usage(args, str(error))
    named = dict(_named(place, text) for place, text in enumerate(args.camera))
    if len(named) < len(args.camera):
        _usage(args, "two cameras have the same name; expected --camera NAME=ADDRESS with a name of its own each")
    for address in named.values():
        check_address(address)  # now: the line would wait for a camera that cannot be opened yet
    return {name: lambda address=address: open_camera(address, options) for name, address in named.items()}  # type: ignore[misc]


def _usage(args: argparse.Namespace, message: str) -> NoReturn:
    args.parser.error(message)
    raise AssertionError  # not reached: `error` exits


def _named(place: int, text: str) -> tuple[str, str]:
    """Split NAME=ADDRESS; an address alone is named by its place, since it may hold what nobody should read."""
    name, equals, address = text.partition("=")
    is_named = equals and name.replace("-", "").replace("_", "").isalnum()
    return (name, address) if is_named else (f"camera{place}", text)


def _scheme(text: str) -> str:
    return _named(0, text)[1].partition(":")[0]


def _sinks(args: argparse.Namespace) -> list[str]:
    return args.sink or ["jsonl:-"]


def _policy(args: argparse.Namespace, cameras: Mapping[str, object]) -> Policy:
    if args.policy is None:
        ends = all(_scheme(address) in _ENDING for address in args.camera)
        return Policy("block", 2 * args.batch) if ends and cameras else Policy("latest")
    name, _, bound = args.policy.partition(":")
    try:
        return Policy(name, int(bound) if bound else (1 if name == "latest" else 2 * args.batch))
    except ValueError as error:
        _usage(args, f"--policy {args.policy}: {error}; write latest, queue:N or block")


def _write_status(line: Line, counters: LineCounters, end: str = "") -> None:
    if not sys.stderr.isatty():
        return
    states = line.states()
    texts = [
        f"{name} {states[name]}: {camera.recognised} recognised, {camera.unknown} unknown, {camera.skipped} skipped"
        for name, camera in counters.cameras.items()
    ]
    print("\r\x1b[K" + " | ".join(texts), end=end, file=sys.stderr, flush=True)


def _summary(counters: LineCounters) -> list[str]:
    texts = []
    for name, camera in counters.cameras.items():
        texts.append(
            f"{name}: {camera.seen} frames seen: {camera.recognised} recognised, {camera.unknown} unknown, "
            f"{camera.skipped} skipped, {camera.late} late, {camera.partial} partial, {camera.failed} failed; "
            f"opened again {camera.reopened} times"
        )
    texts += [f"sink {name}: {sink.lost} results lost" for name, sink in counters.sinks.items() if sink.lost]
    if counters.swaps or counters.refused_swaps:
        texts.append(f"packages: {counters.swaps} swapped, {counters.refused_swaps} refused")
    return texts


def _log_to_stderr() -> None:
    """One event, one line, with its time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("partsight")
    if not logger.handlers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
