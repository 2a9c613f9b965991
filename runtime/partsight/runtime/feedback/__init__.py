"""What people said of answers: confirmed, corrected and discarded frames.

The folder of the sink `images:` holds the frames. A decision moves a frame into a subfolder, which other verbs read as
it is. May import `core`, `images` and `sinks`.
"""

from partsight.runtime.feedback.decisions import decide
from partsight.runtime.feedback.folder import Feedback, confirmed_frames, is_reviewed, read_feedback
from partsight.runtime.feedback.frame import KeptFrame, Verdict
from partsight.runtime.feedback.order import review_order
from partsight.runtime.feedback.summary import FeedbackSummary, Mistake, PartFeedback, summarize

__all__ = [
    "Feedback",
    "FeedbackSummary",
    "KeptFrame",
    "Mistake",
    "PartFeedback",
    "Verdict",
    "confirmed_frames",
    "decide",
    "is_reviewed",
    "read_feedback",
    "review_order",
    "summarize",
]
