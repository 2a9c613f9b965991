"""The protocol of a job: one request on the child's standard input, then events on its standard output.

Each is one line of JSON. The child is `partsight.runtime.page.improve.job`, its parent `Jobs`.
"""

from typing import Literal

import msgspec

from partsight.runtime.calibration import RateInterval
from partsight.runtime.core import Task, Verdict

JobKind = Literal["commission", "enroll"]


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is to do.

    Attributes:
        kind: Kind of the job.
        package: Folder of the package to start from.
        package_id: Id that it must have: the line answers with this package.
        feedback: Folder of kept frames.
        out: Folder of the new package; must not exist.
    """

    kind: JobKind
    package: str
    package_id: str
    feedback: str
    out: str


class JobProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """Progress of the present step.

    Attributes:
        work: Name of the step.
        done, total: Amount of its work; the total is None if it is unknown.
        per_s: Amount of work done in a second.
        left_s: Seconds left of this step; None if they are unknown.
    """

    work: str
    done: float
    total: float | None = None
    per_s: float = 0.0
    left_s: float | None = None


class RateChange(msgspec.Struct, frozen=True):
    """A rate on the line's frames before and after; either is None where nothing is known.

    Attributes:
        name: `refused`, `wrong`, `siblings` or `unknown`, as in `Outcome` of the room `calibration`.
        before, after: The rate of the old package, and of the new one on frames that it was not fitted to.
    """

    name: str
    before: RateInterval | None
    after: RateInterval | None


class NewPart(msgspec.Struct, frozen=True, kw_only=True):
    """What to expect of a part that was enrolled.

    Attributes:
        label: The part.
        images: Number of its images.
        right, refused, wrong: Estimated shares of its frames with its label, no label, another part's label.
        lookalike: The part that it looks most like; empty if there is no other.
        is_confusable: Whether frames of it got that part's label before.
        is_twin: Whether noise and light explain all differences to that part.
        misfits: Sentences on differences between its images and the golden images of the package.
    """

    label: str
    images: int
    right: float
    refused: float
    wrong: float
    lookalike: str = ""
    is_confusable: bool = False
    is_twin: bool = False
    misfits: tuple[str, ...] = ()


class JobResult(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """A new package, and what a person needs to know of it.

    Attributes:
        package_id: Id of the new package.
        out: Its folder.
        verdict: Main point; None for an enrolment.
        rates: Rates before and after; none for an enrolment.
        tasks: What else would make the line better.
        taught, parts, unknown: Number of frames of taught parts, of parts that they show, of frames of unknown parts.
        new_parts: Parts that were enrolled.
        harmed: Old parts with a frame that the new parts cost its label.
        faults: Cause of each file that was left out.
    """

    package_id: str
    out: str
    verdict: Verdict | None = None
    rates: tuple[RateChange, ...] = ()
    tasks: tuple[Task, ...] = ()
    taught: int = 0
    parts: int = 0
    unknown: int = 0
    new_parts: tuple[NewPart, ...] = ()
    harmed: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class JobFault(msgspec.Struct, frozen=True, tag="failed"):
    """The job is not possible; the text says why, and what to do."""

    error: str


JobEvent = JobProgress | JobResult | JobFault
