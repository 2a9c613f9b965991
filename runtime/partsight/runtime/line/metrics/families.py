"""Families: what a line counts and what its health says, as names, labels and numbers of metrics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from partsight.runtime.line.counters import CameraCounters, LineCounters, SinkCounters
from partsight.runtime.line.health.band import ExpectedRange
from partsight.runtime.line.health.drift import MEASURES, Sample
from partsight.runtime.line.health.monitor import HealthState
from partsight.runtime.line.line import Line

STATES = ("opening", "waiting", "open", "stalled", "lost", "ended", "failed")
"""Of a camera, see `Line.states`."""

_OUTCOMES = ("recognised", "unknown", "skipped", "late", "partial", "failed")

_CAMERA_COUNTS = {
    "overdue": ("partsight_overdue_frames", "Answered frames whose answer came after their takt."),
    "reopened": ("partsight_camera_reopenings", "How often the camera was opened again."),
    "stalled": ("partsight_camera_stalls", "How often no frame came in time."),
}
_SINK_COUNTS = {
    "lost": ("partsight_sink_lost_results", "Results that the sink never took."),
    "refusals": ("partsight_sink_refusals", "Attempts that failed, of results that were waited for."),
}
_SINK_NUMBERS = {
    "waiting": ("partsight_sink_waiting_results", "Results that wait for the sink."),
    "undelivered": (
        "partsight_sink_undelivered_results",
        "Results that the sink keeps until its peer acknowledges them, as a broker.",
    ),
}
_LINE_COUNTS = {
    "callback_errors": ("partsight_callback_errors", "How often a callback raised."),
    "swaps": ("partsight_package_swaps", "Packages that were put in place of another."),
    "refused_swaps": ("partsight_package_swaps_refused", "Packages that were not, because something was wrong."),
}
_MEDIANS = {
    "focus_ratio": (
        "partsight_focus_ratio",
        "Sharpness beside the golden images, 1 for theirs: median of last frames.",
    ),
    "exposure_ev": ("partsight_exposure_ev", "Brightness beside the golden images, in EV: median of last frames."),
    "score": ("partsight_score_median", "Score: median of the last measured frames."),
    "margin": ("partsight_margin_median", "Margin: median of the last measured frames."),
}


@dataclass(frozen=True)
class Family:
    """A metric with all its rows.

    Attributes:
        kind: what the numbers do: a counter never sinks.
        name: without `_total`.
        explanation: for people.
        labels: names of them.
        rows: values of the labels, and the number.
    """

    kind: Literal["counter", "gauge"]
    name: str
    explanation: str
    labels: tuple[str, ...]
    rows: Sequence[tuple[tuple[str, ...], float]]


def writable(name: str) -> str:
    """Return a name as it can be written in UTF-8, as records have it: one from a command line may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def line_families(line: Line) -> Iterator[Family]:
    """Yield what the line counts, all of one moment."""
    counters, states, recognizer = line.counters(), line.states(), line.recognizer
    yield from _of_cameras({writable(name): camera for name, camera in counters.cameras.items()})
    yield Family(
        "gauge",
        "partsight_camera_state",
        "1 for what the camera is doing, 0 for what it is not.",
        ("camera", "state"),
        [((writable(name), state), float(state == now)) for name, now in states.items() for state in STATES],
    )
    yield from _of_sinks(_named(counters))
    for field_name, (name, explanation) in _LINE_COUNTS.items():
        yield Family("counter", name, explanation, (), [((), getattr(counters, field_name))])
    yield _gauge("partsight_running", "1 while frames are answered.", float(line.is_running))
    info = "The package that answers, and what its scores are."
    rows = [((recognizer.package_id, recognizer.decision.score), 1.0)]
    yield Family("gauge", "partsight_package_info", info, ("package_id", "score"), rows)
    yield _gauge("partsight_score_threshold", "A lower score is answered unknown.", recognizer.threshold)
    yield _gauge(
        "partsight_expected_unknown_share",
        "Share of frames of taught parts that is answered unknown, as calibration expects at the package's threshold.",
        recognizer.decision.expected_false_reject,
    )


def health_families(state: HealthState) -> Iterator[Family]:
    """Yield what was measured, and what is expected of it; nothing of what is not known yet."""
    frames = {
        (writable(name), outcome): getattr(camera, outcome)
        for name, camera in state.cameras.items()
        for outcome in ("recognised", "unknown")
    }
    of_frames = ("camera", "outcome")
    for field in fields(Sample):
        known = [(row, getattr(medians, field.name)) for row, medians in frames.items()]
        rows = [(row, value) for row, value in known if value is not None]
        yield Family("gauge", *_MEDIANS[field.name], of_frames, rows)
    yield Family(
        "gauge",
        "partsight_measured_frames",
        "Of how many frames the medians are.",
        of_frames,
        [(row, medians.samples) for row, medians in frames.items()],
    )
    for measure in MEASURES:
        band: ExpectedRange | None = getattr(state.bands, measure, None)
        rows_of_band = [] if band is None else [(("low",), band.low), (("high",), band.high)]
        explanation = "What is expected of the median, where the line varies as the package was calibrated for."
        yield Family("gauge", f"partsight_{measure}_limit", explanation, ("limit",), rows_of_band)
    yield Family(
        "gauge",
        "partsight_in_band",
        "1 while the median of recognised frames is as expected, 0 while a warning stands.",
        ("camera", "measure"),
        [
            ((writable(name), measure), float(is_in))
            for name, camera in state.cameras.items()
            for measure, is_in in camera.in_band.items()
        ],
    )
    yield Family(
        "gauge",
        "partsight_unknown_share",
        "Share of unknown ones among the camera's last answers.",
        ("camera",),
        [((writable(name),), camera.unknown_share) for name, camera in state.cameras.items()],
    )


def _of_cameras(cameras: dict[str, CameraCounters]) -> Iterator[Family]:
    yield Family(
        "counter",
        "partsight_frames",
        "Frames by what became of them.",
        ("camera", "outcome"),
        [((name, outcome), getattr(camera, outcome)) for name, camera in cameras.items() for outcome in _OUTCOMES],
    )
    rows: list[tuple[tuple[str, ...], float]] = [((name,), camera.waiting) for name, camera in cameras.items()]
    yield Family("gauge", "partsight_waiting_frames", "Frames that wait for their answer.", ("camera",), rows)
    for field_name, (name, explanation) in _CAMERA_COUNTS.items():
        counts = [((camera,), getattr(counters, field_name)) for camera, counters in cameras.items()]
        yield Family("counter", name, explanation, ("camera",), counts)


def _of_sinks(sinks: dict[str, SinkCounters]) -> Iterator[Family]:
    for field_name, (name, explanation) in _SINK_COUNTS.items():
        counts = [((sink,), getattr(counters, field_name)) for sink, counters in sinks.items()]
        yield Family("counter", name, explanation, ("sink",), counts)
    for field_name, (name, explanation) in _SINK_NUMBERS.items():
        rows = [((sink,), float(getattr(counters, field_name))) for sink, counters in sinks.items()]
        yield Family("gauge", name, explanation, ("sink",), rows)


def _named(counters: LineCounters) -> dict[str, SinkCounters]:
    """Return the sinks by their names without options, which name what is secret; of two alike the second is `… 2`."""
    named: dict[str, SinkCounters] = {}
    for name, sink in counters.sinks.items():
        short = writable(name.partition("?")[0])
        alike = sum(other.partition("?")[0] == name.partition("?")[0] for other in list(counters.sinks)[: len(named)])
        named[f"{short} {alike + 1}" if alike else short] = sink
    return named


def _gauge(name: str, explanation: str, value: float) -> Family:
    return Family("gauge", name, explanation, (), [((), value)])
