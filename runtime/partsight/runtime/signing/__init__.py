"""The maker of a package: keys, the signature file, and the keys that this machine trusts.

May import `core`.
"""

from partsight.runtime.signing.keys import PUBLIC_SUFFIX, PrivateKey, PublicKey, generate_key
from partsight.runtime.signing.signature import Demand, add_signature, check_signatures, read_signatures
from partsight.runtime.signing.trust import KeyLike, check_cache, find_demands, machine_demand, read_keys

__all__ = [
    "PUBLIC_SUFFIX",
    "Demand",
    "KeyLike",
    "PrivateKey",
    "PublicKey",
    "add_signature",
    "check_cache",
    "check_signatures",
    "find_demands",
    "generate_key",
    "machine_demand",
    "read_keys",
    "read_signatures",
]
