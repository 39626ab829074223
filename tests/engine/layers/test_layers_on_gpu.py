"""Every layer on an emulated CUDA device: the CPU's numbers, and no waiting for the device."""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.run import passes
from tests.helpers import data_files
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.layer_runs import Run, distinct

IMAGE = (2, 4, 5, 6)
LABELS = np.arange(60).reshape(2, 1, 5, 6) % 4
POSITIVE = distinct(*IMAGE) + 20
TRAINING = {"phase": caffe.TRAIN}
CONV = (
    "convolution_param { num_output: 4 kernel_size: 3 %s "
    'weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "uniform" } }'
)
POOL = "pooling_param { pool: %s kernel_size: 3 stride: 2 pad: %d }"
BIAS = 'bias_term: true filler { type: "uniform" } bias_filler { type: "uniform" }'

# (type, rest of the prototxt, bottoms: shapes or arrays, further arguments of Run)
CASES = [
    ("Accuracy", "accuracy_param { ignore_label: 3 }", [IMAGE, LABELS], {"tops": 2}),
    ("ArgMax", "argmax_param { top_k: 2 out_max_val: true }", [IMAGE], {}),
    ("ArgMax", "argmax_param { axis: 1 }", [IMAGE], {}),
    ("BatchNorm", "", [IMAGE], {"phase": caffe.TRAIN}),
    ("BatchNorm", "", [IMAGE], {"in_place": True}),
    ("Bias", 'bias_param { filler { type: "uniform" } }', [IMAGE], {"in_place": True}),
    ("Bias", "bias_param { axis: 0 }", [IMAGE, (2, 4)], {}),
    ("Concat", "", [IMAGE, (2, 1, 5, 6)], {}),
    ("Convolution", CONV % "pad: 2 dilation: 2", [IMAGE], {}),
    ("Convolution", CONV % "group: 2 stride: 2", [IMAGE], {}),
    ("Crop", "crop_param { offset: 1 }", [IMAGE, (2, 4, 3, 2)], {}),
    ("Deconvolution", CONV % "stride: 2 pad: 1", [IMAGE], {}),
    ("Dropout", "", [IMAGE], {"phase": caffe.TRAIN}),
    ("Dropout", "", [IMAGE], {"phase": caffe.TRAIN, "in_place": True}),
    ("DummyData", 'dummy_data_param { shape { dim: 3 } data_filler { type: "msra" } }', [], {}),
    ("Eltwise", "eltwise_param { coeff: 1 coeff: -2 coeff: 3 }", [IMAGE] * 3, {}),
    ("Eltwise", "eltwise_param { operation: PROD }", [IMAGE] * 3, {}),
    ("Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }", [IMAGE] * 2, {}),
    ("Eltwise", "eltwise_param { operation: MAX }", [IMAGE] * 3, {}),
    ("EuclideanLoss", "", [IMAGE, IMAGE], {}),
    ("Flatten", "", [IMAGE], {}),
    ("InnerProduct", 'inner_product_param { num_output: 3 bias_filler { value: 2 } }', [IMAGE], {}),
    ("InnerProduct", "inner_product_param { num_output: 3 transpose: true }", [IMAGE], {}),
    ("Input", "input_param { shape { dim: 3 } }", [], {}),
    ("LRN", "lrn_param { local_size: 3 alpha: 0.5 }", [IMAGE], {}),
    ("LRN", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", [IMAGE], {}),
    ("Pooling", POOL % ("MAX", 1), [IMAGE], {"tops": 2}),
    ("Pooling", POOL % ("MAX", 2), [IMAGE], {"tops": 2}),
    ("Pooling", POOL % ("AVE", 1), [IMAGE], {}),
    ("Pooling", POOL % ("AVE", 2), [IMAGE], {}),
    ("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", [POSITIVE], {}),
    ("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", [POSITIVE], TRAINING),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }", [IMAGE], {}),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }", [IMAGE], {"in_place": True}),
    ("ReLU", "", [IMAGE], {"in_place": True}),
    ("ReLU", "relu_param { negative_slope: 0.1 }", [IMAGE], {}),
    ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", [IMAGE], {}),
    ("Scale", f"scale_param {{ {BIAS} }}", [IMAGE], {}),
    ("Scale", f"scale_param {{ {BIAS} }}", [IMAGE], {"in_place": True}),
    ("Scale", "scale_param { axis: 0 }", [IMAGE, (2, 4)], {"in_place": True}),
    ("Sigmoid", "", [IMAGE], {"in_place": True}),
    ("Silence", "", [IMAGE], {"tops": 0}),
    ("Slice", "slice_param { slice_point: 1 }", [IMAGE], {"tops": 2}),
    ("Softmax", "", [IMAGE], {"in_place": True}),
    ("SoftmaxWithLoss", "", [IMAGE, LABELS], {}),
    ("SoftmaxWithLoss", "loss_param { ignore_label: 3 }", [IMAGE, LABELS], {"tops": 2}),
    ("Split", "", [IMAGE], {"tops": 3}),
    ("TanH", "", [IMAGE], {}),
]  # fmt: skip
ELSEWHERE = {"Python"}
# Further families, in files of their own: each has CASES, and perhaps what other tests run.
for _file in sorted(Path(__file__).parent.glob("gpu_cases_*.py")):
    _family = importlib.import_module(f"{__package__}.{_file.stem}")
    CASES += _family.CASES
    ELSEWHERE |= getattr(_family, "ELSEWHERE", set())
WITHOUT_GRADIENT = {"Accuracy", "ArgMax", "Embed", "Threshold"}
LABELLED = {"BatchReindex", "Filter", "SoftmaxWithLoss"}
"""Whose further bottoms hold numbers of classes, rows or pairs."""


def name(case):
    """A case's name for pytest, without the temporary folder of its files: the same in all of
    pytest's processes."""
    kind, body, *_ = case
    return re.sub(r'"/[^"]*/', '"', f"{kind} {body}".strip())


def spoil(blobs, part):
    """Leave what the host holds current there, and NaN on the device, as `Passes` may."""
    for blob in blobs:
        getattr(blob, part)[...]  # looked at
        memory = getattr(blob, f"_{part}")
        if memory._device is not None:
            memory._device.fill_(np.nan)


def run_layer(kind, body, bottoms, more, spoiled=False):
    """Everything that a forward and a backward pass leave behind: tops, gradients, parameters. If
    `spoiled`, as in a net whose blobs somebody has looked at on the host."""
    if kind == "Data":
        data_files.need_lmdb()
    arrays = [
        b if isinstance(b, np.ndarray) else distinct(*b, seed=i) for i, b in enumerate(bottoms)
    ]
    run = Run(kind, body, *arrays, **more)
    diffs = [distinct(*blob.shape, seed=9) for blob in run.top]
    allowed = run.layer.allow_force_backward
    down = [kind not in WITHOUT_GRADIENT and all(allowed[i : i + 1]) for i in range(len(arrays))]
    if kind in LABELLED:
        down[1:] = [False] * (len(down) - 1)
    # Once on the host, so that what is left behind there is met; once more on the device alone.
    for blob, diff in zip(run.top, diffs):
        blob.diff[...] = diff
    for blob in (*run.bottom, *run.top, *run.layer.blobs):
        blob.read(), blob.read_diff()
    if spoiled:
        spoil([b for b in run.top if b not in run.bottom], "data")
        spoil([b for b in run.bottom if b not in run.top], "diff")
    waits.clear()
    run.layer.reshape(run.bottom, run.top)
    overwriting = passes._overwriting if spoiled else lambda *blobs: contextlib.nullcontext()
    with overwriting(run.layer, run.top, run.bottom, "_data"):
        run.layer.forward(run.bottom, run.top)
    tops = [blob.read().clone() for blob in run.top]
    needed = [blob for blob, needs in zip(run.bottom, down) if needs]
    with overwriting(run.layer, needed, run.top, "_diff"):
        run.layer.backward(run.top, down, run.bottom)
    waited = list(waits)
    blobs = (*run.bottom, *run.top, *run.layer.blobs)
    found = [top.cpu().numpy() for top in tops]
    return found + [array.copy() for b in blobs for array in (b.data, b.diff)], waited


def test_every_layer_type_is_here():
    assert {kind for kind, *_ in CASES} | ELSEWHERE == set(caffe.layer_type_list())


@pytest.mark.parametrize(("kind", "body", "bottoms", "more"), CASES, ids=map(name, CASES))
def test_a_layer_on_the_gpu_gives_the_cpus_numbers_without_a_wait(kind, body, bottoms, more):
    caffe.set_random_seed(1)
    expected, _ = run_layer(kind, body, bottoms, more)
    with emulated_gpus():
        caffe.set_random_seed(1)
        caffe.set_mode_gpu()
        got, waited = run_layer(kind, body, bottoms, more)
    for a, b in zip(expected, got):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert len(expected) == len(got)
    assert waited == []


@pytest.mark.parametrize(("kind", "body", "bottoms", "more"), CASES, ids=map(name, CASES))
def test_a_layer_overwrites_all_of_what_it_makes_or_nothing(kind, body, bottoms, more):
    caffe.set_random_seed(1)
    expected, _ = run_layer(kind, body, bottoms, more)
    with emulated_gpus():
        caffe.set_random_seed(1)
        caffe.set_mode_gpu()
        got, _ = run_layer(kind, body, bottoms, more, spoiled=True)
    for a, b in zip(expected, got):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
