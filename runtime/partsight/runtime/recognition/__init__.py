"""Frames in, parts out: `Recognizer`, its results and batches.

May import all rooms above it: `core`, `images`, `inference`, `matching`, `signing` and `package`.
"""

from partsight.runtime.recognition.batch import Preparer
from partsight.runtime.recognition.decision import Answer, decide, decide_matched
from partsight.runtime.recognition.recognizer import COMPARERS_TEXT, Recognizer
from partsight.runtime.recognition.results import Result, Stages
from partsight.runtime.recognition.threshold import SCORE_RANGES, threshold_warning

__all__ = [
    "COMPARERS_TEXT",
    "SCORE_RANGES",
    "Answer",
    "Preparer",
    "Recognizer",
    "Result",
    "Stages",
    "decide",
    "decide_matched",
    "threshold_warning",
]
