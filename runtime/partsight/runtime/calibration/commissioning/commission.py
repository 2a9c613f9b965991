"""Commissioning: a package is fitted to a line by frames of it, and a new package is written.

`line_fit` reads the frames and fits; here the result becomes a package and its facts.

Example:
    >>> from partsight.runtime.calibration.commissioning import commission
    >>> done = commission("line3.partsight", "frames", "line3_fitted.partsight", unknown="foreign")
    >>> print(done.verdict.word, done.after.refused.describe())
"""

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.calibration.commissioning.commissioned import Commissioned, FramesUsed
from partsight.runtime.calibration.commissioning.failures import find_confusions, find_failed, find_weak_parts
from partsight.runtime.calibration.commissioning.frames import Confirmed, read_line_frames
from partsight.runtime.calibration.commissioning.held_out import judge, rate_outcome
from partsight.runtime.calibration.commissioning.line_fit import LineFit, fit_to_line
from partsight.runtime.calibration.commissioning.report import to_html
from partsight.runtime.calibration.commissioning.verdict import judge_outcome, list_tasks
from partsight.runtime.calibration.commissioning.writing import matching_of, write_package
from partsight.runtime.core import BatchMap, check_output_folder, is_number, map_here
from partsight.runtime.package import Commissioning, Manifest, ModelPackage
from partsight.runtime.recognition import Recognizer


def commission(
    package: str | Path,
    frames: str | Path | Iterable[Confirmed],
    out: str | Path,
    *,
    unknown: str | Path | None = None,
    max_false_reject: float = 0.01,
    run: BatchMap = map_here,
) -> Commissioned:
    """Fit a package to frames of the line, and write a new package with a report.

    The networks stay the same to the bit. The new package is not signed. `undo_commissioning` leads back.

    Args:
        package: Folder of the package to start from; it stays as it is.
        frames: Frames of the line; see `read_line_frames`.
        out: Folder of the new package; must not exist.
        unknown: Folder of frames of parts that the package does not have.
        max_false_reject: Share of frames of taught parts that may get no label, above 0 and at most 0.5.

        run: Map over the batches of frames: this process, or the actors of a cluster, such as `cluster.batch.RayMap`.

    Raises:
        ValueError: `max_false_reject` is out of bounds.
        CommissionError: the frames cannot be used, or do not fit the package; the message says what would help.
        PackageError: the package is damaged or altered, or not signed as this machine demands.
        DependencyError: ONNX Runtime is not installed, or `onnx` is not and the references change.
        OutputError: `out` exists or cannot be written.
    """
    out = Path(out)
    if not (is_number(max_false_reject) and 0 < max_false_reject <= 0.5):
        raise ValueError(f"max_false_reject is {max_false_reject!r}; expected a share above 0, at most 0.5")
    check_output_folder(out)
    old = ModelPackage.read(package)
    matching_of(old.manifest, old.path)
    listed = read_line_frames(frames, old.manifest.labels, unknown)
    with Recognizer(package, batch_size=32) as recognizer:
        fit = fit_to_line(old, recognizer, listed, max_false_reject, run)
    done = _facts(old, fit, out, max_false_reject)
    manifest = _manifest(old, fit)
    written = write_package(
        old,
        out,
        manifest,
        fit.references.records,
        fit.references.files,
        lambda new: to_html(replace(done, package=new), out.name, fit.seen.of_frames(fit.rows)),
    )
    return replace(done, package=written)


def _manifest(old: ModelPackage, fit: LineFit) -> Manifest:
    before, sums = matching_of(old.manifest, old.path), sorted(fit.seen.sha256)
    commissioning = Commissioning(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        from_package=old.package_id,
        from_keys=old.signed_by,
        frames=int(fit.seen.is_taught.sum()),
        unknown_frames=int((~fit.seen.is_taught).sum()),
        is_confirmed=not fit.seen.is_open.any(),
        frames_sha256=hashlib.sha256("\n".join(sums).encode()).hexdigest(),
        further={trial.label: len(trial.added) for trial in fit.trials if trial.added},
        spec_before=before.spec,
        decision_before=before.decision,
    )
    provenance = old.manifest.provenance
    return msgspec.structs.replace(
        old.manifest,
        matching=msgspec.structs.replace(fit.references.matching, decision=fit.decision),
        provenance=msgspec.structs.replace(provenance, commissionings=(*provenance.commissionings, commissioning)),
    )


def _facts(old: ModelPackage, fit: LineFit, out: Path, max_false_reject: float) -> Commissioned:
    decision_before = matching_of(old.manifest, old.path).decision
    after = rate_outcome(fit.answers, fit.held)
    taught, counts = fit.answers.is_taught, fit.answers.weights > 0
    used = FramesUsed(
        taught=int((taught & counts).sum()),
        parts=len(np.unique(fit.answers.classes[taught])),
        unknown=int((~taught & counts).sum()),
        unfair=int((~counts).sum()),
        references=len(fit.seen) - len(fit.rows),
        is_confirmed=not fit.seen.is_open.any(),
        unclear=fit.unclear,
        faults=dict(fit.seen.faults),
    )
    labels, rule = old.manifest.labels, fit.decision.rule
    parts, confusions = find_weak_parts(fit.answers, rule, labels), find_confusions(fit.answers, rule, labels)
    tasks = list_tasks(
        after,
        used,
        fit.set_up.sentence,
        fit.line,
        confusions,
        parts,
        fit.trials,
        max_false_reject=max_false_reject,
        package=str(old.path),
        out=str(out),
    )
    return Commissioned(
        package=old,
        used=used,
        line=fit.line,
        before=rate_outcome(fit.before, judge(fit.before, decision_before.rule)),
        after=after,
        decision_before=decision_before,
        decision=fit.decision,
        misfit=fit.set_up.sentence,
        parts=parts,
        confusions=confusions,
        failed=find_failed(fit.answers, rule, [fit.seen.frames[row] for row in fit.rows], labels),
        trials=fit.trials,
        max_false_reject=max_false_reject,
        verdict=judge_outcome(after, used, fit.set_up.sentence, max_false_reject),
        tasks=tasks,
    )
