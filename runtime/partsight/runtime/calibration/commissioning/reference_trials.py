"""Reference trials: which frames help as further references of parts that fit badly.

A part with height, or with a surface that shines, may look unlike its golden image on the line. A frame of it then fits
the other frames better. Such a frame becomes a further reference only if it lets the package recognise another frame of
the part that it refused or mistook, and if no frame of another part, and no unknown frame, is answered worse.

A trial writes no package: a bank of the tried frames alone gives their agreement with all frames, and the answers
follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.line_answers import LineAnswers, SeenFrames, match_all
from partsight.runtime.core import FloatArray
from partsight.runtime.matching import ArrayOperations, Bank, MatchingSpec, Rule, lead_of, prepare_all

MAX_ADDED = 2
"""Most further references that one commissioning adds to a part."""

_BAD_SHARE = 0.6  # of the line's median agreement; a frame with less fits badly
_MAX_TRIED = 12  # frames of a part; those that fit the golden image worst come first
_MAX_FINALISTS, _MAX_CANDIDATES = 16, 64  # limits of `MatchingSpec`


@dataclass(frozen=True)
class ReferenceTrial:
    """The trial of further references for a part that fits badly.

    Attributes:
        label: Label of the part.
        frames: Number of its frames.
        failed: Number of those that fit badly: they agree far less than the line's other frames, or fit another part.
        added: Indices of the frames that become references; empty if none does.
        fixed: Number of other frames of the part that only these let the rule accept.
        reason: Why none was added; empty if one was.
    """

    label: str
    frames: int
    failed: int
    added: tuple[int, ...] = ()
    fixed: int = 0
    reason: str = ""


def try_references(
    seen: SeenFrames, answers: LineAnswers, labels: Sequence[str], rule: Rule
) -> tuple[ReferenceTrial, ...]:
    """Try frames of parts that fit badly as further references.

    Args:
        seen: All frames.
        answers: Answers to them.
        labels: Labels of the package.
        rule: Rule that refuses the frames that fit worst; a reference must lift other frames above it.

    Returns:
        One trial for each part with a frame that fits badly and at least one other frame: of a part with a single frame
        no other could tell whether a reference helps.
    """
    state = _State.of(seen, answers, rule)
    usual = float(np.median(state.own[answers.is_right_first]))
    failed = answers.is_taught & ~state.recognised & ((state.own < _BAD_SHARE * usual) | ~answers.is_right_first)
    parts = np.unique(answers.classes[failed]).tolist()
    frames_of = {part: np.flatnonzero(answers.classes == part) for part in parts}
    frames_of = {part: own for part, own in frames_of.items() if len(own) > 1}
    tried = np.concatenate([np.zeros(0, np.intp), *(_tried(own, state.own) for own in frames_of.values())])
    agreement = _agreement_with(seen, tried, answers.spec)
    trials = []
    for part, own in frames_of.items():
        trial = ReferenceTrial(labels[part], len(own), int(failed[own].sum()))
        trial, state = _try_part(trial, state, own, tried, agreement)
        trials.append(trial)
    return tuple(trials)


@dataclass(frozen=True)
class _State:
    """Answers to all frames with the references so far; each (frames,).

    Attributes:
        answers: Answers without further references.
        score: Scores of the network, (frames, classes).
        rule: Rule of the package.
        own: Agreement with the frame's own part; 0 of an unknown frame.
        other: Best agreement with another part.
    """

    answers: LineAnswers
    score: FloatArray
    rule: Rule
    own: FloatArray
    other: FloatArray

    @classmethod
    def of(cls, seen: SeenFrames, answers: LineAnswers, rule: Rule) -> "_State":
        own = np.where(answers.is_taught, answers.own_agreement(), np.float32(0))
        return cls(answers, seen.score, rule, own, answers.left_out.agreement[:, 0])

    @property
    def recognised(self) -> npt.NDArray[np.bool_]:
        """Which frames get the label of their own part."""
        lead = lead_of(self.score, np.maximum(self.answers.classes, 0)[:, None], ArrayOperations())
        return _accepted(self.own, self.other, lead, self) & (self.own > self.other)

    def with_reference(self, part: int, agreement: FloatArray) -> "_State":
        """Return the answers with one more reference of a part; `agreement` is that with each frame."""
        is_own = self.answers.classes == part
        return replace(
            self,
            own=np.where(is_own, np.maximum(self.own, agreement), self.own),
            other=np.where(is_own, self.other, np.maximum(self.other, agreement)),
        )

    def intrudes(self, part: int, agreement: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which frames of other parts get the label of a part by a reference, if their own is not taught."""
        own = self.answers.classes
        score = self.score.copy()
        taught = np.flatnonzero(own >= 0)
        score[taught, own[taught]] = -1
        lead = lead_of(score, np.full((len(own), 1), part), ArrayOperations())
        accepted = _accepted(agreement, self.other, lead, self)
        return np.asarray(accepted & (own != part) & (agreement > self.other))


def _try_part(
    trial: ReferenceTrial, state: _State, own: npt.NDArray[np.intp], tried: npt.NDArray[np.intp], agreement: FloatArray
) -> tuple[ReferenceTrial, _State]:
    """Add the frames of a part that help most, one after the other."""
    part = int(state.answers.classes[own[0]])
    left = [column for column, frame in enumerate(tried) if frame in own]
    before = state.recognised
    while left and len(trial.added) < MAX_ADDED:
        used = {*trial.added}
        gains = {column: _gain(state, part, int(tried[column]), agreement[:, column], used) for column in left}
        best = max(left, key=lambda column: gains[column])
        if gains[best][0] <= 0:
            break
        left.remove(best)
        state = state.with_reference(part, agreement[:, best])
        added = (*trial.added, int(tried[best]))
        others = np.setdiff1d(own, added)
        trial = replace(trial, added=added, fixed=int((state.recognised & ~before)[others].sum()))
    if not trial.added:
        trial = replace(trial, reason="no frame of it helps another one without harm to other parts")
    return trial, state


def _gain(state: _State, part: int, frame: int, agreement: FloatArray, used: set[int]) -> tuple[int, float]:
    """Return how many other frames of a part a reference lets recognise, and how much better they agree.

    The number is 0 if the reference harms any frame.
    """
    after = state.with_reference(part, agreement)
    counted = np.ones(len(agreement), bool)
    counted[[frame, *used]] = False
    before, now = state.recognised, after.recognised
    known = state.answers.accepted_left_out(state.rule)
    harm = (before & ~now) | (state.intrudes(part, agreement) & ~known)
    if (harm & counted).any():
        return 0, 0.0
    is_own = counted & (state.answers.classes == part)
    return int((now & ~before & is_own).sum()), float((after.own - state.own)[is_own].sum())


def _tried(own: npt.NDArray[np.intp], agreement: FloatArray) -> npt.NDArray[np.intp]:
    """Return the frames of a part to try: those that agree least with the golden image."""
    return own[np.argsort(agreement[own], kind="stable")[:_MAX_TRIED]]


def _agreement_with(seen: SeenFrames, tried: npt.NDArray[np.intp], spec: MatchingSpec) -> FloatArray:
    """Return the agreement of all frames with tried ones as references, (frames, tried); 0 if it is low."""
    agreement = np.zeros((len(seen), len(tried)), np.float32)
    if len(tried):
        wide = msgspec.structs.replace(spec, finalists=_MAX_FINALISTS, by_thumbnail=_MAX_CANDIDATES, by_network=1)
        bank = Bank.of(prepare_all(seen.pixels[tried], range(len(tried))))
        matches = match_all(seen.pixels, agreement, bank, wide, "trying further references")
        np.put_along_axis(agreement, matches.classes, matches.agreement, axis=1)
    return agreement


def _accepted(best: FloatArray, second: FloatArray, lead: FloatArray, state: _State) -> npt.NDArray[np.bool_]:
    """Return which frames get a label, from the agreement of the best part and of the second, and the best's lead."""
    matches = state.answers.taught
    agreement = np.stack([best, second], axis=1)
    both = replace(matches, classes=matches.classes[:, :1].repeat(2, axis=1), agreement=agreement, lead=lead)
    return np.asarray(both.is_accepted(state.rule, state.answers.spec))
