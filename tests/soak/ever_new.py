"""A Python layer of made-up pictures, each of another size than all before."""

from __future__ import annotations

import random

import numpy as np

import caffe

SMALLEST, SIZES = 24, 300


class EverNew(caffe.Layer):
    """Tops: a picture, 1 × 3 × H × W, and its label, 1 × 1 × H × W, of 3 classes and void (255).
    The sizes are all that there are from SMALLEST on, in a random order: SIZES² of them."""

    def setup(self, bottom, top):
        self._order = list(range(SIZES * SIZES))
        random.Random(1).shuffle(self._order)
        self._place = 0

    def reshape(self, bottom, top):
        number = self._order[self._place % len(self._order)]
        height, width = (SMALLEST + part for part in divmod(number, SIZES))
        top[0].reshape(1, 3, height, width)
        top[1].reshape(1, 1, height, width)

    def forward(self, bottom, top):
        stream = np.random.RandomState(self._place)
        coarse = stream.randint(0, 4, (4, 4))
        height, width = top[0].data.shape[2:]
        rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
        label = coarse[rows][:, columns]
        noise = stream.standard_normal((3, height, width))
        top[0].data[0] = (label - 1.5) * np.array([40, -20, 10]).reshape(3, 1, 1) + 20 * noise
        top[1].data[0, 0] = np.where(label == 3, 255, label)
        self._place += 1

    def backward(self, top, propagate_down, bottom):
        pass
