"""Frames in, parts out: `Recognizer`, its results and batches.

May import `core`, `images`, `inference`, `matching`, `signing` and `package`.
"""

from partsight.runtime.matching import PartPose
from partsight.runtime.recognition.explanation import Explanation, explain
from partsight.runtime.recognition.loading import load_search
from partsight.runtime.recognition.matching_stage import MatchingStage, load_bank
from partsight.runtime.recognition.micro_batcher import MicroBatcher
from partsight.runtime.recognition.picture import draw_explanation, draw_overlay
from partsight.runtime.recognition.preparer import Preparer
from partsight.runtime.recognition.recognizer import Recognizer
from partsight.runtime.recognition.remote import check_provider
from partsight.runtime.recognition.results import (
    REASONS,
    Answer,
    Reason,
    Result,
    ScoredLabel,
    Stages,
    decide,
    decide_matched,
)
from partsight.runtime.recognition.started_batch import StartedBatch
from partsight.runtime.recognition.tensors import ANSWER_TENSORS, MAX_TOP, NETWORK_SCORE, AnswerCodec, TensorSpec
from partsight.runtime.recognition.threshold import SCORE_RANGES, threshold_warning

__all__ = [
    "ANSWER_TENSORS",
    "MAX_TOP",
    "NETWORK_SCORE",
    "REASONS",
    "SCORE_RANGES",
    "Answer",
    "AnswerCodec",
    "Explanation",
    "MatchingStage",
    "MicroBatcher",
    "PartPose",
    "Preparer",
    "Reason",
    "Recognizer",
    "Result",
    "ScoredLabel",
    "Stages",
    "StartedBatch",
    "TensorSpec",
    "check_provider",
    "decide",
    "decide_matched",
    "draw_explanation",
    "draw_overlay",
    "explain",
    "load_bank",
    "load_search",
    "threshold_warning",
]
