"""Running a line until its cameras end, or a signal stops it."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from partsight.cli.exit_codes import ExitCode
from partsight.cli.log import log_to_stderr
from partsight.cli.run.check import check_addresses
from partsight.cli.run.config import IMAGES, STDOUT, CameraConfig, LineConfig
from partsight.cli.run.page import page_warnings, read_page_settings
from partsight.cli.run.progress import progress
from partsight.runtime import PartsightError, SinkGoneError
from partsight.runtime.cameras import Camera, FileCamera, open_camera
from partsight.runtime.line import CameraCounters, Line, LineCounters, SinkCounters, Watch
from partsight.runtime.sinks import name_of, open_sink, parse_listen_address

if TYPE_CHECKING:
    from partsight.runtime.line.health import Health, SetupWatch

_LOOK_S = 0.2

_log = logging.getLogger("partsight.cli")


@dataclass(frozen=True)
class CameraSource:
    """A function that opens a camera, and the number of frames that the camera will send; None if not known."""

    open: Callable[[], Camera]
    total: int | None = None


def run_line(config: LineConfig) -> int:
    """Run the line until its cameras end, SIGTERM or Ctrl-C; then answer and write all accepted frames.

    Args:
        config: Configuration of the line.

    Returns:
        The exit code.

    Raises:
        PartsightError: A package, a sink or a folder of images cannot be opened; a JSON log shows it instead.
    """
    is_text = config.log == "text"
    with log_to_stderr(config.log, is_quiet=is_text and config.ends and config.page is None):
        for text in config.warnings:
            _log.warning("%s", text, extra={"event": "deprecated_option"})
        try:
            check_addresses(config)
            return _run(config)
        except PartsightError as error:
            if _has_enough(error, config):
                return ExitCode.DONE
            if is_text:
                raise
            _log.critical("%s", error, extra={"event": "error"})
            return ExitCode.ERROR


def _run(config: LineConfig) -> int:
    sources = _sources(config)
    with ExitStack() as stack:
        recognizers = [stack.enter_context(recognizer) for recognizer in config.load(config.package)]
        sinks = {name: stack.enter_context(open_sink(address)) for name, address in sinks_by_name(config.sinks).items()}
        openers = {name: source.open for name, source in sources.items()}
        line = Line(recognizers, openers, sinks, policy=config.policies, deadline_ms=config.deadlines_ms)
        stack.push(partial(_report_if_failed, line, config))
        signalled = stack.enter_context(_signals())
        if config.metrics is not None or config.page is not None or not config.ends:
            _watch_health(line, config, stack)
        setup_watch = _watch_setup(line) if config.ends else None
        stack.enter_context(line)
        if config.watch:
            stack.enter_context(Watch(line, config.package, config.load))
        with progress(line, config, _total(sources)) as show:
            while not line.wait(_LOOK_S):
                if signalled.to_end:
                    line.stop()
                show()
        if setup_watch:
            setup_watch.check(lambda: not signalled.to_end)
    line.wait()  # raises if the reader of the last results has ended
    counters = line.counters()
    _report(counters, config)
    if signalled.by_ctrl_c:
        return ExitCode.INTERRUPTED
    lost = sum(sink.lost + sink.undelivered for sink in counters.sinks.values())
    failed = sum(camera.failed + camera.partial for camera in counters.cameras.values())
    return ExitCode.SOME_FAILED if failed or lost else ExitCode.DONE


def _has_enough(error: BaseException, config: LineConfig) -> bool:
    """Whether the only reader has ended because it has enough, as in `partsight run ... | head`."""
    return isinstance(error, SinkGoneError) and config.sinks == (STDOUT,)


def _watch_setup(line: Line) -> "SetupWatch":
    """Keep refused frames of a line that ends, for the set-up check."""
    from partsight.runtime.line.health import SetupWatch  # imported here: see below

    return SetupWatch(line)


def _watch_health(line: Line, config: LineConfig, stack: ExitStack) -> None:
    """Warn of drifting cameras, and serve metrics and page if they have an address, until the stack closes."""
    from partsight.runtime.line.health import Health  # imported here: each import delays the start of a line
    from partsight.runtime.line.metrics import Metrics
    from partsight.runtime.line.metrics.server import MetricsServer

    health = stack.enter_context(Health(line))
    if config.metrics is not None:
        server = stack.enter_context(MetricsServer(Metrics(line, health), *parse_listen_address(config.metrics)))
        _log.info("metrics are at %s", server.url, extra={"event": "metrics_served", "url": server.url})
    if config.page is not None:
        _serve_page(line, health, config, stack)


def _serve_page(line: Line, health: "Health", config: LineConfig, stack: ExitStack) -> None:
    """Serve the page until the stack closes: after the line, so that people see its end."""
    from partsight.runtime.page import Page  # imported here: see above

    settings = read_page_settings(str(config.page), config.sinks)
    page = stack.enter_context(Page(line, settings, config.package, load=config.load, health=health))
    _log.info("the page is at %s", page.url, extra={"event": "page_served", "url": page.url})
    for warning in page_warnings(config):
        _log.warning("%s", warning.text, extra={"event": warning.event})


@dataclass
class _Signalled:
    """The signals so far: whether one asks the line to end, and whether it was Ctrl-C."""

    to_end: bool = False
    by_ctrl_c: bool = False


@contextmanager
def _signals() -> Iterator[_Signalled]:
    """Note SIGTERM, a closed terminal and Ctrl-C; end the process at once on a second Ctrl-C.

    A closed terminal sends SIGHUP, on Windows SIGBREAK. Under `nohup` the process ignores it, and still does so here.
    The handler only sets a flag: it interrupts the main thread anywhere, perhaps within a lock that the end needs.
    """
    signalled = _Signalled()

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and signalled.by_ctrl_c:
            with suppress(OSError):  # the terminal is closed
                os.write(2, b"\npartsight: interrupted\n")
            os._exit(ExitCode.INTERRUPTED)  # a read may hang in a driver; sinks keep all results they have
        signalled.to_end = True
        signalled.by_ctrl_c |= number == signal.SIGINT

    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    taken = [number for number in numbers if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sources(config: LineConfig) -> dict[str, CameraSource]:
    if config.images:
        return {IMAGES: CameraSource(partial(FileCamera, config.images), len(config.images))}
    return {name: _source(camera) for name, camera in config.cameras.items()}


def _source(camera: CameraConfig) -> CameraSource:
    """Return the source of a camera. A camera that ends is opened now, so that a missing file is an error at once."""
    opener = partial(open_camera, camera.address, camera.options)
    if not camera.ends:
        return CameraSource(opener)
    with opener() as opened:
        if isinstance(opened, FileCamera):
            return CameraSource(partial(FileCamera, opened.paths, camera.options.fps, opened.faults), len(opened.paths))
    return CameraSource(opener)


def sinks_by_name(addresses: Sequence[str]) -> dict[str, str]:
    """Return the sinks' addresses by name. Two names may look the same, because passwords are hidden."""
    named: dict[str, str] = {}
    for address in addresses:
        name = name_of(address)
        named[f"{name} ({len(named) + 1})" if name in named else name] = address
    return named


def _total(sources: dict[str, CameraSource]) -> int | None:
    totals = [source.total for source in sources.values() if source.total is not None]
    return sum(totals) if len(totals) == len(sources) else None


def _report(counters: LineCounters, config: LineConfig) -> None:
    """Report the counts of all frames: as events in a JSON log, else in words."""
    for name, camera in counters.cameras.items():
        facts = {"camera": name, **asdict(camera), "late": camera.expired}  # late: the old name, for one release
        _publish(config, "camera_total", f"{name}: {_in_words(camera)}", facts)
    for name, sink in counters.sinks.items():
        if sink.lost or sink.undelivered:
            _publish(config, "sink_total", f"sink {name}: {_results_in_words(sink)}", {"sink": name} | asdict(sink))
    if counters.swaps or counters.refused_swaps:
        facts = {"swaps": counters.swaps, "refused_swaps": counters.refused_swaps}
        text = f"packages: {counters.swaps} swapped, {counters.refused_swaps} refused"
        _publish(config, "package_total", text, facts)
    if counters.remote_retries or counters.remote_failures:
        facts = {"remote_retries": counters.remote_retries, "remote_failures": counters.remote_failures}
        text = f"server: {counters.remote_retries} requests sent again, {counters.remote_failures} batches not answered"
        _publish(config, "server_total", text, facts)


def _report_if_failed(line: Line, config: LineConfig, _: object, error: BaseException | None, __: object) -> None:
    """Report the counts after an error too, but not if the reader ended because it has enough."""
    counters = line.counters()
    if isinstance(error, PartsightError) and not _has_enough(error, config) and counters.seen:
        _report(counters, config)


def _publish(config: LineConfig, event: str, text: str, facts: Mapping[str, object]) -> None:
    if config.log == "text":
        print(text, file=sys.stderr)
    else:
        _log.info("%s", text, extra={"event": event, **facts})


def _results_in_words(sink: SinkCounters) -> str:
    texts = [f"{sink.lost} results lost"] if sink.lost else []
    texts += [f"{sink.undelivered} results in its spool, not delivered yet"] if sink.undelivered else []
    return ", ".join(texts)


def _in_words(camera: CameraCounters) -> str:
    seldom = {"skipped": camera.skipped, "expired": camera.expired, "partial": camera.partial}
    texts = [f"{camera.recognised} recognised", f"{camera.unknown} unknown", f"{camera.failed} failed"]
    texts += [f"{count} {name}" for name, count in seldom.items() if count]
    texts += [f"{camera.waiting} without an answer"] if camera.waiting else []
    again = f"; reopened {camera.reopened} times" if camera.reopened else ""
    return f"{camera.seen} frames: {', '.join(texts)}{again}"
