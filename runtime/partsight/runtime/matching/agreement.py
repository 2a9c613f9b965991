"""Agreement: how well a frame agrees with a golden image laid over it, where they agree least."""

from typing import TYPE_CHECKING, Any

from partsight.runtime.matching.alignment import gain_of
from partsight.runtime.matching.layout import Layout
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.spec import MatchingSpec

if TYPE_CHECKING:
    from partsight.runtime.matching.bank import Bank

_WORST_SHARE = 0.01  # of the windows


def agree(
    colour: Any, candidates: Any, poses: Poses, bank: "Bank", spec: MatchingSpec, layout: Layout, ops: ArrayOperations
) -> Any:
    """Return the agreement of frames with golden images, (frames, candidates) in (0, 1].

    The mean over all points would drown a missing pin in a large tray, a single point would be noise: the windows count
    that differ most, in multiples of what noise, light and misplacement explain.

    Args:
        colour: the frames' blue, green and red level.
        candidates: rows of the bank, (frames, candidates).
        poses: where they lie.
        bank: of references.
        spec: what is tolerated.
        layout: of references.
        ops: to compute with.
    """
    rest = ops.sample(colour, poses.places(layout.judged, ops))[:3]
    golden = ops.take_planes(bank.image, candidates)
    # Gain only: with an offset as well, a red part on a grey tray could be taken for a blue one.
    rest /= gain_of(ops.dot(rest, golden), ops.take_planes(bank.squares, candidates), ops)[..., None]
    rest -= golden
    rest *= rest
    tolerance = ops.take(bank.slope, candidates)
    tolerance *= tolerance
    tolerance *= spec.tolerance_px**2
    tolerance += spec.tolerance_levels**2
    excess = ops.sum(rest, 0)
    excess /= tolerance
    windows = ops.window_means(excess.reshape(-1, candidates.shape[1], *layout.judged.shape), layout.spot)
    worst = ops.largest_mean(windows, max(1, round(windows.shape[2] * _WORST_SHARE))) / 3
    tilt = (poses.shear * poses.shear + poses.stretch * poses.stretch) / spec.tolerance_tilt**2 + 1
    return 1 / (ops.sqrt(worst * tilt) + 1)
