"""What travels: the folder `NAME.partsight`, its manifest, networks, bank and golden images.

May import `core`, `images`, `inference`, `matching` and `signing`.
"""

from partsight.runtime.package.digest import DIGEST_KEY, check_digest, with_digest
from partsight.runtime.package.gallery import decode_reference, encode_reference, resized
from partsight.runtime.package.manifest import (
    METADATA_KEY,
    SCHEMA_VERSION,
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
from partsight.runtime.package.sign import sign_package

__all__ = [
    "DIGEST_KEY",
    "MAX_MANIFEST_BYTES",
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "Decision",
    "Enrolment",
    "Gate",
    "Manifest",
    "Matching",
    "ModelFile",
    "ModelPackage",
    "Parity",
    "Precision",
    "Provenance",
    "Search",
    "Share",
    "check_digest",
    "check_onnx",
    "decode_reference",
    "encode_reference",
    "package_id_of",
    "resized",
    "sign_package",
    "with_digest",
]
