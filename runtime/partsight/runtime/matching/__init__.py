"""Golden images are laid over a frame and compared with it, a batch at a time.

`match` is the algorithm: `Matcher` runs it by NumPy and OpenCV, `matching.trace` (needs `onnx`) writes it as a graph.
The bank holds the prepared references. May import `core`, `images` and `inference`.
"""

from partsight.runtime.matching.appearance import Appearance, appearance_of
from partsight.runtime.matching.bank import BANK_FILE, Bank, decode_bank, encode_bank
from partsight.runtime.matching.explanation import Overlay, Spot, compare_golden_images, lay_over, worst_spots
from partsight.runtime.matching.graph_matcher import GRAPH_FILE, GraphMatcher
from partsight.runtime.matching.matcher import Matcher, Matches, joined, lead_of, match, usable_cores
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import PartPose
from partsight.runtime.matching.preparation import prepare_all
from partsight.runtime.matching.spec import MAX_PX, MatchingSpec, Rule, matching_spec, via_size

__all__ = [
    "BANK_FILE",
    "GRAPH_FILE",
    "MAX_PX",
    "Appearance",
    "ArrayOperations",
    "Bank",
    "GraphMatcher",
    "Matcher",
    "Matches",
    "MatchingSpec",
    "Overlay",
    "PartPose",
    "Rule",
    "Spot",
    "appearance_of",
    "compare_golden_images",
    "decode_bank",
    "encode_bank",
    "joined",
    "lay_over",
    "lead_of",
    "match",
    "matching_spec",
    "prepare_all",
    "usable_cores",
    "via_size",
    "worst_spots",
]
