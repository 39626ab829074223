"""In what precision CUDA GPUs multiply, on emulated devices and in what cuDNN is told."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import caffe
from caffe.engine import InputError
from tests.helpers.emulated_gpu import emulated_gpus
from tests.helpers.net_texts import data, fill, layer

NEWER = hasattr(torch.backends.cuda.matmul, "fp32_precision")
"""Whether PyTorch has its newer way to say that factors may be rounded (from 2.9 on)."""


@pytest.fixture(autouse=True)
def flags():
    """PyTorch's own, as they were."""
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = benchmark
    if NEWER:
        torch.backends.fp32_precision = torch.backends.cudnn.fp32_precision = "none"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True


CONV = 'convolution_param { num_output: 64 kernel_size: 3 pad: 1 bias_filler { type: "constant" } }'
UP = "convolution_param { num_output: 3 kernel_size: 4 stride: 2 }"
SUM = "reduction_param { operation: SUMSQ } loss_weight: 0.1"


def passes(make, middle, device):
    """A loss, and all gradients behind it, of a net with `middle` between data and loss."""
    caffe.set_mode_cpu() if device == "cpu" else caffe.set_mode_gpu()
    net = make("force_backward: true " + data(2, 4, 9, 8) + middle
               + layer("loss", "Reduction", "made", more=SUM), caffe.TRAIN)  # fmt: skip
    fill(net)
    net.blobs["data"].data[...] = np.random.RandomState(1).standard_normal((2, 4, 9, 8))
    loss = net.forward()["loss"].copy()
    found = [loss, net.backward()["data"].copy()]
    return found + [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def error(mine, true):
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(mine, true))


CONVOLUTION = layer("made", "Convolution", "data", more=CONV)


def test_bfloat16_rounds_a_convolution_and_its_gradients_on_the_gpu_only(make):
    with emulated_gpus(1):
        true = passes(make, CONVOLUTION, "cpu")
        assert error(passes(make, CONVOLUTION, "gpu"), true) < 1e-5
        caffe.engine.set_precision("bfloat16")
        rough = passes(make, CONVOLUTION, "gpu")
        assert 1e-3 < error(rough, true) < 3e-2
        assert all(array.dtype == np.float32 for array in rough)
        assert error(passes(make, CONVOLUTION, "cpu"), true) == 0


def test_bfloat16_leaves_upsampling_as_it_is(make):
    up = layer("made", "Deconvolution", "data", more=UP)
    with emulated_gpus(1):
        true = passes(make, up, "cpu")
        caffe.engine.set_precision("bfloat16")
        assert error(passes(make, up, "gpu"), true) < 1e-5


def test_bfloat16_leaves_layers_of_few_outputs_as_they_are(make):
    scores = layer("made", "Convolution", "data", more=CONV.replace("64", "21"))
    with emulated_gpus(1):
        true = passes(make, scores, "cpu")
        caffe.engine.set_precision("bfloat16")
        assert error(passes(make, scores, "gpu"), true) < 1e-5


def test_bfloat16_products_are_of_tensors_with_their_channels_last(make, monkeypatch):
    seen = []

    def convolution(x, weight, bias, *geometry):
        seen.append((x.dtype, bias, *(t.stride()[1] == 1 for t in (x, weight))))
        return convolve(x, weight, bias, *geometry)

    convolve = torch.convolution
    monkeypatch.setattr(torch, "convolution", convolution)
    with emulated_gpus(1):
        caffe.engine.set_precision("bfloat16")
        passes(make, CONVOLUTION, "gpu")
    assert seen == [(torch.bfloat16, None, True, True)]


def test_a_bias_is_added_in_float32(make):
    with emulated_gpus(1):
        caffe.engine.set_precision("bfloat16")
        caffe.set_mode_gpu()
        net = make(data(1, 2, 4, 4) + CONVOLUTION)
        net.params["made"][1].data[...] = 1 + 2.0**-12  # bfloat16 would round it to 1
        assert (net.forward()["made"] == np.float32(1 + 2.0**-12)).all()


def test_the_gradient_of_a_bias_is_summed_in_float32(make):
    with emulated_gpus(1):
        caffe.engine.set_precision("bfloat16")
        bias = passes(make, CONVOLUTION, "gpu")[-1]
        assert not np.array_equal(bias, torch.tensor(bias).bfloat16().float().numpy())


@pytest.mark.parametrize("name, tf32", [("float32", False), ("tf32", True), ("bfloat16", False)])
@pytest.mark.parametrize("before", [True, False], ids=["before the mode", "after the mode"])
def test_the_libraries_round_factors_only_where_tf32_is_chosen(name, tf32, before):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    with emulated_gpus(1):
        steps = [lambda: caffe.engine.set_precision(name), caffe.set_mode_gpu]
        for step in steps if before else steps[::-1]:
            step()
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == tf32


def everywhere(value):
    backends = torch.backends
    backends.fp32_precision = backends.cudnn.fp32_precision = value
    backends.cuda.matmul.fp32_precision = value
    backends.cudnn.conv.fp32_precision = backends.cudnn.rnn.fp32_precision = value


def of_convolutions(value):
    torch.backends.cudnn.conv.fp32_precision = value


def of_all(value):
    torch.backends.fp32_precision = value


def of_products(value):
    torch.backends.cuda.matmul.fp32_precision = value


@pytest.mark.skipif(not NEWER, reason="PyTorch before 2.9")
@pytest.mark.parametrize("script", [everywhere, of_convolutions, of_all, of_products])
@pytest.mark.parametrize("name", ["float32", "tf32"])
def test_what_a_script_said_in_pytorchs_newer_way_does_not_win(script, name):
    script("tf32" if name == "float32" else "ieee")
    with emulated_gpus(1):
        caffe.engine.set_precision(name)
        caffe.set_mode_gpu()
        wanted = "tf32" if name == "tf32" else "ieee"
        backends = torch.backends
        assert backends.cudnn.conv.fp32_precision == wanted
        assert backends.cuda.matmul.fp32_precision == wanted
        # PyTorch refuses to multiply where its two ways contradict each other.
        assert backends.cudnn.allow_tf32 == backends.cuda.matmul.allow_tf32 == (name == "tf32")


def test_nothing_is_rounded_where_nothing_was_chosen():
    torch.backends.cudnn.allow_tf32 = True
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        assert not torch.backends.cudnn.allow_tf32


def test_cudnn_tries_its_algorithms_where_that_is_chosen_and_else_as_the_user_set_it():
    torch.backends.cudnn.benchmark = True
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        assert torch.backends.cudnn.benchmark
        caffe.engine.set_autotuning(False)
        assert not torch.backends.cudnn.benchmark
        caffe.engine.set_autotuning(True)
        assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("given, told", [(None, "512"), ("64", "64")])
def test_autotuning_bounds_cudnns_workspace_unless_the_user_did(monkeypatch, given, told):
    monkeypatch.setenv("CUDNN_CONV_WSCAP_DBG", "64")  # put back as it was at the end
    if given is None:
        monkeypatch.delenv("CUDNN_CONV_WSCAP_DBG")
    caffe.engine.set_autotuning(False)
    assert os.environ.get("CUDNN_CONV_WSCAP_DBG") == given
    caffe.engine.set_autotuning(True)
    assert os.environ["CUDNN_CONV_WSCAP_DBG"] == told


def test_another_precision_is_refused_by_name():
    with pytest.raises(InputError, match="precision 'fp16' is not one of float32, tf32, bfloat16"):
        caffe.engine.set_precision("fp16")
