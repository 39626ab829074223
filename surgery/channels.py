"""More input channels than the pretrained net has: colour and depth."""

import numpy as np

from surgery.errors import SurgeryError
from surgery.weights import by_x

# The layer of a 4-channel net (B, G, R, depth), and the layer that its weights come from.
WIDENED = {"conv1_1_bgrd": "conv1_1"}


def widen(weights, shape):
    """Weights for more input channels: those there are, then their mean for each one added.

    weights: O x I x K x K; shape: O x J x K x K, J >= I. Depth so begins as grey would: filters
    that look for edges find the edges of the depth map too.
    """
    outputs, inputs = weights.shape[:2]
    if shape[0] != outputs or shape[2:] != weights.shape[2:] or shape[1] < inputs:
        raise SurgeryError(
            f"layer conv1_1: the source has shape {by_x(weights.shape)}, which cannot be widened "
            f"to {by_x(shape)}"
        )
    mean = weights.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    return np.concatenate([weights] + [mean] * (shape[1] - inputs), axis=1)
