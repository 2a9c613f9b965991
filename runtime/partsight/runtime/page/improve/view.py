"""What the screen `improve` shows: values of the whole screen, and a job in words."""

import time
from dataclasses import dataclass
from shlex import quote

from partsight.runtime.calibration import RateInterval
from partsight.runtime.page.improve.formats import duration
from partsight.runtime.page.improve.improvement import Improvement, read_improvement
from partsight.runtime.page.improve.jobs import JobState
from partsight.runtime.page.improve.next_step import NextStep, next_step
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
        low, middle, high = (
            self._call.messages.number(100 * share, digits) for share in (rate.low, rate.rate, rate.high)
        )
        return self._call.text("improve.rate", middle=middle, low=low, high=high)


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
    def active(self) -> ShelfPackage | None:
        """The package that answers."""
        return next((package for package in self.packages if package.is_active), None)

    @property
    def restart_link(self) -> str:
        """That a restart changes nothing, because a link leads to the active package; else empty."""
        shelf = self.call.context.packages
        if not shelf.is_link or not self._starts_with_active:
            return ""
        return self.call.text("improve.restart_link", path=str(shelf.start_path))

    @property
    def restart_other(self) -> str:
        """Why the line starts with another package after a restart, and what to do; empty if it does not."""
        shelf, path = self.call.context.packages, str(self.call.context.packages.start_path)
        if self._starts_with_active:
            return ""
        if self.active is None:
            return self.call.text("improve.restart_gone", path=path)
        target = str(self.active.facts.path)
        if shelf.is_link:
            return self.call.text("improve.restart_stuck", path=path, target=target, fault=shelf.link_fault or "-")
        return self.call.text("improve.restart_other", path=path, target=target)

    @property
    def _starts_with_active(self) -> bool:
        start = self.call.context.packages.start_path
        return self.active is not None and start.resolve() == self.active.facts.path.resolve()

    @property
    def size(self) -> str:
        """Size of all packages that people made on the page."""
        folder = self.call.context.packages.folder
        total = sum(package.facts.size for package in self.packages if package.facts.path.parent == folder)
        return f"{total / 1e6:,.0f} MB"

    def command(self, package: ShelfPackage) -> str:
        """Return the command that signs a package."""
        return f"partsight sign {quote(str(package.facts.path))} --key KEY"
