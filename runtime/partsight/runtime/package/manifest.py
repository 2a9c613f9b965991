"""The manifest: everything that a model package says of itself, and the contract between export and runtime."""

from typing import Annotated, Any, Literal

import msgspec

from partsight.runtime.core import PackageError, sha256_bytes
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.matching import MAX_PX, MatchingSpec

SCHEMA_VERSION = 2
"""Version 1 compared frames by an earlier algorithm, and is read: see `_of_version_1`."""

METADATA_KEY = "partsight.manifest"
"""Key of the manifest in an ONNX file's metadata, so that the file alone can be used."""

Precision = Literal["fp32", "fp16", "int8"]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
MAX_LABELS = 1_000_000
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]

# The last member of the JSON: the SHA-256 of all that stands before it.
_DIGEST_START, _DIGEST_END = b',\n "sha256": "', b'"\n}'
_DIGITS = 64


class Decision(msgspec.Struct, frozen=True):
    """When a part counts as known.

    Attributes:
        score: what scores are: `cosine` in [-1, 1] or softmax `probability` in [0, 1] of the network, or `agreement` in
            (0, 1] of the frame with the golden image laid over it.
        threshold: a best score below it is answered "unknown".
        method: how the threshold was found.
        samples: how many varied golden images it was found on.
        expected_false_reject: share of frames of taught parts that will be refused, as estimated on those.
        expected_false_accept: share of frames of parts never taught that will be given a label, as estimated by
            leaving each of those parts out in turn; None where it was not.
        taught_scores, unknown_scores: Quantiles of the best scores of those images, with all parts to choose from and
            with their own part left out: the lowest, and the scores below which equal shares lie, to the highest.
            They tell what another threshold costs. Enrolment keeps those of training. Empty in a package of an earlier
            partsight.
    """

    score: Literal["cosine", "probability", "agreement"]
    threshold: float
    method: str
    samples: Count
    expected_false_reject: Share
    expected_false_accept: Share | None = None
    taught_scores: tuple[float, ...] = ()
    unknown_scores: tuple[float, ...] = ()


class Matching(msgspec.Struct, frozen=True):
    """The second stage: frames are compared with golden images.

    Attributes:
        spec: how they are compared.
        decision: on the agreement, in place of that on the network's score.
        references: the golden images in the package, one for each label, in order.
        bank: file with what matching needs of them and of further references; None in a package of schema version 1,
            whose bank is computed while it is loaded.
        graph: file with the algorithm as an ONNX graph, for cards and other languages; None where there is none.
    """

    spec: MatchingSpec
    decision: Decision
    references: tuple[str, ...]
    bank: str | None = None
    graph: str | None = None


class Search(msgspec.Struct, frozen=True):
    """How scores are found among very many parts: the network gives their bounds, a file has the prototypes.

    Attributes:
        file: its name in the package.
    """

    file: str


class Parity(msgspec.Struct, frozen=True):
    """How the exported graph compared with Keras over the catalogue, from image file to label."""

    images: Count
    labels_equal: Count
    max_score_difference: float
    top1_accuracy: Share


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """How a model of lower precision compared with FP32, over golden images and over varied frames of them.

    Attributes:
        images, varied: how many frames of each kind.
        agreement, varied_agreement: share of them that get the answer of FP32: of the second stage, "unknown" among
            them, where the package has one; else the network's best label, whether accepted or not.
        least_agreement: what both had to reach.
        mean_score_drift, max_score_drift: absolute difference of scores, over all frames and classes.
        network_agreement: share of varied frames with FP32's best label of the network alone; None where there is no
            second stage.
        in_shortlist: share of varied frames whose best part of FP32 is among the network's best, as many as the second
            stage looks at; None where there is no second stage.
        kept: names of nodes that were found to lose too much and stayed FP32.
        calibration: how the ranges of quantised numbers were found; empty where nothing was quantised.
        calibration_frames: on how many frames they were.
        is_before_enrolment: parts were enrolled since, and it was not measured again.
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
        file: its name in the package.
        sha256: of its bytes.
        opset: ONNX operator set.
        affine_left: Mul and Add nodes that stand for BatchNormalization which no convolution could take in.
        parity: of FP32 with Keras, measured before the package was written; None for other precisions.
        gate: of other precisions with FP32, measured likewise; None for FP32.
    """

    file: str
    sha256: Sha256
    opset: int
    affine_left: Count
    parity: Parity | None = None
    gate: Gate | None = None


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What was changed without training again.

    Attributes:
        created: when, UTC.
        from_package: `package_id` of the package that was changed.
        from_keys: ids of the trusted keys that had signed that one; empty where no signature was demanded.
        added: labels, in the order in which they were appended.
        replaced: labels that kept their place and were given other golden images.
        removed: labels.
        images: SHA-256 of the image files that each added or replaced part was learned from.
    """

    created: str
    from_package: str
    from_keys: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    images: dict[str, tuple[Sha256, ...]] = {}


class Provenance(msgspec.Struct, frozen=True):
    """Where the package comes from: the training, and what was enrolled after it, earliest first."""

    created: str
    backbone: str
    backbone_weights: str
    head: str
    catalog_sha256: Sha256
    weights_sha256: Sha256
    golden_accuracy: Share
    versions: dict[str, str]
    enrolments: tuple[Enrolment, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a model package says of itself.

    Attributes:
        labels: in the order of the network's scores: sorted by training, then what was enrolled, appended.
        decision: on the network's score.
        matching: None where frames are not compared with golden images; so in the copy that an ONNX file's
            metadata holds, because the file brings no golden images.
        search: None where the network gives the scores; None in that copy, too.
        models: by precision; empty in that copy.
        refused: precisions that were asked for and not written, and why; empty in that copy.
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

    def without_files(self) -> "Manifest":
        """Return the copy that an ONNX file's metadata holds."""
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
            source: where it came from, for messages.

        Raises:
            PackageError: not JSON, damaged, of another schema version, or a field is missing or wrong.
        """
        _check_digest(data, source)
        try:
            version: Any = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version")
            found = None if version is None else msgspec.json.decode(version)
            if found not in (1, SCHEMA_VERSION):
                raise PackageError(
                    f"{source}: manifest of schema version {found}; this partsight reads versions 1 and "
                    f"{SCHEMA_VERSION}: install the partsight that made the package, or export it again with this one"
                )
            manifest = msgspec.json.decode(data, type=cls) if found == SCHEMA_VERSION else _of_version_1(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PackageError(
                f"{source}: the manifest cannot be read ({error}); the package is damaged, export it again"
            ) from error
        if not manifest.labels or len(set(manifest.labels)) != len(manifest.labels):
            raise PackageError(f"{source}: the manifest's labels are empty or not unique; export the package again")
        matching = manifest.matching
        if matching and len(matching.references) != len(manifest.labels):
            raise PackageError(
                f"{source}: the manifest names {len(matching.references)} references for {len(manifest.labels)} "
                "labels; expected one each: export the package again"
            )
        if matching:
            try:
                matching.spec.preprocess(manifest.preprocess)
            except ValueError as error:
                raise PackageError(
                    f"{source}: the manifest's preprocessing does not fit its references ({error}); "
                    "export the package again"
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
    """Read a manifest of schema version 1: its second stage was another algorithm on the same golden images.

    Agreement has the same scale, so that its threshold holds; how many parts are compared is what this version takes.
    """
    manifest = msgspec.json.decode(data, type=Manifest)
    old = msgspec.json.decode(data, type=_Manifest1).verification
    if old is None:
        return manifest
    height, width = (6 * max(6, round(side / 6)) for side in (old.spec.height, old.spec.width))
    matching = Matching(MatchingSpec(height=height, width=width), old.decision, old.references)
    return msgspec.structs.replace(manifest, matching=matching)


def _check_digest(data: bytes, source: str) -> None:
    """Refuse a manifest that is not the one that was written; one without a digest is let pass.

    A flipped bit in a label is a label, and the answer of a line. Against whoever changes a manifest on purpose a
    package is signed.
    """
    start = len(data) - len(_DIGEST_START) - _DIGITS - len(_DIGEST_END)
    digest = data[start + len(_DIGEST_START) : -len(_DIGEST_END)]
    if start < 0 or data != b"".join((data[:start], _DIGEST_START, digest, _DIGEST_END)):
        return
    found = sha256_bytes(data[:start])
    if found.encode() != digest:
        said = digest[:12].decode("ascii", "replace")
        raise PackageError(
            f"{source}: the manifest has SHA-256 {found[:12]}…, and says {said}…: it was damaged or altered after "
            "export; copy the package again or export it again"
        )
