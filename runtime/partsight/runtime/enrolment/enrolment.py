"""Enrolment: parts added to a package, replaced or removed, without training and without TensorFlow.

A cosine head compares the embedding of a frame with one prototype for each part. The prototype is the embedding of the
part's golden image, so a new part is one more prototype. The network stays the same, and so do the scores of the other
parts.

Example:
    >>> from partsight.runtime.enrolment import enroll
    >>> enrolled = enroll("line3.partsight", "line4.partsight", additions={"M8x40": ["m8x40.png"]})
    >>> print(enrolled.parts[0].right, enrolled.parts[0].lookalike)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.core import check_output_folder
from partsight.runtime.enrolment.build import Build
from partsight.runtime.enrolment.changes import Changes
from partsight.runtime.enrolment.evaluation import Evaluation, Track, evaluate
from partsight.runtime.enrolment.golden_check import find_misfits
from partsight.runtime.enrolment.new_parts import read_new_parts, refuse_dense
from partsight.runtime.enrolment.onnx_head import import_onnx
from partsight.runtime.enrolment.plan import Plan, make_plan
from partsight.runtime.enrolment.report import NewPartReport, find_harmed, report_part, with_new_rates
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognition import load_bank


@dataclass(frozen=True)
class Enrolled:
    """A new package, and the report of its enrolment.

    Attributes:
        package: The new package, read from disk; `manifest.provenance.enrolments[-1]` records the changes.
        parts: Reports of the parts that were added or replaced.
        neighbours: Number of old parts that were evaluated.
        harmed: Labels of those with a frame that got its label before and does not get it now.
        largest_difference: Largest difference between old and new scores of parts that stay; 0 where ONNX Runtime is
            exact.
        spec_before: Matching specification of the old package; the new one may compare with more candidates.
    """

    package: ModelPackage
    parts: tuple[NewPartReport, ...]
    neighbours: int
    harmed: tuple[str, ...]
    largest_difference: float
    spec_before: MatchingSpec | None = None


def untracked(items: Sequence[int], what: str) -> Iterable[int]:  # noqa: ARG001 (of `Track`)
    """Show no progress."""
    return items


def enroll(
    package: str | Path,
    out: str | Path,
    *,
    additions: Mapping[str, Sequence[str | Path]] | None = None,
    replacements: Mapping[str, Sequence[str | Path]] | None = None,
    removals: Sequence[str] = (),
    seed: int = 0,
    track: Track = untracked,
) -> Enrolled:
    """Make a new package with parts added, replaced or removed; nothing else changes.

    Labels that stay keep their order, and replaced ones their index. New labels follow in the order given. The new
    package is not signed. If this machine demands signatures, the old package must have one.

    Args:
        package: Folder of the package to start from; it stays as it is.
        out: Folder of the new package; must not exist.
        additions: Image files of each new part, by label: its golden image, and further references. A frame is compared
            with all, and the best fit counts. The prototype is the mean of their embeddings.
        replacements: Image files of parts that the package has, by label.
        removals: Labels of parts to remove.
        seed: Seed of the varied images on which the rates are estimated.
        track: Shows progress; see `evaluation.Track`.

    Raises:
        ValueError: an argument is not a dictionary of labels and lists of image files, or not a list of labels.
        EnrollError: a change is not possible (the message names all faults), or the package has a dense head, to which
            no part can be added.
        PackageError: the package is damaged or altered, or not signed as this machine demands.
        DependencyError: `onnx` or ONNX Runtime is not installed.
        OutputError: `out` exists or cannot be written.
    """
    out = Path(out)
    changes = Changes(
        _to_paths("additions", additions), _to_paths("replacements", replacements), _to_labels("removals", removals)
    )
    check_output_folder(out)
    import_onnx()
    old = ModelPackage.read(package)
    refuse_dense(old)
    changes = changes.spelled_as(old.manifest.labels)
    parts = read_new_parts(old, changes)
    plan = make_plan(old, changes, parts)
    records = load_bank(old).records if old.manifest.matching else None
    build = Build.prepare(old, plan, records)
    misfits = find_misfits(old, parts, records)
    draft = build.draft()
    difference = build.largest_difference(draft.session)
    evaluation = evaluate(draft, build.samples(), seed, track)
    build.write(out, evaluation.draft, with_new_rates(evaluation))
    return Enrolled(
        package=ModelPackage.examine(out),
        parts=_reports(evaluation, plan, misfits),
        neighbours=len(set(evaluation.index[~evaluation.is_new].tolist())),
        harmed=find_harmed(evaluation),
        largest_difference=difference,
        spec_before=old.manifest.matching.spec if old.manifest.matching else None,
    )


def _reports(evaluation: Evaluation, plan: Plan, misfits: Mapping[str, tuple[str, ...]]) -> tuple[NewPartReport, ...]:
    return tuple(
        report_part(evaluation, placed.index, placed.part, misfits[placed.part.label]) for placed in plan.new_parts()
    )


def _to_paths(what: str, named: Mapping[str, Sequence[str | Path]] | None) -> dict[str, list[Path]]:
    if named is not None and not isinstance(named, Mapping):
        raise ValueError(
            f"{what} is {type(named).__name__}; expected a dictionary of labels and lists of image files: "
            "{'M8x40': ['m8x40.png']}"
        )
    return {label: _to_list(f"{what} of {label!r}", paths) for label, paths in (named or {}).items()}


def _to_list(what: str, paths: Sequence[str | Path]) -> list[Path]:
    if isinstance(paths, str | Path):
        raise ValueError(f"{what} is {str(paths)!r}; expected a list of image files: [{str(paths)!r}]")
    listed = list(paths) if isinstance(paths, Iterable) else [paths]
    if not all(isinstance(path, str | Path) for path in listed):
        raise ValueError(
            f"{what} is {type(paths).__name__} with something that is no path; expected a list of image files: save "
            "pixels with cv2.imwrite first"
        )
    return [Path(path) for path in listed]


def _to_labels(what: str, labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise ValueError(f"{what} is {labels!r}; expected a list of labels: [{labels!r}]")
    listed = tuple(labels) if isinstance(labels, Iterable) else (labels,)
    if not all(isinstance(label, str) for label in listed):
        raise ValueError(f"{what} is {type(labels).__name__}; expected a list of labels: ['M8x40']")
    return listed
