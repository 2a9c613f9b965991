"""Who made a package: keys, signatures, and which keys this machine trusts.

May import `core`.
"""

from partsight.runtime.signing.keys import PUBLIC_SUFFIX, PrivateKey, PublicKey, generate_key
from partsight.runtime.signing.signature import (
    MAX_SIGNATURES,
    SIGNATURE_VERSION,
    Demand,
    Signature,
    SignatureFile,
    check_signatures,
    read_signatures,
)
from partsight.runtime.signing.trust import KeyLike, check_cache, find_demands, machine_demand, read_keys

__all__ = [
    "MAX_SIGNATURES",
    "PUBLIC_SUFFIX",
    "SIGNATURE_VERSION",
    "Demand",
    "KeyLike",
    "PrivateKey",
    "PublicKey",
    "Signature",
    "SignatureFile",
    "check_cache",
    "check_signatures",
    "find_demands",
    "generate_key",
    "machine_demand",
    "read_keys",
    "read_signatures",
]
