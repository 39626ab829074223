"""The six solvers, 20 iterations on a GPU and on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.conformance.gpu.sides import WHOLE, assert_agree, on_cpu_and_gpu
from tests.helpers.net_texts import data, ip, layer, losses
from tests.helpers.solver_state import history

STEPS = 20 if WHOLE else 3
FILLERS = 'weight_filler { type: "xavier" } bias_filler { value: 0.1 }'
# Nothing with kinks: rounding must not choose.
NET = (
    data(4, 3, 6, 6) + data(4, name="label")
    + layer("conv", "Convolution", "data",
            more=f"convolution_param {{ num_output: 5 kernel_size: 3 {FILLERS} }}")
    + layer("tanh", "TanH", "conv")
    + layer("pool", "Pooling", "tanh", more="pooling_param { pool: AVE kernel_size: 2 stride: 2 }")
    + ip("ip", "pool") + losses()
)  # fmt: skip
SETTINGS = (
    'net: "net.prototxt" base_lr: 0.05 lr_policy: "step" gamma: 0.5 stepsize: 8 '
    "weight_decay: 0.01 clip_gradients: 5 random_seed: 3 "
)
# `delta` far above rounding: gradients near 0 are divided by it.
SOLVERS = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 1e-3",
    "RMSProp": "delta: 1e-3 rms_decay: 0.9",
    "AdaDelta": "momentum: 0.9 delta: 1e-3",
    "Adam": "momentum: 0.9 momentum2: 0.99 delta: 1e-3",
}


@pytest.mark.parametrize("kind", SOLVERS)
def test_training_agrees(kind):
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(f'{SETTINGS} type: "{kind}" {SOLVERS[kind]}')
    stream = np.random.RandomState(0)
    pictures, labels = stream.standard_normal((4, 3, 6, 6)), [0, 1, 2, 1]

    def train():
        solver = caffe.get_solver("solver.prototxt")
        solver.net.blobs["data"].data[...] = pictures
        solver.net.blobs["label"].data[...] = labels
        began = {name: blobs[0].data.copy() for name, blobs in solver.net.params.items()}
        losses_seen = []
        for _ in range(STEPS):
            solver.step(1)
            losses_seen.append(float(solver.net.blobs["loss"].data))
        found = {"losses": np.array(losses_seen)}
        for name, blobs in solver.net.params.items():
            assert (blobs[0].data != began[name]).any()
            found.update((f"{name}[{i}]", blob.data.copy()) for i, blob in enumerate(blobs))
        found.update((f"history {i}", array) for i, array in enumerate(history(solver)))
        return found

    assert_agree(*on_cpu_and_gpu(train), 1e-4)
