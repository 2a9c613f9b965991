"""How the screen `improve` writes time spans, numbers, times and packages."""

import time

from partsight.runtime.page.improve.package_facts import PackageFacts


def duration(seconds: float) -> str:
    """Return a time span such as `2 min 10 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def local(seconds: float) -> str:
    """Return a time as people at the line read it; empty for 0."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""


def title(facts: PackageFacts) -> str:
    """Return what people know a package by: its file's name, when it was made, and its id."""
    return f"{facts.path.name} ({', '.join(filter(None, (local(facts.created), facts.package_id)))})"
