"""The manifest: all facts about a model package in one JSON file, and the contract between export and runtime."""

from typing import Annotated, Any, Literal

import msgspec

from partsight.runtime.core import PackageError, sha256_bytes
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.matching import MAX_PX, MatchingSpec, Rule

SCHEMA_VERSION = 3
"""Versions 1 and 2 belong to earlier comparisons; `_OLD` reads them. Their references are prepared at each start."""

METADATA_KEY = "partsight.manifest"
"""Key of the manifest in an ONNX file's metadata, which makes the file usable without its package."""

Precision = Literal["fp32", "fp16", "int8"]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
MAX_LABELS = 1_000_000
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]

# The last member of the JSON: the SHA-256 of all bytes before it.
_DIGEST_START, _DIGEST_END = b',\n "sha256": "', b'"\n}'
_DIGITS = 64


class Decision(msgspec.Struct, frozen=True):
    """The threshold on the best score, and its expected errors.

    Attributes:
        score: Kind of score: the network's `cosine` in [-1, 1] or softmax `probability` in [0, 1], or the `agreement`
            in (0, 1] of a frame with the golden image laid over it.
        threshold: Threshold: the answer is "unknown" if the best score is below it.
        method: Method by which the threshold was found.
        samples: Number of varied golden images on which it was found.
        expected_false_reject: Expected share of frames of taught parts that get no label, estimated on these images.
        expected_false_accept: Expected share of frames of parts never taught that get a label, estimated by leaving
            each part out in turn; None if it was not estimated.
        taught_scores, unknown_scores: Quantiles of the best scores of these images at equal shares, from the lowest
            score to the highest: with all parts, and with the image's own part left out. They show the cost of another
            threshold. Enrolment keeps the quantiles of training. Empty in a package of an earlier partsight.
        by_margin, by_network: Reduction of the threshold for each unit of margin, and of the network's lead; see
            `matching.Rule`. Commissioning finds them; 0 without it.
    """

    score: Literal["cosine", "probability", "agreement"]
    threshold: float
    method: str
    samples: Count
    expected_false_reject: Share
    expected_false_accept: Share | None = None
    taught_scores: tuple[float, ...] = ()
    unknown_scores: tuple[float, ...] = ()
    by_margin: float = 0.0
    by_network: float = 0.0

    @property
    def rule(self) -> Rule:
        """The least agreement that a frame needs."""
        return Rule(self.threshold, self.by_margin, self.by_network)


class Matching(msgspec.Struct, frozen=True):
    """The second stage: the comparison of frames with golden images.

    Attributes:
        spec: Settings of the comparison.
        decision: Decision on the agreement; it replaces the decision on the network's score.
        references: Files of the golden images in the package, one for each label, in order.
        bank: File with the prepared references; None in a package of an earlier schema version, whose references each
            start prepares from the golden images.
        graph: File with the comparison as an ONNX graph, for cards and other languages; None if there is none.
        further: Files of further references of parts that have several, by label, in the order of the bank.
    """

    spec: MatchingSpec
    decision: Decision
    references: tuple[str, ...]
    bank: str | None = None
    graph: str | None = None
    further: dict[Label, tuple[str, ...]] = {}


class Search(msgspec.Struct, frozen=True):
    """The search for the best scores of very many parts: the network gives bounds, a file holds the prototypes.

    Attributes:
        file: Name of the prototype file in the package.
    """

    file: str


class Parity(msgspec.Struct, frozen=True):
    """Comparison of the exported graph with the Keras model over the catalogue, from image file to label."""

    images: Count
    labels_equal: Count
    max_score_difference: float
    top1_accuracy: Share


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of a model of lower precision with FP32, over golden images and varied frames of them.

    Attributes:
        images, varied: Number of golden images, and of varied frames.
        agreement, varied_agreement: Share of them with the answer of FP32. With a second stage this is its answer,
            which may be "unknown"; else it is the network's best label, accepted or not.
        least_agreement: Share that both had to reach.
        mean_score_drift, max_score_drift: Absolute difference of scores, over all frames and classes.
        network_agreement: Share of varied frames for which the network alone has the best label of FP32; None without
            a second stage.
        in_shortlist: Share of varied frames whose best part of FP32 is among the candidates that the network gives to
            the second stage; None without a second stage.
        kept: Names of nodes that stayed FP32, because they lose too much in lower precision.
        calibration: Method that found the ranges of quantised numbers; empty if nothing is quantised.
        calibration_frames: Number of frames for it.
        is_before_enrolment: Whether parts were enrolled later, without a new comparison.
    """

    images: Count
    varied: Count
    agreement: Share
    varied_agreement: Share
    least_agreement: Share
    mean_score_drift: float
    max_score_drift: float
    network_agreement: Share | None = None
    in_shortlist: Share | None = None
    kept: tuple[str, ...] = ()
    calibration: str = ""
    calibration_frames: Count = 0
    is_before_enrolment: bool = False


class ModelFile(msgspec.Struct, frozen=True):
    """One ONNX file of the package.

    Attributes:
        file: Name of the file in the package.
        sha256: SHA-256 of its bytes.
        opset: ONNX operator set.
        affine_left: Number of Mul and Add nodes left of BatchNormalization that no convolution could absorb.
        parity: Comparison of FP32 with Keras, before the package was written; None for other precisions.
        gate: Comparison with FP32, before the package was written; None for FP32.
    """

    file: str
    sha256: Sha256
    opset: int
    affine_left: Count
    parity: Parity | None = None
    gate: Gate | None = None


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a package's parts without a new training.

    Attributes:
        created: Time of the change, UTC.
        from_package: `package_id` of the package before the change.
        from_keys: Ids of the trusted keys that had signed that package; empty if no signature was demanded.
        added: Added labels, in the order of the new package.
        replaced: Labels that kept their index and got new golden images.
        removed: Removed labels.
        images: SHA-256 of the image files of each added or replaced part, by its label.
    """

    created: str
    from_package: str
    from_keys: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    images: dict[str, tuple[Sha256, ...]] = {}


class Commissioning(msgspec.Struct, frozen=True, kw_only=True):
    """A fit of the comparison to frames of the line.

    Attributes:
        created: Time of the change, UTC.
        from_package: `package_id` of the package before the change.
        from_keys: Ids of the trusted keys that had signed that package; empty if no signature was demanded.
        frames: Number of frames of taught parts that were used.
        unknown_frames: Number of frames of parts that are not taught.
        is_confirmed: Whether a person named the part of each frame.
        frames_sha256: SHA-256 over the sorted SHA-256 sums of all their files.
        further: Number of further references that were added, by label.
        spec_before, decision_before: Settings and decision of the comparison before the change.
    """

    created: str
    from_package: str
    from_keys: tuple[str, ...] = ()
    frames: Count
    unknown_frames: Count = 0
    is_confirmed: bool = True
    frames_sha256: Sha256
    further: dict[Label, Count] = {}
    spec_before: MatchingSpec
    decision_before: Decision


class Provenance(msgspec.Struct, frozen=True):
    """Origin of the package: the training, and the enrolments and commissionings after it, earliest first."""

    created: str
    backbone: str
    backbone_weights: str
    head: str
    catalog_sha256: Sha256
    weights_sha256: Sha256
    golden_accuracy: Share
    versions: dict[str, str]
    enrolments: tuple[Enrolment, ...] = ()
    commissionings: tuple[Commissioning, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All facts about a model package.

    An ONNX file's metadata holds a copy without the package's files: there `matching` and `search` are None, and
    `models`, `refused` and `files` are empty.

    Attributes:
        labels: Labels in the order of the network's scores: sorted by training, then enrolled labels appended.
        decision: Decision on the network's score.
        matching: Second stage; None if frames are not compared with golden images.
        search: Search file; None if the network gives the scores.
        models: ONNX files by precision.
        refused: Reason for each requested precision that export did not write.
        files: SHA-256 of every other file in the package, by its path with forward slashes.
    """

    schema_version: int
    labels: Annotated[tuple[Label, ...], msgspec.Meta(max_length=MAX_LABELS)]
    preprocess: PreprocessSpec
    decision: Decision
    provenance: Provenance
    matching: Matching | None = None
    search: Search | None = None
    models: dict[Precision, ModelFile] = {}
    refused: dict[Precision, str] = {}
    files: dict[str, Sha256] = {}

    def reference_files(self, index: int) -> tuple[str, ...]:
        """Return the files of a part's references: its golden image, then its further references.

        Args:
            index: Index of the part's label.

        Returns:
            No file if frames are not compared with golden images.
        """
        if self.matching is None:
            return ()
        return (self.matching.references[index], *self.matching.further.get(self.labels[index], ()))

    def without_files(self) -> "Manifest":
        """Return the copy for an ONNX file's metadata."""
        return msgspec.structs.replace(self, matching=None, search=None, models={}, refused={}, files={})

    def to_json(self) -> bytes:
        """Return the manifest as indented JSON in UTF-8, with a digest of itself."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=1).removesuffix(b"\n}")
        return b"".join((text, _DIGEST_START, sha256_bytes(text).encode(), _DIGEST_END))

    @classmethod
    def from_json(cls, data: bytes, source: str) -> "Manifest":
        """Parse a manifest.

        Args:
            data: JSON in UTF-8.
            source: Path of the package or file, for messages.

        Raises:
            PackageError: the manifest is damaged or has another schema version, or a field is missing or wrong.
        """
        _check_digest(data, source)
        try:
            version: Any = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version")
            found = None if version is None else msgspec.json.decode(version)
            if found not in (1, 2, SCHEMA_VERSION):
                raise PackageError(
                    f"{source}: the manifest has schema version {found}; expected 1 to {SCHEMA_VERSION}: install the "
                    "partsight that made the package, or export the package again with this one"
                )
            manifest = _OLD[found](data) if found in _OLD else msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PackageError(f"{source}: the manifest is damaged ({error}); export the package again") from error
        if not manifest.labels or len(set(manifest.labels)) != len(manifest.labels):
            raise PackageError(f"{source}: the manifest has no labels, or one twice; export the package again")
        matching = manifest.matching
        if matching and len(matching.references) != len(manifest.labels):
            raise PackageError(
                f"{source}: the manifest names {len(matching.references)} golden images for {len(manifest.labels)} "
                "labels; expected one for each label: export the package again"
            )
        if matching:
            unknown = matching.further.keys() - set(manifest.labels)
            if unknown:
                raise PackageError(
                    f"{source}: the manifest names further references of {min(unknown)!r}, which is not among its "
                    "labels; export the package again"
                )
            try:
                matching.spec.preprocess(manifest.preprocess)
            except ValueError as error:
                raise PackageError(
                    f"{source}: the manifest's preprocessing does not fit its golden images ({error}); export the "
                    "package again"
                ) from error
        return manifest


class _Size(msgspec.Struct):
    height: Annotated[int, msgspec.Meta(ge=32, le=MAX_PX)]
    width: Annotated[int, msgspec.Meta(ge=32, le=MAX_PX)]


class _Matching1(msgspec.Struct):
    spec: _Size
    decision: Decision
    references: tuple[str, ...]


class _Manifest1(msgspec.Struct):
    verification: _Matching1 | None = None


def _of_version_1(data: bytes) -> Manifest:
    """Read a manifest of schema version 1, whose second stage was another algorithm on the same golden images.

    The agreement has the same scale, so the old threshold holds. The numbers of candidates are the defaults of
    `MatchingSpec`. Its grid needs sides that are multiples of 6 px: each old side is rounded to the nearest one.
    """
    manifest = msgspec.json.decode(data, type=Manifest)
    old = msgspec.json.decode(data, type=_Manifest1).verification
    if old is None:
        return manifest
    height, width = (6 * max(6, round(side / 6)) for side in (old.spec.height, old.spec.width))
    matching = Matching(MatchingSpec(height=height, width=width), old.decision, old.references)
    return msgspec.structs.replace(manifest, matching=matching)


def _of_version_2(data: bytes) -> Manifest:
    """Read a manifest of schema version 2, whose bank and graph belong to an earlier comparison.

    Its least margin was no share of the agreement: the default replaces it.
    """
    manifest = msgspec.json.decode(data, type=Manifest)
    if manifest.matching is None:
        return manifest
    old = manifest.matching.spec
    spec = msgspec.structs.replace(old, least_margin=MatchingSpec(height=old.height, width=old.width).least_margin)
    matching = msgspec.structs.replace(manifest.matching, spec=spec, bank=None, graph=None)
    return msgspec.structs.replace(manifest, matching=matching)


_OLD = {1: _of_version_1, 2: _of_version_2}


def _check_digest(data: bytes, source: str) -> None:
    """Refuse a manifest that differs from its digest; a manifest without a digest passes.

    A flipped bit in a label would give another valid label. The digest does not protect against an attacker: the
    signature of the package does.
    """
    start = len(data) - len(_DIGEST_START) - _DIGITS - len(_DIGEST_END)
    digest = data[start + len(_DIGEST_START) : -len(_DIGEST_END)]
    if start < 0 or data != b"".join((data[:start], _DIGEST_START, digest, _DIGEST_END)):
        return
    found = sha256_bytes(data[:start])
    if found.encode() != digest:
        claimed = digest[:12].decode("ascii", "replace")
        raise PackageError(
            f"{source}: the manifest has SHA-256 {found[:12]}…, its end says {claimed}…: the manifest was damaged or "
            "altered after export; copy the package again, or export it again"
        )
