"""The line fit: everything that frames of a line say about a package, before a package is written."""

from dataclasses import dataclass, replace
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.clear import keep_clear
from partsight.runtime.calibration.commissioning.decision import (
    fit_decision,
    fit_line_rule,
    fit_tolerances,
    strict_rule,
)
from partsight.runtime.calibration.commissioning.frames import LineFrames
from partsight.runtime.calibration.commissioning.held_out import HeldOut, hold_out, rate_outcome
from partsight.runtime.calibration.commissioning.line_answers import LineAnswers, SeenFrames, answer, see
from partsight.runtime.calibration.commissioning.measured_line import MAX_MEASURED, MeasuredLine, measure_line
from partsight.runtime.calibration.commissioning.reference_trials import ReferenceTrial, try_references
from partsight.runtime.calibration.commissioning.set_up import SetUpResult, check_set_up
from partsight.runtime.calibration.commissioning.writing import matching_of
from partsight.runtime.core import BatchMap, Pixels, map_here
from partsight.runtime.images import read_image
from partsight.runtime.matching import Bank
from partsight.runtime.package import Decision, ModelPackage, References, add_references
from partsight.runtime.recognition import Recognizer, load_bank

_TRIED_SHARE = 0.1  # of the frames, those that fit worst: their parts may get further references


@dataclass(frozen=True)
class LineFit:
    """A decision fitted to frames, before the package is written.

    Attributes:
        seen: Frames that were read, clear and whose part is known.
        unclear: Number of unconfirmed frames that were left out.
        set_up: Result of the check of the set-up.
        line: Measured line.
        trials: Trials of further references.
        references: References of the new package.
        rows: Indices of the frames that did not become references, (frames,).
        before, answers: Answers to these frames by the old and the new references.
        held: Decisions on these frames by rules fitted without their part.
        decision: Decision of the new package.
    """

    seen: SeenFrames
    unclear: int
    set_up: SetUpResult
    line: MeasuredLine
    trials: tuple[ReferenceTrial, ...]
    references: References
    rows: npt.NDArray[np.intp]
    before: LineAnswers
    answers: LineAnswers
    held: HeldOut
    decision: Decision


def fit_to_line(
    old: ModelPackage, recognizer: Recognizer, listed: LineFrames, max_false_reject: float, run: BatchMap = map_here
) -> LineFit:
    """Read frames of a line, and fit a package to them.

    Args:
        old: Package to start from.
        recognizer: Recogniser of the package.
        listed: Frames of the line.
        max_false_reject: Share of frames of taught parts that may get no label.
        run: Map over the batches of frames.

    Raises:
        CommissionError: the frames cannot be used, or do not fit the package.
    """
    matching, labels = matching_of(old.manifest, old.path), old.manifest.labels
    records, rule = load_bank(old).records, matching.decision.rule
    path = old.path.absolute()
    seen = see(recognizer, listed, matching.spec, run, path)
    total = len(seen)
    if seen.is_open.any():
        found = answer(seen, Bank.of(records), matching.spec, "finding clear frames", run, path)
        seen = keep_clear(seen, found, rule, labels)
    first = answer(seen, Bank.of(records), matching.spec, run=run, package=path)
    set_up = check_set_up(recognizer, seen, first)
    line = _measure(recognizer, seen, first)
    strict = strict_rule(first, fit_line_rule(first, rule, max_false_reject), _TRIED_SHARE)
    trials = () if seen.is_open.any() else try_references(seen, first, labels, strict)  # a person names references
    references = _add_references(old, records, seen, trials)
    used = {index for trial in trials for index in trial.added}
    rows = np.array([index for index in range(len(seen)) if index not in used], np.intp)
    spec = fit_tolerances(first)
    before = answers = first.of_frames(rows)
    if used or spec != matching.spec:
        bank, of_package = Bank.of(references.records), None if used else path
        answers = answer(seen.of_frames(rows), bank, spec, "comparing once more", run, of_package)
        references = replace(references, matching=msgspec.structs.replace(references.matching, spec=spec))
    held = hold_out(answers, partial(fit_line_rule, before=rule, max_false_reject=max_false_reject))
    decision = _with_rates(fit_decision(answers, rule, max_false_reject), answers, held)
    return LineFit(seen, total - len(seen), set_up, line, trials, references, rows, before, answers, held, decision)


def _measure(recognizer: Recognizer, seen: SeenFrames, answers: LineAnswers) -> MeasuredLine:
    right = np.flatnonzero(answers.is_right_first)
    chosen = set(right[np.linspace(0, len(right) - 1, min(MAX_MEASURED, len(right))).astype(int)].tolist())
    labels = recognizer.labels
    golden_of: dict[int, Pixels | None] = {}
    for index in chosen:
        part = int(answers.classes[index])
        if part not in golden_of:
            golden_of[part] = recognizer.golden_image(labels[part])
    goldens = [golden_of[int(seen.classes[row])] if row in chosen else None for row in range(len(seen))]
    line = measure_line(seen, answers, goldens)
    assert line is not None  # `check_set_up` demands frames that are right first
    return line


def _add_references(
    old: ModelPackage, records: np.ndarray, seen: SeenFrames, trials: tuple[ReferenceTrial, ...]
) -> References:
    images = {
        trial.label: [read_image(seen.frames[index].path) for index in trial.added] for trial in trials if trial.added
    }
    return add_references(old.manifest, records, images)


def _with_rates(decision: Decision, answers: LineAnswers, held: HeldOut) -> Decision:
    """Return the decision with the rates of held-out frames in place of those on which it was fitted."""
    outcome, taught = rate_outcome(answers, held), answers.is_taught
    parts = len(np.unique(answers.classes[taught]))
    return msgspec.structs.replace(
        decision,
        method=f"fitted to {taught.sum()} frames of {parts} parts of the line; rates of parts left out of the fit",
        samples=int(taught.sum()),
        expected_false_reject=outcome.refused.rate,
        expected_false_accept=outcome.siblings.rate,
    )
