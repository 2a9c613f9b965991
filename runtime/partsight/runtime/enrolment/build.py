"""The build: a new package made from an old one, its networks, bank, graph and files."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.core import (
    MANIFEST_NAME,
    EnrollError,
    FloatArray,
    encode_prototypes,
    new_folder,
    sha256_bytes,
)
from partsight.runtime.enrolment.evaluation import Draft, Sample, draw_samples
from partsight.runtime.enrolment.new_parts import NewPartImages, learn
from partsight.runtime.enrolment.onnx_head import PrototypeModel
from partsight.runtime.enrolment.plan import Plan
from partsight.runtime.images import preprocess
from partsight.runtime.inference import PrototypeSearch, Session
from partsight.runtime.matching import Bank, Matcher, encode_bank
from partsight.runtime.package import Gate, Manifest, ModelPackage, Precision, merge_records
from partsight.runtime.recognition import load_search

MAX_NEIGHBOURS = 200
"""Number of old parts that are evaluated; those most like a new one come first."""

_NEIGHBOURS_A_PART = 32
_MAX_DIFFERENCE = 1e-5  # of a score of a part that stays, before and after
_PROBES = 32  # new golden images on which these scores are compared


@dataclass(frozen=True)
class Build:
    """A package in the making.

    Attributes:
        old: Package to start from.
        plan: Contents of the new package.
        models: ONNX files of the old package, by precision.
        learned: Prototypes of the new parts, (d,) each, by label.
        before: Session of the old package's network; its scores are all exact.
        records: Records of the old package's bank; None if it has no matching.
    """

    old: ModelPackage
    plan: Plan
    models: dict[Precision, PrototypeModel]
    learned: dict[str, FloatArray]
    before: Session
    records: np.ndarray | None

    @classmethod
    def prepare(cls, old: ModelPackage, plan: Plan, records: np.ndarray | None) -> "Build":
        """Read the networks of the old package and learn the new parts.

        Args:
            old: Package to start from.
            plan: Contents of the new package.
            records: Records of the old package's bank; None if it has no matching.

        Raises:
            EnrollError: scores are not computed from prototypes, or the network sees nothing in a new golden image.
            PackageError: a file of the package is damaged or altered.
        """
        search = load_search(old, is_plain=True)
        prototypes = search.prototypes if search else None
        models = {
            precision: PrototypeModel.parse(old.model_bytes(precision), f"{old.path}: {model.file}", prototypes)
            for precision, model in old.manifest.models.items()
        }
        session = Session(old.model_bytes(_main(old)), search=search)
        learned = learn(old, [placed.part for placed in plan.new_parts()], session)
        return cls(old, plan, models, learned, session, records)

    def draft(self) -> Draft:
        """Return the new package before it is written, ready to answer frames."""
        manifest = self.plan.manifest
        matcher = None
        if manifest.matching and self.records is not None:
            matcher = Matcher(Bank.of(self._new_records(self.records)), manifest.matching.spec)
        main = _main(self.old)
        search = PrototypeSearch(self._prototypes(main), is_plain=True) if manifest.search else None
        session = Session(self._model_bytes(main, manifest), search=search)
        return Draft(session, manifest, matcher, frozenset(placed.index for placed in self.plan.new_parts()))

    def samples(self) -> list[Sample]:
        """Return the golden images to evaluate the draft on, of new parts and of old parts like them."""
        placed = self.plan.new_parts()
        new = draw_samples([item.part.images for item in placed], [item.index for item in placed])
        return [*new, *self._neighbours()]

    def largest_difference(self, session: Session) -> float:
        """Return the largest difference that the build makes to a score of a part that stays.

        The scores are those of new golden images and of noise.

        Args:
            session: Session of the new network.

        Raises:
            EnrollError: the difference is too large.
        """
        spec, kept = self.old.manifest.preprocess, self.plan.kept()
        images = [preprocess(placed.part.images[:1], spec) for placed in self.plan.new_parts()[:_PROBES]]
        noise = np.random.default_rng(0).integers(0, 256, (1, spec.height, spec.width, 3), np.uint8)
        batch = np.concatenate([*images, noise])
        before = self.before.run(batch).score[:, [item.old_index for item in kept]]
        after = session.run(batch).score[:, [item.index for item in kept]]
        largest = float(np.abs(after - before).max(initial=0))
        if not largest <= _MAX_DIFFERENCE:
            raise EnrollError(
                f"{self.old.path}: the scores of parts that stay would change by {largest:.2g}, and at most "
                f"{_MAX_DIFFERENCE:g} is allowed; nothing was written: report this with the name of the backbone"
            )
        return largest

    def write(self, out: Path, draft: Draft, manifest: Manifest) -> None:
        """Write the new package, whole or not at all.

        Args:
            out: Folder of the package.
            draft: The package as it was evaluated.
            manifest: Manifest with the new rates.
        """
        with new_folder(out) as folder:
            files = {}
            for name, data in chain(self._array_files(manifest, draft), self.plan.files(self.old, manifest)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
                files[name] = sha256_bytes(data)
            models = {}
            for precision, model in self.old.manifest.models.items():
                data = self._model_bytes(precision, manifest)
                (folder / model.file).write_bytes(data)
                gate = _before_enrolment(model.gate)
                models[precision] = msgspec.structs.replace(model, sha256=sha256_bytes(data), gate=gate)
            # The manifest comes last: a folder without it is unfinished.
            whole = msgspec.structs.replace(manifest, models=models, files=files)
            (folder / MANIFEST_NAME).write_bytes(whole.to_json())
            ModelPackage.examine(folder).check_hashes()

    def _prototypes(self, precision: Precision) -> FloatArray:
        """Return the new prototypes, (classes, d)."""
        values = self.models[precision].values
        return np.stack(
            [
                self.learned[source.label] if isinstance(source, NewPartImages) else values[:, source]
                for source in self.plan.sources
            ]
        )

    def _model_bytes(self, precision: Precision, manifest: Manifest) -> bytes:
        """Return an ONNX file with the new prototypes."""
        return self.models[precision].with_prototypes(self._prototypes(precision).T, manifest)

    def _new_records(self, records: np.ndarray) -> np.ndarray:
        """Return the records of the new bank: old ones of parts that stay, and one of each new image."""
        new_index = np.full(len(self.old.manifest.labels), -1, np.int32)
        for item in self.plan.kept():
            new_index[item.old_index] = item.index
        of_row = new_index[records["class"]]
        kept: np.ndarray = records[of_row >= 0]
        kept["class"] = of_row[of_row >= 0]
        parts = [kept]
        for placed in self.plan.new_parts():
            if placed.part.records is not None:
                parts.append(placed.part.records.copy())
                parts[-1]["class"] = placed.index
        return merge_records(*parts)

    def _neighbours(self) -> list[Sample]:
        """Return the golden images of old parts that are most like a new part, in the order of the labels."""
        kept = self.plan.kept()
        if not self.learned or not kept or self.plan.manifest.matching is None:
            return []
        values = self.models[_main(self.old)].values.astype(np.float32)
        likeness = np.stack(list(self.learned.values())) @ values[:, [item.old_index for item in kept]]
        count = min(MAX_NEIGHBOURS, _NEIGHBOURS_A_PART * len(self.learned))
        chosen = [kept[row] for row in sorted(np.argsort(-likeness.max(axis=0), kind="stable")[:count])]
        return [Sample(item.index, [self._golden_image(item.old_index)], 0, is_new=False) for item in chosen]

    def _golden_image(self, index: int) -> np.ndarray:
        """Return a golden image of the old package, with the channels of a camera's frame."""
        image = self.old.golden_image(index)
        return np.ascontiguousarray(image[:, :, 0]) if self.old.manifest.preprocess.color == "mono" else image

    def _array_files(self, manifest: Manifest, draft: Draft) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of the files that depend on all parts."""
        if manifest.search:
            yield manifest.search.file, encode_prototypes(self._prototypes(_main(self.old)))
        if manifest.matching and manifest.matching.bank and draft.matcher:
            yield manifest.matching.bank, encode_bank(draft.matcher.bank.records)
        if manifest.matching and manifest.matching.graph and draft.matcher:
            from partsight.runtime.matching.trace import matching_graph  # noqa: PLC0415 (it needs the package onnx)

            graph = matching_graph(manifest.matching.spec, draft.matcher.bank)
            yield manifest.matching.graph, graph.SerializeToString(deterministic=True)


def _before_enrolment(gate: Gate | None) -> Gate | None:
    """Return the result of export's gate, marked as older than the enrolment."""
    return None if gate is None else msgspec.structs.replace(gate, is_before_enrolment=True)


def _main(package: ModelPackage) -> Precision:
    """Return the precision of the network that computes embeddings."""
    return "fp32" if "fp32" in package.manifest.models else next(iter(package.manifest.models))
