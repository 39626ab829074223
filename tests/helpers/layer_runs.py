"""Running one layer by itself: no net, no splits."""

from __future__ import annotations

import numpy as np
from google.protobuf import text_format

from caffe.core.blob import Blob
from caffe.core.layer import TEST
from caffe.layers import create
from caffe.proto import caffe_pb2


def pattern(*shape):
    """Small numbers from -4 to 6 in no simple order, the ones that BVLC Caffe was given too."""
    numbers = np.arange(int(np.prod(shape))) * 7 % 11 - 4
    return numbers.reshape(shape).astype(np.float32)


def distinct(*shape, seed=0):
    """Numbers at least 0.1 apart and away from 0: no step of 0.01 crosses a kink."""
    count = int(np.prod(shape))
    numbers = (np.random.default_rng(seed).permutation(count) - count // 2 + 0.5) * 0.1
    return numbers.reshape(shape).astype(np.float32)


class Run:
    """A layer of `layer_type`, set up on bottoms that hold `arrays`, with `body` as the rest of
    its prototxt."""

    def __init__(self, layer_type, body, *arrays, tops=1, phase=TEST, in_place=False):
        param = caffe_pb2.LayerParameter(name="L", type=layer_type, phase=phase)
        text_format.Merge(body, param)
        self.bottom = [Blob(*np.shape(a)) for a in arrays]
        param.bottom.extend(f"b{i}" for i in range(len(arrays)))
        self.top = self.bottom[:1] if in_place else [Blob() for _ in range(tops)]
        self.layer = create(param, phase)
        self.set(*arrays)
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)

    def set(self, *arrays):
        for blob, array in zip(self.bottom, arrays):
            blob.data[...] = array

    def forward(self):
        self.layer.reshape(self.bottom, self.top)
        self.layer.forward(self.bottom, self.top)
        return self.top[0].data.copy()

    def backward(self, *top_diffs, down=None):
        """Backward with these top diffs; the bottoms' diffs."""
        for blob, diff in zip(self.top, top_diffs):
            blob.diff[...] = diff
        down = [True] * len(self.bottom) if down is None else down
        self.layer.backward(self.top, down, self.bottom)
        return [blob.diff.copy() for blob in self.bottom]


def check_gradients(run, arrays, wanted=None, step=1e-2, tolerance=2e-3, seed=0):
    """Backward agrees with central differences of Σ top · weights, along random directions, for
    the `wanted` bottoms (default: all) and all parameters."""
    rng = np.random.default_rng(seed)
    for blob in run.layer.blobs:
        blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    run.forward()
    weights = [rng.standard_normal(blob.shape) for blob in run.top]
    if run.layer.is_loss:
        weights = [np.ones(blob.shape) for blob in run.top]
    wanted = list(range(len(arrays))) if wanted is None else wanted
    for blob in run.layer.blobs:
        blob.diff[...] = 0
    diffs = run.backward(*weights, down=[i in wanted for i in range(len(arrays))])

    def objective(changed, amount, direction):
        run.set(*arrays)
        before = changed.data.copy()
        changed.data[...] = before + amount * direction
        run.forward()
        total = sum((b.data.astype(np.float64) * w).sum() for b, w in zip(run.top, weights))
        changed.data[...] = before
        return total

    pairs = [(run.bottom[i], diffs[i]) for i in wanted]
    pairs += [(blob, blob.diff.copy()) for blob in run.layer.blobs]
    assert pairs
    for blob, diff in pairs:
        for _ in range(3):
            direction = rng.standard_normal(blob.shape)
            rise = objective(blob, step, direction) - objective(blob, -step, direction)
            scale = np.linalg.norm(diff) * np.linalg.norm(direction) + 1e-2
            assert abs(rise / (2 * step) - (diff * direction).sum()) <= tolerance * scale
