"""A frame is laid over golden images and compared with them, a batch at a time.

`match` is the algorithm: `Matcher` runs it by NumPy and OpenCV, `matching.trace` (needs `onnx`) writes it as a
graph. The bank holds the prepared references. May import `core`, `images` and `inference`.
"""

from partsight.runtime.matching.appearance import Appearance, appearance_of
from partsight.runtime.matching.bank import BANK_FILE, Bank, decode_bank, encode_bank, prepare_all
from partsight.runtime.matching.graph import GRAPH_FILE, GraphMatcher
from partsight.runtime.matching.matcher import Matcher, Matches, match, usable_cores
from partsight.runtime.matching.spec import MAX_PX, MatchingSpec

__all__ = [
    "BANK_FILE",
    "GRAPH_FILE",
    "MAX_PX",
    "Appearance",
    "Bank",
    "GraphMatcher",
    "Matcher",
    "Matches",
    "MatchingSpec",
    "appearance_of",
    "decode_bank",
    "encode_bank",
    "match",
    "prepare_all",
    "usable_cores",
]
