"""Explanations of results, on demand."""

from partsight.runtime.line import Line
from partsight.runtime.page.recent_results import RecentResults
from partsight.runtime.page.reviews import Reviews


class Explainer:
    """Explains one result at a time, and keeps the last explanations."""

    def __init__(self, line: Line, recent: RecentResults, reviews: Reviews | None) -> None:
        """Take the places where a result's frame may be."""
