"""How frames are compared with golden images; travels with the package."""

from typing import Annotated

import msgspec

from partsight.runtime.images import PreprocessSpec

MAX_PX = 192
"""Longest side of references: enough for the pitch of a pin."""

# OpenCV writes at most 32,767 rows at once: of eight frames, 128 candidates of 30 rows or 16 finalists of 120.
Candidates = Annotated[int, msgspec.Meta(ge=1, le=64)]
CandidatesOrNone = Annotated[int, msgspec.Meta(ge=0, le=64)]
Finalists = Annotated[int, msgspec.Meta(ge=1, le=16)]
Positive = Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]  # its square is a number, and not 0
Side = Annotated[int, msgspec.Meta(ge=36, le=MAX_PX, multiple_of=6)]


class MatchingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How frames are compared with golden images; travels with the package.

    Attributes:
        height, width: of references, in pixels; multiples of 6, so that coarser levels are means of whole blocks.
        by_thumbnail: candidates a frame that thumbnails of all references name; 0 where there are too many of them.
        by_network: candidates a frame that the network names.
        finalists: parts that a frame is compared with at full resolution.
        tolerance_levels: difference that noise and light explain, of 255 grey levels.
        tolerance_px: misplacement of an edge that pose and blur explain, in pixels of a reference.
        tolerance_tilt: stretch and shear that a tilted part shows a camera that looks down at an angle, as a share.
        least_margin: by which the best agreement must lead the second: within it, two golden images fit equally well.
    """

    height: Side
    width: Side
    by_thumbnail: CandidatesOrNone = 16
    by_network: Candidates = 4
    finalists: Finalists = 4
    tolerance_levels: Positive = 6.0
    tolerance_px: Positive = 0.3
    tolerance_tilt: Positive = 0.018
    least_margin: Annotated[float, msgspec.Meta(ge=0)] = 0.04

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the references."""
        return self.height, self.width

    def preprocess(self, spec: PreprocessSpec) -> PreprocessSpec:
        """Return the preprocessing of frames for the comparison: that of the network, at the references' size."""
        return msgspec.structs.replace(spec, height=self.height, width=self.width)
