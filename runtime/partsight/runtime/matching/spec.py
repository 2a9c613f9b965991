"""The specification of matching: size of references, numbers of candidates, tolerances; the manifest holds it."""

from typing import Annotated

import msgspec

from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec

MAX_PX = 192
"""Longest side of references: enough for the pitch of a pin."""

_MULTIPLE_PX, _MIN_BLOCKS = 6, 6  # sides of references are multiples of 6 px, at least 36 px

# OpenCV samples at most 32,767 rows at once: 8 frames with 128 candidates of 30 rows, or with 16 finalists of 120.
Candidates = Annotated[int, msgspec.Meta(ge=1, le=64)]
CandidatesOrNone = Annotated[int, msgspec.Meta(ge=0, le=64)]
Finalists = Annotated[int, msgspec.Meta(ge=1, le=16)]
Positive = Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]  # so that its square is finite and not 0
Side = Annotated[int, msgspec.Meta(ge=36, le=MAX_PX, multiple_of=6)]


class MatchingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Specification of matching.

    Attributes:
        height, width: Size of references in pixels; multiples of 6, so that coarser levels are means of whole blocks.
        by_thumbnail: Number of candidates for each frame by thumbnails of all references; 0 in packages of very many
            parts.
        by_network: Number of candidates for each frame by the network's score.
        finalists: Number of parts that a frame is compared with at full resolution.
        tolerance_levels: Difference that noise and light explain, of 255 grey levels.
        tolerance_px: Misplacement of an edge that pose and blur explain, in pixels of a reference.
        tolerance_tilt: Stretch and shear of a tilted part under a camera that looks down at an angle, as a share.
        least_margin: Smallest lead of the best agreement over the second, as a share of the best; with less, two golden
            images fit equally well.
    """

    height: Side
    width: Side
    by_thumbnail: CandidatesOrNone = 16
    by_network: Candidates = 4
    finalists: Finalists = 4
    tolerance_levels: Positive = 6.0
    tolerance_px: Positive = 0.3
    tolerance_tilt: Positive = 0.018
    least_margin: Annotated[float, msgspec.Meta(ge=0)] = 0.1

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the references."""
        return self.height, self.width

    def preprocess(self, spec: PreprocessSpec) -> PreprocessSpec:
        """Return the preprocessing of frames for matching: the network's, at the size of the references."""
        return msgspec.structs.replace(spec, height=self.height, width=self.width)


class Rule(msgspec.Struct, frozen=True):
    """The least agreement that a frame needs for a label.

    A large margin and a network that names the same part are evidence, too, so such a frame may need less agreement:
    `threshold - by_margin * margin - by_network * lead`. This is the boundary of a logistic regression on agreement,
    margin and lead, solved for the agreement.

    Attributes:
        threshold: Least agreement of a frame with margin 0 and lead 0.
        by_margin: Reduction for each unit of margin.
        by_network: Reduction for each unit of the network's lead; see `Matches.lead`.
    """

    threshold: float
    by_margin: float = 0.0
    by_network: float = 0.0


def matching_spec(golden: Pixels, spec: PreprocessSpec) -> MatchingSpec:
    """Return the specification for the shape that the network sees of a golden image.

    Height and width are multiples of 6, so that a third and a sixth of the size are means over whole blocks of pixels.

    Args:
        golden: Golden image, (height, width, 3) or (height, width) uint8.
        spec: Preprocessing of the network.
    """
    sides = (spec.region.height, spec.region.width) if spec.region else golden.shape[:2]
    scale = MAX_PX / max(sides)
    height, width = (_MULTIPLE_PX * max(_MIN_BLOCKS, round(side * scale / _MULTIPLE_PX)) for side in sides)
    return MatchingSpec(height=height, width=width)


def via_size(network: PreprocessSpec, matching: MatchingSpec) -> tuple[int, int]:
    """Return the (height, width) of `PreprocessSpec.via`, to which a frame is shrunk once for network and matching."""
    return max(network.height, matching.height), max(network.width, matching.width)
