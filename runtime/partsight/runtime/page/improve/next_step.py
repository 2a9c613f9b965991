"""The next step: what the screen `improve` says first."""

from dataclasses import dataclass, replace

from partsight.runtime.page.improve.formats import local
from partsight.runtime.page.improve.improvement import MIN_FRAMES, Improvement
from partsight.runtime.page.improve.jobs import JobState
from partsight.runtime.page.improve.package_shelf import ShelfPackage
from partsight.runtime.page.web.call import Call


@dataclass(frozen=True)
class NextStep:
    """The thing to do next.

    Attributes:
        name: Its key in the messages, such as `next_commission`.
        text: The sentence.
        is_care: Whether it needs attention before anything else.
        since: Since when the line answers with the package that people swapped in; empty if other things come first.
    """

    name: str
    text: str
    is_care: bool = False
    since: str = ""


def next_step(
    call: Call, improvement: Improvement | None, last: JobState | None, packages: tuple[ShelfPackage, ...]
) -> NextStep:
    """Return the thing to do next, from the state of the page."""
    request, swapped = call.context.packages.requests.open, call.context.packages.swapped
    if last and last.is_running:
        return _step(call, "next_running")
    if last and last.outcome == "failed" and last.ended > max(swapped, request.time if request else 0.0):
        return _step(call, "next_failed", is_care=True, job=call.text(f"improve.job_{last.kind}"))
    if request:
        name = "next_wait" if request.who == call.who else "next_approve"
        return _step(call, name, is_care=True, package=request.package_id)
    new = _newest_unused(packages)
    if new is not None and new.facts.is_unsigned:
        return _step(call, "next_sign", is_care=True, package=new.facts.package_id)
    if new is not None:
        name = "next_not_ready" if _is_bad(last, new) else "next_use"
        return _step(call, name, is_care=name == "next_not_ready", package=new.facts.package_id)
    return replace(_step_of_frames(call, improvement), since=_since(call, packages))


def _step_of_frames(call: Call, found: Improvement | None) -> NextStep:
    if found is None:
        return _step(call, "next_no_frames", is_care=True)
    if len(found.new_parts) == 1:
        return _step(call, "next_enroll_one")
    if found.new_parts:
        return _step(call, "next_enroll", parts=len(found.new_parts))
    if found.waiting:
        return _step_of_sample(call, found)
    return (
        _step(call, "next_review", frames=call.messages.number(found.open))
        if found.open
        else _step(call, "next_nothing")
    )


def _step_of_sample(call: Call, found: Improvement) -> NextStep:
    """Return what a commissioning needs first, or that it can start."""
    if not found.fair:
        return _step(call, "next_unfair", is_care=True)
    if found.frames < MIN_FRAMES:
        return _step(call, "next_few", frames=found.frames, needed=MIN_FRAMES)
    if found.is_half_reviewed:
        return _step(call, "next_decide", is_care=True, frames=call.messages.number(found.skipped))
    return _step(call, "next_commission", frames=call.messages.number(found.waiting))


def _since(call: Call, packages: tuple[ShelfPackage, ...]) -> str:
    swapped = call.context.packages.swapped
    active = next((package for package in packages if package.is_active), None)
    if active is None or not swapped:
        return ""
    return call.text("improve.since_swap", package=active.facts.path.name, time=local(swapped))


def _step(call: Call, name: str, *, is_care: bool = False, **values: object) -> NextStep:
    return NextStep(name, call.text(f"improve.{name}", **values), is_care)


def _is_bad(last: JobState | None, package: ShelfPackage) -> bool:
    """Return whether the last job made this package, and says that it is not ready."""
    result = last.result if last else None
    if result is None or result.verdict is None or result.package_id != package.facts.package_id:
        return False
    return result.verdict.level == "bad"


def _newest_unused(packages: tuple[ShelfPackage, ...]) -> ShelfPackage | None:
    """Return the newest package that was made from the active one, and that the line has not tried."""
    active = next((package for package in packages if package.is_active), None)
    if active is None:
        return None
    made = (item for item in packages if item.facts.origin == active.facts.package_id and not item.is_previous)
    return next((item for item in made if item.facts.created >= active.facts.created), None)
