"""The whole network: frames → normalisation → backbone → pooling → head."""

import hashlib
from typing import Any

import numpy as np

from partsight.runtime.images import PreprocessSpec
from partsight.runtime.inference import INPUT_NAME
from partsight.train.backbones import Backbone
from partsight.train.features import Extractor
from partsight.train.framework import keras
from partsight.train.heads import Head
from partsight.train.layers import FrameNormalization


def build_extractor(backbone: Backbone, weights: str, head: Head, spec: PreprocessSpec) -> Extractor:
    """Build the frozen network from frames to the features that `head` takes.

    Raises:
        TrainingError: The backbone cannot be built with these weights.
    """
    frames = keras.Input((spec.height, spec.width, 3), dtype="uint8", name=INPUT_NAME)
    normalization = backbone.normalization
    network = backbone.build((spec.height, spec.width), weights)
    network.trainable = False
    x = FrameNormalization(normalization.order, normalization.mean, normalization.scale)(frames)
    x = network(x)
    pool = keras.layers.GlobalAveragePooling2D() if head.pooling == "average" else keras.layers.Flatten()
    return Extractor.of(keras.Model(frames, pool(x), name="extractor"), spec, f"{backbone}, {head.pooling} pooling")


def stack(extractor: Extractor, head_model: Any) -> Any:
    """Return one keras.Model from (batch, height, width, 3) uint8 BGR to {score, embedding}."""
    network = extractor.network
    return keras.Model(network.input, head_model(network.output), name="partsight")


def weights_sha256(model: Any) -> str:
    """Return the SHA-256 of all weights, in order; it does not depend on the file format."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
