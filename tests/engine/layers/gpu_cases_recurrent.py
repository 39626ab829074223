"""The cases of the layers over time for test_layers_on_gpu.py."""

from __future__ import annotations

import numpy as np

X, STATIC, STATE = (3, 2, 2, 3), (2, 4), (1, 2, 5)
CONT = np.array([[0, 1], [1, 1], [1, 0]], np.float32)
BODY = (
    'recurrent_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } '
    'bias_filler { type: "uniform" } %s }'
)
EXPOSED = BODY % "expose_hidden: true"

CASES = [
    ("LSTM", BODY % "", [X, CONT], {}),
    ("LSTM", BODY % "", [X, CONT, STATIC], {}),
    ("LSTM", BODY % "", [(1, 2, 2, 3), CONT[:1]], {}),
    ("LSTM", EXPOSED, [X, CONT, STATIC, STATE, STATE], {"tops": 3}),
    ("LSTMUnit", "", [(1, 2, 5), (1, 2, 20), CONT[:1]], {"tops": 2}),
    ("RNN", BODY % "", [X, CONT, STATIC], {}),
    ("RNN", EXPOSED, [X, CONT, STATE], {"tops": 2}),
]
