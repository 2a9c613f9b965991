"""Enrolment: parts added to a package, replaced or removed, without training and without TensorFlow.

A cosine head compares the embedding of a frame with one prototype a part, which is the embedding of its golden image:
a new part is one more prototype. The network stays as it is, and so do the scores of the other parts.

Example:
    >>> from partsight.runtime.enrolment.enrolment import enroll
    >>> enrolled = enroll("line3.partsight", "line4.partsight", additions={"M8x40": ["m8x40.png"]})
    >>> print(enrolled.parts[0].right, enrolled.parts[0].lookalike)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.core import (
    MANIFEST_NAME,
    EnrollError,
    FloatArray,
    check_output_folder,
    encode_prototypes,
    new_folder,
    sha256_bytes,
)
from partsight.runtime.enrolment.evaluation import Sample, Subject, Track, draw_samples, evaluate, update_manifest
from partsight.runtime.enrolment.findings import NewPart, find_harmed, judge
from partsight.runtime.enrolment.golden_check import find_misfits
from partsight.runtime.enrolment.new_parts import Changes, Newcomer, learn, read_newcomers, refuse_dense
from partsight.runtime.enrolment.onnx_head import PrototypeModel, import_onnx
from partsight.runtime.enrolment.plan import Plan, make_plan
from partsight.runtime.images import preprocess
from partsight.runtime.inference import PrototypeSearch, Session
from partsight.runtime.matching import Bank, Matcher, MatchingSpec, encode_bank, prepare_all
from partsight.runtime.package import Gate, Manifest, ModelPackage, Precision, decode_reference

MAX_NEIGHBOURS = 200
"""Parts of the package that are looked at again, those most like a new one first."""

_NEIGHBOURS_A_PART = 32
_MAX_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Enrolled:
    """A new package, and what enrolment found.

    Attributes:
        package: as read back from the disk; `manifest.provenance.enrolments[-1]` says what was changed.
        parts: those added or replaced.
        neighbours: how many of the other parts were looked at again.
        harmed: those of them with a frame that got its label before, and now does not.
        largest_difference: between old and new scores of the parts that stayed; 0 where ONNX Runtime is exact.
        spec_before: how the old package compares frames; the new one may compare with more candidates.
    """

    package: ModelPackage
    parts: tuple[NewPart, ...]
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

    Labels that stay keep their order, replaced ones their place; new ones are appended in the order given. The new
    package is not signed, whoever signed the old one; where this machine demands signatures, the old one must have one.

    Args:
        package: the folder to start from; left as it is.
        out: the new package's folder; must not exist.
        additions: image files of each new part. The prototype is the mean of their embeddings; frames are compared
            with the best-fitting of them, and the gallery shows the first.
        replacements: the same, of parts that the package has.
        removals: labels.
        seed: of the variation on which the expected rates are estimated.
        track: shows progress; see `recheck.Track`.

    Raises:
        ValueError: something else stands where labels and lists of image files are expected.
        EnrollError: something cannot be changed as asked (all faults are named at once), or the package has a dense
            head, to which no part can be added.
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
    newcomers = read_newcomers(old, changes)
    plan = make_plan(old, changes, newcomers)
    search = old.search(is_plain=True)
    beside = search.prototypes if search else None
    models = {
        precision: PrototypeModel.parse(old.model_bytes(precision), f"{old.path}: {model.file}", beside)
        for precision, model in old.manifest.models.items()
    }
    session = Session(old.model_bytes(_main(old)), search=search)
    records = old.bank_records() if old.manifest.matching else None
    misfits = find_misfits(old, newcomers, records)
    work = _Work(old, plan, models, learn(old, newcomers, session), session, records)
    subject = work.subject()
    difference = work.largest_difference(subject.session)
    evaluation = evaluate(subject, [*draw_samples(*plan.drawn()), *work.neighbours()], seed, track)
    subject, frames = evaluation.subject, evaluation.frames
    manifest = update_manifest(subject.manifest, frames)
    work.write(out, manifest, subject)
    return Enrolled(
        package=ModelPackage.examine(out),
        parts=tuple(
            judge(subject, place, newcomer, frames, misfits[newcomer.label]) for place, newcomer in plan.newcomers()
        ),
        neighbours=len({frame.sample.place for frame in frames if not frame.sample.is_new}),
        harmed=find_harmed(manifest, frames),
        largest_difference=difference,
        spec_before=old.manifest.matching.spec if old.manifest.matching else None,
    )


@dataclass(frozen=True)
class _Work:
    """A package in the making.

    Attributes:
        old: the package to start from.
        plan: what becomes of it.
        models: its ONNX files.
        learned: prototypes of the newcomers, (d,) each, by label.
        before: the old package's network; its scores are all exact.
        records: of the old package's bank; None where it compares no golden images.
    """

    old: ModelPackage
    plan: Plan
    models: dict[Precision, PrototypeModel]
    learned: dict[str, FloatArray]
    before: Session
    records: np.ndarray | None

    def prototypes(self, precision: Precision) -> FloatArray:
        """Return the new prototypes, (classes, d)."""
        values = self.models[precision].values
        return np.stack(
            [
                self.learned[source.label] if isinstance(source, Newcomer) else values[:, source]
                for source in self.plan.sources
            ]
        )

    def model_bytes(self, precision: Precision, manifest: Manifest) -> bytes:
        """Return an ONNX file with the new prototypes."""
        return self.models[precision].with_prototypes(self.prototypes(precision).T, manifest)

    def subject(self) -> Subject:
        """Return the new package as it answers, before it is on the disk."""
        manifest = self.plan.manifest
        matcher = None
        if manifest.matching and self.records is not None:
            matcher = Matcher(Bank.of(self._new_records(self.records)), manifest.matching.spec)
        main = _main(self.old)
        search = PrototypeSearch(self.prototypes(main), is_plain=True) if manifest.search else None
        session = Session(self.model_bytes(main, manifest), search=search)
        return Subject(session, manifest, matcher, frozenset(place for place, _ in self.plan.newcomers()))

    def _new_records(self, records: np.ndarray) -> np.ndarray:
        """Return the new package's: those of parts that stay, under their new places, and one for each new image."""
        places = np.full(len(self.old.manifest.labels), -1, np.int32)
        for place, source in self.plan.kept():
            places[source] = place
        of_row = places[records["class"]]
        kept: np.ndarray = records[of_row >= 0]
        kept["class"] = of_row[of_row >= 0]
        new = [(place, data) for place, newcomer in self.plan.newcomers() for data in newcomer.references]
        if not new:
            return kept
        images = (decode_reference(data, self.plan.manifest.labels[place]) for place, data in new)
        joined: np.ndarray = np.concatenate([kept, prepare_all(images, [place for place, _ in new])])
        return joined[np.argsort(joined["class"], kind="stable")]

    def neighbours(self) -> list[Sample]:
        """Return the golden images in the package that are most like a new part's, in the order of the labels."""
        kept = self.plan.kept()
        if not self.learned or not kept or self.plan.manifest.matching is None:
            return []
        values = self.models[_main(self.old)].values.astype(np.float32)
        likeness = np.stack(list(self.learned.values())) @ values[:, [source for _, source in kept]]
        count = min(MAX_NEIGHBOURS, _NEIGHBOURS_A_PART * len(self.learned))
        is_mono = self.old.manifest.preprocess.color == "mono"
        samples = []
        for index in sorted(np.argsort(-likeness.max(axis=0), kind="stable")[:count]):
            place, source = kept[index]
            image = self.old.golden_image(source)
            samples.append(Sample(place, [np.ascontiguousarray(image[:, :, 0]) if is_mono else image], 0, is_new=False))
        return samples

    def largest_difference(self, session: Session) -> float:
        """Compare the scores of parts that stay, before and after, on new golden images and on noise."""
        spec = self.old.manifest.preprocess
        images = [preprocess(newcomer.images[:1], spec) for _, newcomer in self.plan.newcomers()[:32]]
        noise = np.random.default_rng(0).integers(0, 256, (1, spec.height, spec.width, 3), np.uint8)
        batch = np.concatenate([*images, noise])
        before = self.before.run(batch).score
        after = session.run(batch).score
        kept = np.array(self.plan.kept(), int).reshape(-1, 2)
        largest = float(np.abs(after[:, kept[:, 0]] - before[:, kept[:, 1]]).max(initial=0))
        if not largest <= _MAX_DIFFERENCE:
            raise EnrollError(
                f"{self.old.path}: the scores of parts that stay would change by {largest:.2g}; expected at most "
                f"{_MAX_DIFFERENCE:g}: nothing was written; please report it with the backbone's name"
            )
        return largest

    def _array_files(self, manifest: Manifest, subject: Subject) -> Iterator[tuple[str, bytes]]:
        if manifest.search:
            yield manifest.search.file, encode_prototypes(self.prototypes(_main(self.old)))
        if manifest.matching and manifest.matching.bank and subject.matcher:
            yield manifest.matching.bank, encode_bank(subject.matcher.bank.records)
        if manifest.matching and manifest.matching.graph and subject.matcher:
            from partsight.runtime.matching.trace import matching_graph  # noqa: PLC0415 (it needs the package onnx)

            graph = matching_graph(manifest.matching.spec, subject.matcher.bank)
            yield manifest.matching.graph, graph.SerializeToString(deterministic=True)

    def write(self, out: Path, manifest: Manifest, subject: Subject) -> None:
        """Write the new package; it is there whole or not at all."""
        with new_folder(out) as folder:
            files = {}
            for name, data in chain(self._array_files(manifest, subject), self.plan.files(self.old, manifest)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
                files[name] = sha256_bytes(data)
            models = {}
            for precision, model in self.old.manifest.models.items():
                data = self.model_bytes(precision, manifest)
                (folder / model.file).write_bytes(data)
                models[precision] = msgspec.structs.replace(model, sha256=sha256_bytes(data), gate=_dated(model.gate))
            # Last, so that a folder without it is known to be unfinished.
            whole = msgspec.structs.replace(manifest, models=models, files=files)
            (folder / MANIFEST_NAME).write_bytes(whole.to_json())
            ModelPackage.examine(folder).verify()


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


def _dated(gate: Gate | None) -> Gate | None:
    """Say that a precision was compared with FP32 before this enrolment: the golden images are no longer at hand."""
    return None if gate is None else msgspec.structs.replace(gate, is_before_enrolment=True)


def _main(package: ModelPackage) -> Precision:
    """Return the precision that embeddings are taken from."""
    return "fp32" if "fp32" in package.manifest.models else next(iter(package.manifest.models))
