"""Matching: a frame is laid over golden images and compared with them, a batch at a time.

`Matcher` answers batches by NumPy and OpenCV. `match` is the algorithm, which `matching.trace` writes as a graph. The
bank holds what it needs of each reference.
"""

from partsight.runtime.matching.bank import BANK_FILE, Bank, decode_bank, encode_bank, prepare_all
from partsight.runtime.matching.graph import GRAPH_FILE, GraphMatcher
from partsight.runtime.matching.matcher import Matcher, Matches, match
from partsight.runtime.matching.spec import LONGEST_PX, MatchingSpec

__all__ = [
    "BANK_FILE",
    "GRAPH_FILE",
    "LONGEST_PX",
    "Bank",
    "GraphMatcher",
    "Matcher",
    "Matches",
    "MatchingSpec",
    "decode_bank",
    "encode_bank",
    "match",
    "prepare_all",
]
