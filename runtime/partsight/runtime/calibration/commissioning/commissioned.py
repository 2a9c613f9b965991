"""Results of a commissioning, as facts for a person, a program and the report."""

import math
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.calibration.commissioning.failures import Confusion, FailedFrame, PartFit
from partsight.runtime.calibration.commissioning.held_out import Outcome
from partsight.runtime.calibration.commissioning.measured_line import MeasuredLine
from partsight.runtime.calibration.commissioning.reference_trials import ReferenceTrial
from partsight.runtime.core import Task, Verdict
from partsight.runtime.package import Decision, ModelPackage


@dataclass(frozen=True)
class FramesUsed:
    """The frames, and what they were used for.

    Attributes:
        taught: Number of frames of taught parts on which the decision was fitted.
        parts: Number of parts that they show.
        unknown: Number of frames of unknown parts.
        unfair: Number of frames that the line kept because it was not sure: references, but no rates.
        references: Number of frames that became references; the rates leave them out.
        is_confirmed: Whether a person named their parts.
        unclear: Number of frames without labels that were left out, since their part is not clear.
        faults: Cause of each file that was left out, by its path.
    """

    taught: int
    parts: int
    unknown: int
    unfair: int
    references: int
    is_confirmed: bool
    unclear: int
    faults: dict[Path, str]


@dataclass(frozen=True)
class Commissioned:
    """A package fitted to a line, and the facts of the fit.

    Attributes:
        package: The new package, read from disk.
        used: The frames.
        line: Measured line.
        before: Rates of the package as it was, on these frames.
        after: Rates of the new package, each frame judged by a decision that was fitted without its part.
        decision_before, decision: Decision of both packages.
        misfit: Sentences on frames of another set-up, or copies of golden images; empty for none.
        parts: Parts with a frame that fails, the worst first.
        confusions: Parts whose frames fit another part better.
        failed: Frames that fail.
        trials: Trials of further references.
        max_false_reject: Share of frames of taught parts that may get no label.
        verdict: Main point for a person.
        tasks: What to do, the first thing first, and the command for it.
    """

    package: ModelPackage
    used: FramesUsed
    line: MeasuredLine
    before: Outcome
    after: Outcome
    decision_before: Decision
    decision: Decision
    misfit: str
    parts: tuple[PartFit, ...]
    confusions: tuple[Confusion, ...]
    failed: tuple[FailedFrame, ...]
    trials: tuple[ReferenceTrial, ...]
    max_false_reject: float
    verdict: Verdict
    tasks: tuple[Task, ...]


def frames_for(share: float, hits: int = 0) -> int:
    """Return how many frames show with 95 % confidence that a share is not exceeded.

    Without a hit this is the rule of three: 300 frames for 1 % (B. D. Jovanovic and P. S. Levy, "A look at the rule of
    three", The American Statistician 51, 1997). With hits it is the upper end of Clopper's and Pearson's interval in
    E. B. Wilson's and M. M. Hilferty's approximation of the Poisson distribution (1931).

    Args:
        share: Share that must not be exceeded, above 0.
        hits: Number of frames that count among them.
    """
    if not hits:
        return math.ceil(3 / share)
    upper = (hits + 1) * (1 - 1 / (9 * (hits + 1)) + 1.645 / (3 * math.sqrt(hits + 1))) ** 3
    return math.ceil(upper / share)
