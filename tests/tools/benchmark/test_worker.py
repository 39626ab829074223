"""What a side measures in its own process."""

from __future__ import annotations

import numpy as np
import pytest

from tools.benchmark.worker import peak_memory, softmax_loss


def test_the_loss_of_scores_leaves_void_pixels_out():
    scores = np.zeros((1, 4, 2, 3), np.float32)
    scores[0, 1] = 1000  # no overflow
    label = np.full((1, 1, 2, 3), 1.0)
    label[0, 0, 0] = 255
    assert softmax_loss(scores, label) == 0
    label[0, 0, 1, 0] = 2
    assert softmax_loss(scores, label) == pytest.approx(1000)


def test_peak_memory_is_that_of_the_process():
    assert peak_memory() is None or 10e6 < peak_memory() < 1e12
    assert peak_memory("/nonexistent") is None
