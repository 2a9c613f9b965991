"""What the screen `improve` shows: the next thing to do, a job in words, and packages in words."""

import time
from dataclasses import dataclass
from shlex import quote

from partsight.runtime.calibration import RateInterval
from partsight.runtime.page.improve.improvement import MIN_FRAMES, Improvement, read_improvement
from partsight.runtime.page.improve.jobs import JobState
from partsight.runtime.page.improve.package_shelf import ShelfPackage
from partsight.runtime.page.improve.swap_requests import SwapRequest
from partsight.runtime.page.web.call import Call

_STEPS = {
    "reading the frames": "improve.step_reading",
    "comparing the frames": "improve.step_comparing",
    "comparing the frames again": "improve.step_without",
    "comparing once more": "improve.step_new_references",
    "comparing once more again": "improve.step_new_references",
    "does it fit?": "improve.step_fit",
    "estimating the rates again": "improve.step_new_parts",
}
"""Names of steps in which commissioning shows progress, and their texts; any other name is shown as it is."""


@dataclass(frozen=True)
class NextStep:
    """The thing to do next.

    Attributes:
        name: Its key in the messages, such as `next_commission`.
        text: The sentence.
        is_care: Whether it needs attention before anything else.
    """

    name: str
    text: str
    is_care: bool = False


class JobView:
    """A job in words."""

    def __init__(self, state: JobState, call: Call) -> None:
        """Take the job, and the call whose language counts."""
        self.state, self._call = state, call

    @property
    def step(self) -> str:
        """Name of the present step."""
        progress = self.state.progress
        if progress is None:
            return self._call.text("improve.step_starting")
        key = _STEPS.get(progress.work)
        return self._call.text(key) if key else progress.work

    @property
    def pace(self) -> str:
        """Work done, rate, and time left."""
        progress = self.state.progress
        if progress is None or not progress.total:
            return ""
        done, total, rate = f"{progress.done:,.0f}", f"{progress.total:,.0f}", f"{60 * progress.per_s:,.0f}"
        left = "" if progress.left_s is None else duration(progress.left_s)
        return self._call.text("improve.pace", done=done, total=total, rate=rate, left=left or "?")

    @property
    def took(self) -> str:
        """Time since it began, until it ended."""
        return duration((self.state.ended or time.time()) - self.state.began)

    def percent(self, rate: RateInterval | None) -> str:
        """Return a rate with its interval, in the person's way to write numbers."""
        if rate is None or not rate.total:
            return self._call.text("improve.not_measured")
        digits = 2 if rate.high < 0.01 else 1
        low, middle, high = (f"{100 * share:.{digits}f}" for share in (rate.low, rate.rate, rate.high))
        text = self._call.text("improve.rate", middle=middle, low=low, high=high)
        return text.replace(".", ",") if self._call.messages.language == "de" else text


@dataclass(frozen=True)
class ImproveView:
    """Values of the screen.

    Attributes:
        improvement: What people confirmed; None if the page keeps no frames.
        job: The job that runs, or the last one; None before the first.
        packages: All packages.
        request: The open request for a swap.
        step: The thing to do next.
        is_own: Whether the person who looks made the request.
        call: The call.
    """

    improvement: Improvement | None
    job: JobView | None
    packages: tuple[ShelfPackage, ...]
    request: SwapRequest | None
    step: NextStep
    is_own: bool
    call: Call

    @classmethod
    def of(cls, call: Call) -> "ImproveView":
        """Return the values for a call.

        Raises:
            FeedbackError: the folder of kept frames cannot be read.
        """
        context = call.context
        packages, reviews, last = context.packages.packages(), context.reviews, context.jobs.last
        active = next((package for package in packages if package.is_active), None)
        improvement = None
        if reviews is not None:
            fitted = active.facts.fitted if active else 0.0
            improvement = read_improvement(reviews.read().frames, context.line.recognizer.labels, fitted)
        request = context.packages.requests.open
        return cls(
            improvement,
            JobView(last, call) if last else None,
            packages,
            request,
            next_step(call, improvement, last, packages),
            request is not None and request.who == call.who,
            call,
        )

    @property
    def previous(self) -> ShelfPackage | None:
        """The package that answered before the active one."""
        return next((package for package in self.packages if package.is_previous), None)

    @property
    def made(self) -> ShelfPackage | None:
        """The package that the last job made, if it is on the shelf."""
        result = self.job.state.result if self.job else None
        return next((item for item in self.packages if result and item.facts.package_id == result.package_id), None)

    @property
    def restart(self) -> str:
        """What happens after a restart of the line; empty if nothing changes."""
        shelf = self.call.context.packages
        active = next((package for package in self.packages if package.is_active), None)
        path = str(shelf.start_path)
        if active is None:
            return self.call.text("improve.restart_gone", path=path)
        if shelf.start_path.resolve() == active.facts.path.resolve():
            return self.call.text("improve.restart_link", path=path) if shelf.is_link else ""
        if shelf.is_link:
            fault = shelf.link_fault or "-"
            return self.call.text("improve.restart_stuck", path=path, target=str(active.facts.path), fault=fault)
        return self.call.text("improve.restart_other", path=path, target=str(active.facts.path))

    @property
    def size(self) -> str:
        """Size of all packages that people made on the page."""
        folder = self.call.context.packages.folder
        total = sum(package.facts.size for package in self.packages if package.facts.path.parent == folder)
        return f"{total / 1e6:,.0f} MB"

    def command(self, package: ShelfPackage) -> str:
        """Return the command that signs a package."""
        return f"partsight sign {quote(str(package.facts.path))} --key KEY"


def next_step(
    call: Call, improvement: Improvement | None, last: JobState | None, packages: tuple[ShelfPackage, ...]
) -> NextStep:
    """Return the thing to do next, from the state of the page."""
    request = call.context.packages.requests.open
    if last and last.is_running:
        return _step(call, "next_running")
    if request:
        name = "next_wait" if request.who == call.who else "next_approve"
        return _step(call, name, is_care=True, package=request.package_id)
    new = _newest_unused(packages)
    if new is not None and new.facts.is_unsigned:
        return _step(call, "next_sign", is_care=True, package=new.facts.package_id)
    if new is not None:
        name = "next_not_ready" if _is_bad(last, new) else "next_use"
        return _step(call, name, is_care=name == "next_not_ready", package=new.facts.package_id)
    return _step_of_frames(call, improvement)


def _step_of_frames(call: Call, found: Improvement | None) -> NextStep:
    if found is None:
        return _step(call, "next_no_frames", is_care=True)
    if len(found.new_parts) == 1:
        return _step(call, "next_enroll_one")
    if found.new_parts:
        return _step(call, "next_enroll", parts=len(found.new_parts))
    if found.waiting and found.frames < MIN_FRAMES:
        return _step(call, "next_few", frames=found.frames, needed=MIN_FRAMES)
    if found.waiting:
        return _step(call, "next_commission", frames=found.waiting)
    return _step(call, "next_review", frames=found.open) if found.open else _step(call, "next_nothing")


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


def duration(seconds: float) -> str:
    """Return a time span such as `2 min 10 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(call: Call, value: int) -> str:
    """Return a number with its thousands apart, in the person's way to write numbers."""
    text = f"{value:,}"
    return text.replace(",", ".") if call.messages.language == "de" else text


def local(seconds: float) -> str:
    """Return a time as people at the line read it; empty for 0."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""
