"""The further losses' cases for test_layers_on_gpu.py."""

from __future__ import annotations

import numpy as np

SCORES, ITEMS = (2, 4, 5, 6), (6, 4)
LABELS = np.arange(60).reshape(2, 1, 5, 6) % 4
CLASSES = np.arange(6) % 4
ALIKE = np.arange(6) % 2
PROBABILITIES = (np.arange(24).reshape(6, 4) % 7 + 1) / 10
VECTORS = [PROBABILITIES, PROBABILITIES[::-1].copy(), ALIKE]
IGNORED = "loss_param { ignore_label: 3 normalization: VALID }"

CASES = [
    ("ContrastiveLoss", "contrastive_loss_param { margin: 0.9 }", VECTORS, {}),
    ("ContrastiveLoss", "contrastive_loss_param { legacy_version: true }", VECTORS, {}),
    ("HingeLoss", "", [ITEMS, CLASSES], {}),
    ("HingeLoss", "hinge_loss_param { norm: L2 }", [ITEMS, CLASSES], {}),
    ("InfogainLoss", "", [SCORES, LABELS, (4, 4)], {}),
    ("InfogainLoss", IGNORED, [SCORES, LABELS, (4, 4)], {"tops": 2}),
    ("MultinomialLogisticLoss", "", [PROBABILITIES, CLASSES], {}),
    ("SigmoidCrossEntropyLoss", "", [ITEMS, PROBABILITIES], {}),
    ("SigmoidCrossEntropyLoss", IGNORED, [LABELS.shape, LABELS], {}),
]
