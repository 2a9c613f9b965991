"""The reason for an answer in a person's language: sentences, directions, poses and numbers."""

from dataclasses import dataclass

from partsight.runtime.matching import PartPose, Spot
from partsight.runtime.page.web.messages import Messages
from partsight.runtime.recognition import Explanation

_APART, _TOGETHER = "\u2068", "\u2069"
"""Marks around a label in a sentence: text from right to left in it leaves the rest of the sentence in order."""

_CLEAR = 1.05  # tolerances; people read fewer as "1.0 times the tolerance", which sounds like no reason


@dataclass(frozen=True)
class ReasonWords:
    """Words about results in one language."""

    messages: Messages

    def sentences(self, why: Explanation) -> list[str]:
        """Return the reason for an answer, the main point first."""
        return {
            "recognised": self._recognised,
            "agrees_with_none": self._agrees_with_none,
            "two_parts_fit": self._two_parts_fit,
        }[why.answer.reason](why)

    def number(self, value: float, digits: int = 2) -> str:
        """Return a number as people of the language write it."""
        return self.messages.number(value, digits)

    def pose(self, pose: PartPose) -> list[str]:
        """Return shift, turn and distortion of a part, compared with its golden image."""
        across, down = 100 * pose.shift_x, 100 * pose.shift_y
        text = self.messages.text
        turn = text("why.clockwise" if pose.turn_deg >= 0 else "why.anticlockwise")
        return [
            text(
                "why.pose_shift",
                across=self.number(abs(across), 1),
                side=text("why.to_right" if across >= 0 else "why.to_left"),
                down=self.number(abs(down), 1),
                height=text("why.down" if down >= 0 else "why.up"),
            ),
            text("why.pose_turn", degrees=self.number(abs(pose.turn_deg), 1), direction=turn),
            text("why.pose_distortion", percent=self.number(100 * pose.distortion, 1)),
        ]

    def spot(self, spot: Spot) -> str:
        """Return where two pictures differ most, and how much."""
        return self.messages.text("why.spot", where=self.where(spot), times=self.number(spot.tolerances, 1))

    def where(self, spot: Spot) -> str:
        """Return the direction of a spot from the centre."""
        return self.messages.text(f"why.where_{spot.where.replace(' ', '_')}")

    def time(self, timestamp: float) -> str:
        """Return seconds since 1970 as local time."""
        return self.messages.time(timestamp)

    def _recognised(self, why: Explanation) -> list[str]:
        if why.runner_up_label is None:
            return [self._of_best("why.agrees", why), self.messages.text("why.no_next_part")]
        behind = self.number(why.answer.margin)
        next_part = self.messages.text("why.next_part", label=isolated(why.runner_up_label), margin=behind)
        return [self._of_best("why.agrees", why), next_part]

    def _agrees_with_none(self, why: Explanation) -> list[str]:
        if why.best is None:
            return [self._of_best("why.score_too_low", why)]
        spot, percent = why.best.spot, self.number(100 * why.best.pose.distortion, 1)
        if why.is_refused_by_pose:
            times = self.number(spot.tolerances, 1)
            cause = self.messages.text("why.by_pose", percent=percent, where=self.where(spot), times=times)
        else:
            cause = self.messages.text("why.differs_little") if spot.tolerances < _CLEAR else self.spot(spot)
        return [
            f"{self.messages.text('why.agrees_with_none')} {cause}",
            self._of_best("why.nearest_needs", why),
        ]

    def _two_parts_fit(self, why: Explanation) -> list[str]:
        answer, text = why.answer, self.messages.text
        lead, least_lead = self.messages.against(answer.margin, answer.least_margin)
        said = [
            text(
                "why.two_parts_fit",
                label=isolated(why.best_label),
                score=self.number(answer.score),
                other=isolated(why.runner_up_label or ""),
                other_score=self.number(answer.score - answer.margin),
            ),
            text("why.lead", lead=lead, least_lead=least_lead),
        ]
        if why.pair is not None:
            spot = why.pair.spot
            key = "why.pair_differs" if spot.tolerances >= 1 else "why.pair_hardly_differs"
            said.append(text(key, where=self.where(spot), times=self.number(spot.tolerances, 1)))
        return said

    def _of_best(self, key: str, why: Explanation) -> str:
        score, needed = self.messages.against(why.answer.score, why.answer.threshold)
        return self.messages.text(key, label=isolated(why.best_label), score=score, needed=needed)


def isolated(label: str) -> str:
    """Return a label for the middle of a sentence."""
    return f"{_APART}{label}{_TOGETHER}"
