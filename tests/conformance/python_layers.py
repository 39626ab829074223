"""Python layers for the conformance tests: they note every call that caffe makes."""

from __future__ import annotations

import numpy as np

import caffe

CALLS = []


class Weighted(caffe.Layer):
    """top = weight * bottom, the weight one parameter per column; param_str goes to the notes."""

    def setup(self, bottom, top):
        CALLS.append(["setup", self.param_str, self.phase, len(bottom), len(top)])
        columns = bottom[0].data.shape[-1]
        self.blobs.add_blob(columns)
        self.blobs[0].data[...] = 0.5

    def reshape(self, bottom, top):
        CALLS.append(["reshape", list(bottom[0].data.shape), len(self.blobs)])
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        CALLS.append(["forward", bottom[0].num, bottom[0].count])
        top[0].data[...] = bottom[0].data * self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        CALLS.append(["backward", [bool(p) for p in propagate_down]])
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data
        columns = self.blobs[0].data.shape[0]
        product = (top[0].diff * bottom[0].data).reshape(-1, columns)
        self.blobs[0].diff[...] += product.sum(axis=0)


class HalfSquare(caffe.Layer):
    """A loss: half the sum of squares of its bottom, times loss_weight."""

    def setup(self, bottom, top):
        CALLS.append(["setup loss", self.param_str])

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = 0.5 * np.sum(bottom[0].data ** 2)

    def backward(self, top, propagate_down, bottom):
        CALLS.append(["backward loss", float(top[0].diff[0]), [bool(p) for p in propagate_down]])
        bottom[0].diff[...] = bottom[0].data * top[0].diff[0]


class Source(caffe.Layer):
    """Two tops and no bottom, of another size each time, as a data layer has them."""

    def setup(self, bottom, top):
        self.count = 0
        CALLS.append(["setup source", self.param_str, len(bottom), len(top)])

    def reshape(self, bottom, top):
        self.count += 1
        CALLS.append(["reshape source", self.count])
        top[0].reshape(1, 2, 3 + self.count, 4)
        top[1].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = self.count
        top[1].data[...] = self.count % 2

    def backward(self, top, propagate_down, bottom):
        CALLS.append(["backward source"])
