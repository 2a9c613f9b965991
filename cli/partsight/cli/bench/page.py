"""The page: a benchmark as one HTML file with its pictures inside, for a browser without internet."""

import math
import re
from functools import partial

from jinja2 import Environment, PackageLoader

from partsight.cli.bench.facts import CAMERA_FPS, BenchFacts
from partsight.cli.bench.table import HEAD, by_speed, cells, what_was_measured
from partsight.cli.bench.verdict import (
    BenchVerdict,
    cameras,
    describe,
    is_trusted,
    milliseconds,
    rate,
    stages_of,
    where,
)


def to_html(facts: BenchFacts, verdict: BenchVerdict) -> str:
    """Return the page. All text is escaped, so names and reasons may hold any character."""
    environment = Environment(
        loader=PackageLoader("partsight.cli.bench"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"px": "{:.1f}".format, "count": "{:,}".format, "milliseconds": milliseconds, "rate": rate}
    environment.filters |= {"describe": describe, "cameras": cameras, "cells": partial(cells, facts), "where": where}
    environment.tests["trusted"] = lambda speed: is_trusted(facts, speed)
    speeds = by_speed(facts)
    most = max(max(speed.frames_per_s, speed.network_frames_per_s or 0.0) for speed in speeds)
    return environment.get_template("page.html").render(
        facts=facts,
        verdict=verdict,
        command=re.split(r"(--\S+ \S+)", verdict.command),  # an option stays on one line with its value
        speeds=speeds,
        most=most,
        marks=camera_marks(most),
        fps=CAMERA_FPS,
        stages=stages_of(facts),
        labels=facts.labels_of(facts.chosen.configuration) if facts.chosen else None,
        head=HEAD,
        measured=what_was_measured(facts).splitlines(),
    )


def camera_marks(most: float) -> list[int]:
    """Return the numbers of cameras to mark on a scale that ends at `most` frames a second: at most eight."""
    count = math.floor(most / CAMERA_FPS)
    step = next(step for power in range(12) for step in (10**power, 2 * 10**power, 5 * 10**power) if count <= 8 * step)
    return list(range(step, count + 1, step))
