"""Agreement: how well a frame agrees with a golden image that is laid over it, where both agree least.

A mean over the whole picture would hide a missing pin in a large tray, and a single point would be noise. So the worst
windows of the size of a pin decide. Each point's squared difference is divided by the square that noise, light and a
small misplacement explain there:

    excess = sum over channels of (frame / gain - golden)² / (tolerance_levels² + tolerance_px² slope²)

`slope` is the length of the golden image's gradient, in grey levels a pixel: a misplacement of t pixels changes an edge
by t slope levels. An excess of 1 a channel is as much as a controlled line explains. With w, the mean excess of the
worst 1 % of the windows, and the tilt that the pose needs, the agreement is 1 / (1 + sqrt(w tilt)): 1 for equal
pictures, 0.5 where the worst windows differ by just the tolerance.
"""

from typing import TYPE_CHECKING, Any

from partsight.runtime.matching.alignment import gain_of
from partsight.runtime.matching.layout import Layout
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.parallax import Parallax
from partsight.runtime.matching.poses import Places, Poses
from partsight.runtime.matching.spec import MatchingSpec

if TYPE_CHECKING:
    from partsight.runtime.matching.bank import Bank

_WORST_SHARE = 0.01  # share of the windows that decide

_TILT_BY_TURN = 0.25
"""Shear and stretch of a part that is turned by a radian. A camera that looks down at an angle shortens the picture
along the view, so it sees a turned part sheared and stretched, by up to half the turn at 50°."""


def agree(
    colour: Any,
    candidates: Any,
    poses: Poses,
    parallax: Parallax,
    bank: "Bank",
    spec: MatchingSpec,
    ops: ArrayOperations,
) -> Any:
    """Return the agreement of frames with golden images, (frames, candidates) in (0, 1].

    Args:
        colour: Blue, green and red of the frames, at full size.
        candidates: Rows of the bank, (frames, candidates).
        poses: Poses of the candidates.
        parallax: Parallax of the candidates.
        bank: Bank of references.
        spec: Size and tolerances.
        ops: Array operations.
    """
    layout = Layout.of(spec.size_hw)
    found = excess(colour, candidates, parallax.places(poses, layout.judged, ops), bank, spec, ops)
    windows = ops.window_means(found.reshape(-1, candidates.shape[1], *layout.judged.shape), layout.spot)
    # Divided by 3 channels.
    worst = ops.largest_mean(windows, max(1, round(windows.shape[2] * _WORST_SHARE))) / 3
    # A part that is tilted shears and stretches a little, and more if it is turned as well; see `_TILT_BY_TURN`. A pose
    # that needs more than that agrees less.
    tolerance = poses.angle * poses.angle * _TILT_BY_TURN**2 + spec.tolerance_tilt**2
    tilt = (poses.shear * poses.shear + poses.stretch * poses.stretch) / tolerance + 1
    return 1 / (ops.sqrt(worst * tilt) + 1)


def excess(colour: Any, candidates: Any, places: Places, bank: "Bank", spec: MatchingSpec, ops: ArrayOperations) -> Any:
    """Return the squared differences in squared tolerances, summed over channels, (frames, candidates, points).

    Args:
        colour: Blue, green and red of the frames, at full size.
        candidates: Rows of the bank, (frames, candidates).
        places: Places in the frames of the points of `Layout.judged`.
        bank: Bank of references.
        spec: Tolerances.
        ops: Array operations.
    """
    # Shapes: rest and golden (3, frames, candidates, points), tolerance and excess (frames, candidates, points). Most
    # steps are in place: memory, not arithmetic, limits the speed.
    rest = ops.sample(colour, places)[:3]
    golden = ops.take_planes(bank.image, candidates)
    # One gain a channel and no offset: an offset as well would let a red part on a grey tray pass for a blue one.
    rest /= gain_of(ops.dot(rest, golden), ops.take_planes(bank.squares, candidates), ops)[..., None]
    rest -= golden
    rest *= rest
    tolerance = ops.take(bank.slope, candidates)
    tolerance *= tolerance
    tolerance *= spec.tolerance_px**2
    tolerance += spec.tolerance_levels**2
    summed = ops.sum(rest, 0)
    summed /= tolerance
    return summed
