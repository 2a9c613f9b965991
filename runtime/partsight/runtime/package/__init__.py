"""The model package: the folder `NAME.partsight` with its manifest, networks, bank and golden images.

May import `core`, `images`, `matching` and `signing`.
"""

from partsight.runtime.package.digest import DIGEST_KEY, check_digest, with_digest
from partsight.runtime.package.gallery import (
    Gallery,
    decode_golden_image,
    prepare_gallery,
    resized,
)
from partsight.runtime.package.manifest import (
    METADATA_KEY,
    SCHEMA_VERSION,
    Commissioning,
    Decision,
    Enrolment,
    Gate,
    Manifest,
    Matching,
    ModelFile,
    Parity,
    Precision,
    Provenance,
    Search,
    Share,
)
from partsight.runtime.package.onnx_file import check_onnx
from partsight.runtime.package.package import MAX_MANIFEST_BYTES, ModelPackage, package_id_of
from partsight.runtime.package.references import (
    References,
    add_references,
    lost_references,
    merge_records,
    unused_names,
)
from partsight.runtime.package.sign import sign_package

__all__ = [
    "DIGEST_KEY",
    "MAX_MANIFEST_BYTES",
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "Commissioning",
    "Decision",
    "Enrolment",
    "Gallery",
    "Gate",
    "Manifest",
    "Matching",
    "ModelFile",
    "ModelPackage",
    "Parity",
    "Precision",
    "Provenance",
    "References",
    "Search",
    "Share",
    "add_references",
    "check_digest",
    "check_onnx",
    "decode_golden_image",
    "lost_references",
    "merge_records",
    "package_id_of",
    "prepare_gallery",
    "resized",
    "sign_package",
    "unused_names",
    "with_digest",
]
